"""Bytes that are nearly messages: valid ones by their descriptors, and ways to spoil them."""

import random
from collections.abc import Callable, Sequence
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

IDS: Final = ("a", "b", "t1", "t1.x", "t2.x", "w", "")
TEXTS: Final = (
    *IDS,
    *("poll://any@w", "poll://uni@w/f", "no address", "true", "-1", "9" * 30),
    *("nul\0inside", "é\u202e", "x" * 1_025, "resonate:target", "resonate:timer", "resonate:delay"),
    *("resonate:external", "* * * * *", "{{.id}}.{{.timestamp}}", "Europe/Paris", "1000"),
)
SANE_TEXTS: Final = ("a", "b", "t1", "t1.x", "t2.x", "w")
SANE_NUMBERS: Final = (0, 1, 2, 60_000, 2**51)
SANE: Final = 0.7
"""How often a field holds what it should: what is all wrong gets no further than the door."""

NUMBERS: Final = (0, 1, 2, -1, 100, 60_000, 2**31 - 1, 2**31, 2**53 - 1, 2**53, 2**63 - 1, -(2**63))
DEPTH_MAX: Final = 6


def filled(message: type[Message], rng: random.Random, depth: int = 0) -> Message:
    """Make a message whose fields hold anything of their types."""
    made = message()
    for field in message.DESCRIPTOR.fields:
        if rng.random() < 0.15 or depth > DEPTH_MAX:
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            entries = getattr(made, field.name)
            if rng.random() < SANE:
                entries["resonate:target"] = "poll://any@w"
            for _ in range(rng.choice((0, 0, 0, 3))):
                entries[rng.choice(TEXTS)] = rng.choice(TEXTS)
        elif field.is_repeated:
            for _ in range(rng.choice((0, 1, 1, 2, 5))):
                _add(made, field, rng, depth)
        elif field.message_type is not None:
            inner = getattr(made, field.name)
            inner.CopyFrom(filled(type(inner), rng, depth + 1))
        else:
            setattr(made, field.name, _scalar(field, rng))
    return made


def _add(made: Any, field: Any, rng: random.Random, depth: int) -> None:
    several = getattr(made, field.name)
    if field.message_type is None:
        several.append(_scalar(field, rng))
        return
    inner = several.add()
    inner.CopyFrom(filled(type(inner), rng, depth + 1))


def _scalar(field: Any, rng: random.Random) -> object:  # noqa: PLR0911 - one for each type
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            text = rng.choice(SANE_TEXTS if rng.random() < SANE else TEXTS)
            return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
        case FieldDescriptor.CPPTYPE_BOOL:
            return rng.random() < 0.5
        case FieldDescriptor.CPPTYPE_ENUM if rng.random() < SANE:
            return rng.choice(field.enum_type.values).number
        case FieldDescriptor.CPPTYPE_INT32 | FieldDescriptor.CPPTYPE_ENUM:
            return rng.choice([n for n in NUMBERS if -(2**31) <= n < 2**31])
        case FieldDescriptor.CPPTYPE_UINT32:
            return rng.choice([n for n in NUMBERS if 0 <= n < 2**32])
        case FieldDescriptor.CPPTYPE_UINT64:
            return rng.choice([n for n in NUMBERS if n >= 0])
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            return rng.choice((0.0, -1.5, 1e300 if field.cpp_type == 5 else 1.0))
        case _:
            return rng.choice(SANE_NUMBERS if rng.random() < SANE else NUMBERS)


# Spoiling


def _flipped(data: bytearray, rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randint(0, len(data)) :]


def _without(data: bytearray, rng: random.Random) -> None:
    start = rng.randint(0, len(data))
    del data[start : start + rng.randint(1, 8)]


def _with_junk(data: bytearray, rng: random.Random) -> None:
    at = rng.randint(0, len(data))
    data[at:at] = rng.randbytes(rng.randint(1, 12))


def _doubled(data: bytearray, rng: random.Random) -> None:
    data += data[rng.randint(0, len(data)) :]


def _long_number(data: bytearray, rng: random.Random) -> None:
    at = rng.randint(0, len(data))
    data[at:at] = b"\xff" * rng.randint(1, 12) + b"\x01"


def _deep_groups(data: bytearray, rng: random.Random) -> None:
    data += b"\xfb\x07" * rng.choice((10, 101, 5_000))  # field 127 begins a group, and so on


def _bad_text(data: bytearray, rng: random.Random) -> None:
    at = rng.randint(0, len(data))
    data[at:at] = b"\x0a\x03\xed\xa0\x80"  # field 1: half of a surrogate pair


SPOILERS: Final[Sequence[Callable[[bytearray, random.Random], None]]] = (
    *(_flipped, _flipped, _cut, _without, _with_junk),
    *(_doubled, _long_number, _deep_groups, _bad_text),
)


def spoiled(data: bytes, rng: random.Random) -> bytes:
    """Spoil bytes in one way or in several; now and then in none."""
    given = bytearray(data)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 4))):
        rng.choice(SPOILERS)(given, rng)
    return bytes(given)
