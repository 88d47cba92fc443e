"""Requests of every method of the contract, made from its descriptors: with any id in any place.

So a method or a field that is added later is tested by being there, and fails until somebody has
decided what it means for a token.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from holdfast.v1 import (
    admin_pb2,
    externalscaler_pb2,
    promises_pb2,
    schedules_pb2,
    tasks_pb2,
    workers_pb2,
)

FILES: Final = (
    *(admin_pb2, externalscaler_pb2, promises_pb2),
    *(schedules_pb2, tasks_pb2, workers_pb2),
)

IDS: Final = frozenset({"id", "awaited", "awaiter", "promise_id"})
"""Text fields of requests that name a promise, a task or a schedule."""

OTHERS: Final = frozenset(
    {"pid", "id_prefix", "cursor", "address", "cron", "time_zone", "reason"},
)
"""Text fields of requests that name something else, for which no token is needed."""

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Shape:
    """A request that names ids, and where."""

    message: Message
    paths: tuple[Path, ...]

    def naming(self, name: str, *, but: Path | None = None, other: str = "") -> Any:
        """Answer the request with a name in all places, and perhaps another one in one."""
        made = type(self.message)()
        made.CopyFrom(self.message)
        for path in self.paths:
            _put(made, path, other if path == but else name)
        return made


def methods() -> Iterator[tuple[str, MethodDescriptor]]:
    """Yield every method of every service, with the path under which gRPC calls it."""
    for file in FILES:
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield f"/{service.full_name}/{method.name}", method


def operations() -> Iterator[Shape]:
    """Yield every kind of operation that a stream carries, in each of its forms."""
    kind = workers_pb2.Operation.DESCRIPTOR.oneofs_by_name["kind"]
    for field in kind.fields:
        for shape in shapes_of(field.message_type):
            message = workers_pb2.Operation()
            getattr(message, field.name).SetInParent()
            getattr(message, field.name).CopyFrom(shape.message)
            yield Shape(message, tuple((field.name, *path) for path in shape.paths))


def shapes_of(descriptor: Any) -> list[Shape]:
    """Make a request in each form that it can have: one for each choice in it."""
    return [Shape(message, tuple(_paths(message))) for message in _forms(descriptor)]


def _forms(descriptor: Any) -> Iterator[Message]:
    choices = [
        [field for field in oneof.fields if not oneof.name.startswith("_")]
        for oneof in descriptor.oneofs
    ]
    chosen_of = itertools.product(*[fields for fields in choices if fields])
    for chosen in chosen_of:
        plain = [field for field in descriptor.fields if _is_plain(field)]
        wanted = [field for field in (*plain, *chosen) if _is_message(field)]
        for parts in itertools.product(*[list(_forms(field.message_type)) for field in wanted]):
            message = GetMessageClass(descriptor)()
            for field, part in zip(wanted, parts, strict=True):
                target: Any = getattr(message, field.name)
                if field.is_repeated:
                    target.add().CopyFrom(part)
                    target.add().CopyFrom(part)
                else:
                    target.SetInParent()
                    target.CopyFrom(part)
            yield message


def _is_plain(field: Any) -> bool:
    """Whether a field is there whatever is chosen."""
    oneof = field.containing_oneof
    return oneof is None or oneof.name.startswith("_")


def _is_message(field: Any) -> bool:
    """Whether a field holds more fields that may name something; payloads and tags do not."""
    kind = field.message_type
    return kind is not None and not kind.GetOptions().map_entry and kind.name != "Value"


def _paths(message: Message) -> Iterator[Path]:
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.type == FieldDescriptor.TYPE_STRING:
            assert field.name in IDS | OTHERS, f"{field.full_name}: does a token have to cover it?"
            if field.name in IDS:
                yield (field.name,)
        elif _is_message(field) and field.is_repeated:
            for number, each in enumerate(value):
                yield from ((field.name, number, *path) for path in _paths(each))
        elif _is_message(field) and message.HasField(field.name):
            yield from ((field.name, *path) for path in _paths(value))


def _put(message: Any, path: Path, text: str) -> None:
    *way, last = path
    for step in way:
        message = message[step] if isinstance(step, int) else getattr(message, step)
    setattr(message, str(last), text)
