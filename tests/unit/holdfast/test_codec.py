import base64
import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec
import pytest

from holdfast.codec import Codec, build_error, describe_error, register_error
from holdfast.errors import DecodeError, EncodeError, PromiseTimedOut, RemoteError


@register_error
class Declined(Exception):
    def __init__(self, card: str, cents: int) -> None:
        super().__init__(card, cents)
        self.cents = cents


class Stranger(Exception):
    pass


class Awkward(Exception):
    def __init__(self, *, needed: int) -> None:
        super().__init__(f"needed {needed}")


register_error(Awkward)


@dataclass
class Point:
    x: int
    y: float


class Row(msgspec.Struct):
    name: str


class Color(Enum):
    RED = "red"


class Model:
    """Looks like a pydantic model."""

    def model_dump(self, *, mode: str) -> dict[str, object]:
        assert mode == "json"
        return {"field": 1}


class Reverse:
    def encrypt(self, plain: bytes) -> bytes:
        return plain[::-1]

    def decrypt(self, hidden: bytes) -> bytes:
        return hidden[::-1]


@pytest.fixture
def codec() -> Codec:
    return Codec()


def int_of(text: str) -> int:
    raise ValueError(text)


def text_of(data: bytes | None) -> Any:
    assert data is not None
    return json.loads(base64.b64decode(data))


@pytest.mark.parametrize(
    "value",
    [True, 0, -1, 2**53, 2**70, 1.5, "", "é\U0001f600", [], {}, [1, [2, {"a": None}]], {"k": "v"}],
    ids=str,
)
def test_plain_values_come_back_as_they_went(codec: Codec, value: object) -> None:
    assert codec.decode(codec.encode(value)) == value


def test_a_payload_is_base64_of_json_text(codec: Codec) -> None:
    assert codec.encode({"a": [1, "b"]}) == base64.b64encode(b'{"a":[1,"b"]}')


def test_none_is_an_absent_payload_and_absent_empty_and_null_are_none(codec: Codec) -> None:
    assert codec.encode(None) is None
    assert codec.decode(None) is None
    assert codec.decode(b"") is None
    assert codec.decode(base64.b64encode(b"null")) is None


def test_floats_that_json_lacks_travel_as_markers(codec: Codec) -> None:
    value = {"list": [math.inf, -math.inf, 1.0], "none": None, "nan": math.nan}

    data = codec.encode(value)
    back = codec.decode(data)

    assert text_of(data)["list"] == ["__INF__", "__NEG_INF__", 1.0]
    assert isinstance(back, dict)
    assert back["list"] == [math.inf, -math.inf, 1.0]
    assert math.isnan(back["nan"])
    assert back["none"] is None


def test_rich_values_are_written_as_json(codec: Codec) -> None:
    value = {
        "point": Point(1, 2.0),
        "row": Row("a"),
        "model": Model(),
        "at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "price": Decimal("1.10"),
        "id": UUID(int=1),
        "color": Color.RED,
        "pair": (1, 2),
        "inf": Point(1, math.inf),
    }

    assert text_of(codec.encode(value)) == {
        "point": {"x": 1, "y": 2.0},
        "row": {"name": "a"},
        "model": {"field": 1},
        "at": "2026-01-02T03:04:05Z",
        "price": "1.10",
        "id": "00000000-0000-0000-0000-000000000001",
        "color": "red",
        "pair": [1, 2],
        "inf": {"x": 1, "y": "__INF__"},
    }


def test_what_json_cannot_say_is_refused_with_its_type(codec: Codec) -> None:
    circular: list[object] = []
    circular.append(circular)

    with pytest.raises(EncodeError, match="type object"):
        codec.encode({"a": object()})
    with pytest.raises(EncodeError, match="list"):
        codec.encode(circular)
    with pytest.raises(EncodeError):
        codec.encode("\ud800")


def test_a_value_beyond_the_limit_is_refused_with_both_numbers() -> None:
    with pytest.raises(EncodeError, match=r"takes 136 bytes.*are 100") as caught:
        Codec(bytes_max=100).encode("x" * 100)

    assert caught.value.code == "value_too_large"


@pytest.mark.parametrize("data", [b"!!!!", b"e30", base64.b64encode(b"{")], ids=repr)
def test_what_nobody_encoded_is_refused(codec: Codec, data: bytes) -> None:
    with pytest.raises(DecodeError):
        codec.decode(data)


