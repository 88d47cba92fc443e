"""How much data operations carry: what a transaction is bounded by, and the memory that waits."""

from collections.abc import Mapping

from holdfast.core.records import Schedule, Value
from holdfast.core.requests import (
    PromiseCreate,
    PromiseRecord,
    PromiseSettle,
    Request,
    ScheduleCreate,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskHeartbeat,
    TaskSuspend,
)


def carried_bytes(request: Request | PromiseRecord) -> int:  # noqa: PLR0911 - one for each kind
    """Count payloads, headers, tags and lists of ids: all that can be large."""
    match request:
        case PromiseCreate():
            return _value_bytes(request.param) + _texts_bytes(request.tags)
        case PromiseSettle():
            return _value_bytes(request.value)
        case PromiseRecord():
            return carried_bytes(request.create) + _value_bytes(request.value)
        case TaskCreate() | TaskFence() | TaskFulfill():
            return carried_bytes(request.action)
        case TaskSuspend():
            return sum(len(action.awaited) for action in request.actions)
        case TaskHeartbeat():
            return sum(len(ref.id) for ref in request.tasks)
        case ScheduleCreate():
            return _value_bytes(request.promise_param) + _texts_bytes(request.promise_tags)
        case _:
            return 0


def schedule_bytes(schedule: Schedule) -> int:
    """Count what each promise of a schedule carries."""
    return _value_bytes(schedule.promise_param) + _texts_bytes(schedule.promise_tags)


def _value_bytes(value: Value) -> int:
    headers = 0 if value.headers is None else _texts_bytes(value.headers)
    return headers if value.data is None else headers + len(value.data)


def _texts_bytes(texts: Mapping[str, str]) -> int:
    """Count characters, which are bytes enough for a bound on memory."""
    return sum(map(len, texts)) + sum(map(len, texts.values()))
