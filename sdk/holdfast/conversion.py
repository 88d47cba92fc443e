"""Plain JSON values into the types that a function's annotations name.

Only annotations that JSON cannot say by itself are looked at: dataclasses, structs, pydantic
models, dates, decimals, enums, sets and tuples, alone or inside containers. Everything else
passes untouched, so that a loose annotation never refuses a value.
"""

import collections.abc
import dataclasses
import enum
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from uuid import UUID

import msgspec

from holdfast.codec import message_of
from holdfast.errors import DecodeError

Convert = Callable[[object], object]

_RICH = (date, datetime, time, timedelta, Decimal, UUID, bytes, bytearray)
_PLAIN = (str, int, float, bool, type(None), object, dict, list)
_LISTS = (list, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_MAPS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_GENERATORS = (collections.abc.Generator,)
_AWAITABLES = (
    collections.abc.Awaitable,
    collections.abc.Coroutine,
)


class _Unknown(Exception):
    """An annotation names a class that has no JSON form here."""


def converter_for(annotation: object) -> Convert | None:
    """Make the conversion that an annotation asks for, or answer `None` if it asks for none."""
    try:
        if not _is_rich(annotation):
            return None
        # Builds the type's description now: a shape that msgspec does not support fails here.
        msgspec.json.Decoder(typing.cast("type[object]", annotation), dec_hook=_from_json)
    except (_Unknown, TypeError):
        return None

    name = annotation.__name__ if isinstance(annotation, type) else str(annotation)

    def convert(value: object) -> object:
        try:
            return msgspec.convert(
                value,
                typing.cast("type[object]", annotation),
                dec_hook=_from_json,
                str_keys=True,
            )
        except Exception as error:  # a class may check itself and raise anything
            raise DecodeError(
                f"a value does not fit its annotation {name}: {message_of(error)}"
            ) from error

    return convert


def _is_rich(annotation: object) -> bool:
    """Whether values of this type look different in JSON; raise `_Unknown` if nobody can tell."""
    if annotation is typing.Any or annotation in _PLAIN or isinstance(annotation, typing.TypeVar):
        return False
    origin = typing.get_origin(annotation)
    if origin is not None:
        return _is_rich_generic(origin, typing.get_args(annotation))
    return isinstance(annotation, type) and _is_rich_class(annotation)


def _is_rich_generic(origin: object, arguments: tuple[object, ...]) -> bool:
    if origin is typing.Literal:
        return False
    if origin is typing.Annotated:
        return _is_rich(arguments[0])
    rich = [_is_rich(a) for a in arguments if a is not Ellipsis]  # all: one may be unknown
    if origin in (tuple, set, frozenset):
        return True
    if origin in (typing.Union, types.UnionType) or origin in _LISTS or origin in _MAPS:
        return any(rich)
    raise _Unknown


def _is_rich_class(cls: type) -> bool:
    if typing.is_typeddict(cls):
        rich = [_is_rich(a) for a in typing.get_type_hints(cls).values()]
        return any(rich)
    if (
        issubclass(cls, (*_RICH, enum.Enum, msgspec.Struct, tuple, set, frozenset))
        or dataclasses.is_dataclass(cls)
        or hasattr(cls, "model_validate")
    ):
        return True
    raise _Unknown


def _from_json(annotation: type, value: object) -> object:
    validate = getattr(annotation, "model_validate", None)
    if callable(validate):  # pydantic, without importing it
        return validate(value)
    return value


@dataclasses.dataclass(frozen=True, slots=True)
class Arguments:
    """Conversions of a function's arguments, the context left out."""

    positional: Sequence[Convert | None]
    keyword: Mapping[str, Convert]

    def convert(
        self, args: Sequence[object], kwargs: Mapping[str, object]
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        """Apply them; arguments beyond the known ones pass untouched."""
        converted = list(args)
        for index, convert in enumerate(self.positional[: len(converted)]):
            if convert is not None:
                converted[index] = convert(converted[index])
        named = {
            name: self.keyword[name](value) if name in self.keyword else value
            for name, value in kwargs.items()
        }
        return tuple(converted), named


def arguments_of(fn: Callable[..., object]) -> Arguments | None:
    """Read a function's parameters behind the context; `None` if none needs a conversion."""
    try:
        parameters = list(inspect.signature(fn).parameters.values())[1:]
    except (TypeError, ValueError):
        return None
    hints = _hints(fn)
    positional: list[Convert | None] = []
    keyword: dict[str, Convert] = {}
    for parameter in parameters:
        convert = converter_for(hints[parameter.name]) if parameter.name in hints else None
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            positional.append(convert)
        if convert is not None and parameter.kind in (
            parameter.KEYWORD_ONLY,
            parameter.POSITIONAL_OR_KEYWORD,
        ):
            keyword[parameter.name] = convert
    if not keyword and not any(positional):
        return None
    return Arguments(positional, keyword)


def result_of(fn: Callable[..., object]) -> Convert | None:
    """Read what a function returns at last: of a generator its return value."""
    annotation = _hints(fn).get("return", typing.Any)
    origin = typing.get_origin(annotation)
    if origin in _GENERATORS or origin in _AWAITABLES:
        arguments = typing.get_args(annotation)
        annotation = arguments[-1] if arguments else typing.Any
    return converter_for(annotation)


def _hints(fn: Callable[..., object]) -> Mapping[str, object]:
    while isinstance(fn, partial):
        fn = fn.func
    target = inspect.unwrap(fn)
    if not inspect.isroutine(target):
        target = type(target).__call__
    try:
        return typing.get_type_hints(target, include_extras=True)
    except Exception:  # noqa: BLE001 - an annotation may name what exists only for type checkers
        return {}
