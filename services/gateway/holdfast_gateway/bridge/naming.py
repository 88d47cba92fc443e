"""Which names a request contains, for whoever decides whether its sender may use them (§1.7, §14).

Pure, and before any check of the fields: what is missing or of the wrong type is `None`, which is
let through, since the check of the fields says more about it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from holdfast_chassis.authorization import EVERYTHING

Data = Mapping[str, Any]

_BY_ID: Final = frozenset(
    {
        *("promise.get", "promise.create", "promise.settle"),
        *("task.get", "task.acquire", "task.release", "task.halt", "task.continue"),
        *("schedule.get", "schedule.delete"),
    }
)


def names_in(kind: str, data: Data) -> tuple[str | None, ...]:
    """List every id that a request names."""
    read = _NAMES.get(kind)
    return EVERYTHING if read is None else tuple(read(data))


def _ids(*fields: str) -> Callable[[Data], Iterable[str | None]]:
    return lambda data: [_text(data, field) for field in fields]


def _with_inner(data: Data) -> Iterable[str | None]:
    return (_text(data, "id"), _text(_inner(data), "id"))


def _task_create(data: Data) -> Iterable[str | None]:
    return (_text(_inner(data), "id"),)


def _heartbeat(data: Data) -> Iterable[str | None]:
    return [_text(ref, "id") for ref in _items(data, "tasks")]


def _suspend(data: Data) -> Iterable[str | None]:
    return (_text(data, "id"), *_awaited(data))


def _schedule_create(data: Data) -> Iterable[str | None]:
    """Name the schedule and its promises, whose ids may begin with its own."""
    schedule_id, template = _text(data, "id"), _text(data, "promiseId")
    if schedule_id is None or template is None:
        return (schedule_id, template)
    return (schedule_id, template.replace("{{.id}}", schedule_id))


_NAMES: Final[Mapping[str, Callable[[Data], Iterable[str | None]]]] = {
    **dict.fromkeys(_BY_ID, _ids("id")),
    "promise.register_callback": _ids("awaited", "awaiter"),
    "promise.register_listener": _ids("awaited"),
    "task.create": _task_create,
    "task.fulfill": _with_inner,
    "task.fence": _with_inner,
    "task.suspend": _suspend,
    "task.heartbeat": _heartbeat,
    "schedule.create": _schedule_create,
}


def _awaited(data: Data) -> Iterator[str | None]:
    for action in _items(data, "actions"):
        inner = _object(action, "data")
        yield _text(inner, "awaited")
        yield _text(inner, "awaiter")


def _inner(data: Data) -> Data:
    return _object(_object(data, "action"), "data")


def _object(data: Data, field: str) -> Data:
    value = data.get(field)
    return value if isinstance(value, dict) else {}


def _items(data: Data, field: str) -> Iterator[Data]:
    value = data.get(field)
    for item in value if isinstance(value, list) else ():
        yield item if isinstance(item, dict) else {}


def _text(data: Data, field: str) -> str | None:
    value = data.get(field)
    return value if isinstance(value, str) else None