def test_an_encryptor_wraps_the_json_text() -> None:
    codec = Codec(Reverse())

    data = codec.encode([1, 2])

    assert data == base64.b64encode(b"]2,1[")
    assert codec.decode(data) == [1, 2]


def test_an_error_is_written_as_the_official_sdk_does_and_a_little_more(codec: Codec) -> None:
    with pytest.raises(ValueError, match="bad input") as caught:
        int_of("bad input")
    written = text_of(codec.encode_error(caught.value))

    assert written["__type"] == "error"
    assert written["message"] == "bad input"
    assert written["name"] == "ValueError"
    assert "raise ValueError" in written["stack"]
    assert written["module"] == "builtins"
    assert written["args"] == ["bad input"]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        KeyError("key"),
        OSError(2, "missing"),
        Declined("4711", 5),
        PromiseTimedOut("late", code="special"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_known_errors_are_rebuilt_with_their_arguments(codec: Codec, error: Exception) -> None:
    back = codec.decode_error(codec.encode_error(error))

    assert isinstance(back, type(error))
    assert back.args == error.args
    assert getattr(back, "code", None) == getattr(error, "code", None)


def test_an_unknown_class_becomes_a_remote_error_that_can_travel_on(codec: Codec) -> None:
    first = codec.decode_error(codec.encode_error(Stranger("who")))
    second = codec.decode_error(codec.encode_error(first))

    for error in (first, second):
        assert isinstance(error, RemoteError)
        assert error.type_name == "Stranger"
        assert str(error) == "who"
        assert "Stranger: who" in (error.traceback or "")


def test_a_class_whose_constructor_refuses_becomes_a_remote_error(codec: Codec) -> None:
    back = codec.decode_error(codec.encode_error(Awkward(needed=1)))

    assert isinstance(back, RemoteError)
    assert back.type_name == "Awkward"


@pytest.mark.parametrize("name", ["SystemExit", "KeyboardInterrupt", "eval", "__import__"])
def test_only_exception_classes_are_ever_built(name: str) -> None:
    value = {"__type": "error", "name": name, "module": "builtins", "message": "m", "args": [1]}

    assert isinstance(build_error(value), RemoteError)


def test_a_module_is_never_imported_to_build_an_error() -> None:
    value = {"__type": "error", "name": "Popen", "module": "subprocess", "message": "m"}

    assert isinstance(build_error(value), RemoteError)


def test_an_official_sdks_error_becomes_a_remote_error() -> None:
    error = build_error({"__type": "error", "message": "no", "name": "TypeError", "stack": "at x"})

    assert isinstance(error, RemoteError)
    assert (error.message, error.type_name, error.traceback) == ("no", "TypeError", "at x")


def test_rejections_that_are_no_errors_keep_their_value() -> None:
    text = build_error("plain")
    data = build_error({"reason": 1})
    nothing = build_error(None)

    assert isinstance(text, RemoteError)
    assert str(text) == "plain"
    assert isinstance(data, RemoteError)
    assert data.details == {"reason": 1}
    assert isinstance(nothing, RemoteError)


def test_groups_of_errors_keep_their_members() -> None:
    group = ExceptionGroup("several", [ValueError("a"), Stranger("b")])

    back = build_error(describe_error(group))

    assert isinstance(back, ExceptionGroup)
    assert [type(e) for e in back.exceptions] == [ValueError, RemoteError]


def test_a_note_is_part_of_the_message_that_comes_back(codec: Codec) -> None:
    back = codec.decode_error(codec.encode_error(ValueError("no"), note="gave up"))

    assert isinstance(back, ValueError)
    assert str(back) == "no (gave up)"


def test_an_error_too_large_to_write_is_cut(codec: Codec) -> None:
    small = Codec(bytes_max=20_000)

    back = small.decode_error(small.encode_error(ValueError("x" * 100_000)))

    assert isinstance(back, ValueError)
    assert str(back) == "x" * 8192


def test_a_rejection_that_cannot_be_read_is_a_decode_error(codec: Codec) -> None:
    assert isinstance(codec.decode_error(b"!!!"), DecodeError)


def test_a_value_that_cannot_be_encrypted_is_an_encode_error() -> None:
    class NoKey(Reverse):
        def encrypt(self, plain: bytes) -> bytes:
            raise LookupError("no key for today")

    with pytest.raises(EncodeError, match="cannot be encrypted: no key for today"):
        Codec(NoKey()).encode("secret")
