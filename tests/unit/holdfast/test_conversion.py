from collections.abc import Awaitable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import Any, Literal, NamedTuple, TypedDict
from uuid import UUID

import pytest

from holdfast.conversion import arguments_of, converter_for, result_of
from holdfast.errors import DecodeError


class Size(Enum):
    SMALL = "s"


@dataclass
class Item:
    sku: str
    size: Size


class Pair(NamedTuple):
    a: int
    b: int


class Options(TypedDict):
    when: datetime


class Opaque:
    pass


class Model:
    """Looks like a pydantic model."""

    def __init__(self, value: object) -> None:
        self.value = value

    @classmethod
    def model_validate(cls, value: object) -> "Model":
        return cls(value)


@pytest.mark.parametrize(
    "annotation",
    [Any, int, str, dict, list, list[int], dict[str, Any], int | None, Literal["a"], Opaque,
     list[Opaque], Opaque | datetime, "unresolved"],
    ids=str,
)  # fmt: skip
def test_annotations_that_json_can_say_or_nobody_knows_ask_for_nothing(annotation: object) -> None:
    assert converter_for(annotation) is None


@pytest.mark.parametrize(
    ("annotation", "json", "value"),
    [
        (datetime, "2026-01-01T00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)),
        (Decimal, "1.5", Decimal("1.5")),
        (UUID, "00000000-0000-0000-0000-000000000001", UUID(int=1)),
        (bytes, "eA==", b"x"),
        (Size, "s", Size.SMALL),
        (Item, {"sku": "a", "size": "s"}, Item("a", Size.SMALL)),
        (list[Item], [{"sku": "a", "size": "s"}], [Item("a", Size.SMALL)]),
        (dict[str, Decimal], {"a": "1"}, {"a": Decimal(1)}),
        (Decimal | None, None, None),
        (set[int], [1, 2], {1, 2}),
        (tuple[int, ...], [1, 2], (1, 2)),
        (Pair, [1, 2], Pair(1, 2)),
        (Options, {"when": "2026-01-01T00:00:00Z"}, {"when": datetime(2026, 1, 1, tzinfo=UTC)}),
    ],
    ids=str,
)
def test_rich_annotations_are_honoured(annotation: Any, json: object, value: object) -> None:
    convert = converter_for(annotation)

    assert convert is not None
    assert convert(json) == value


def test_a_pydantic_like_model_validates_itself() -> None:
    convert = converter_for(Model)

    assert convert is not None
    model = convert({"a": 1})
    assert isinstance(model, Model)
    assert model.value == {"a": 1}


def test_a_value_that_does_not_fit_is_a_decode_error() -> None:
    convert = converter_for(datetime)

    assert convert is not None
    with pytest.raises(DecodeError, match="annotation"):
        convert("yesterday")


def test_arguments_are_converted_by_position_and_by_name() -> None:
    def fn(ctx: object, at: datetime, plain: int, *rest: int, price: Decimal = Decimal(0)) -> None:
        pass

    arguments = arguments_of(fn)

    assert arguments is not None
    args, kwargs = arguments.convert(
        ["2026-01-01T00:00:00Z", 1, 2, 3], {"price": "1.5", "unknown": 1}
    )
    assert args == (datetime(2026, 1, 1, tzinfo=UTC), 1, 2, 3)
    assert kwargs == {"price": Decimal("1.5"), "unknown": 1}


def test_functions_without_rich_parameters_are_left_alone() -> None:
    def fn(ctx: object, a: int, b) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        pass

    assert arguments_of(fn) is None
    assert arguments_of(partial(fn)) is None


def test_the_result_of_a_generator_is_its_return_value() -> None:
    def workflow(ctx: object) -> Generator[Any, Any, Decimal]:
        raise NotImplementedError

    def wrapper(ctx: object) -> Awaitable[Decimal]:
        raise NotImplementedError

    for fn in (workflow, wrapper):
        convert = result_of(fn)
        assert convert is not None
        assert convert("2") == Decimal(2)
