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


def carried_bytes(request: Request) -> int:
    """Count payloads, headers, tags and lists of ids: all that can be large."""
    match request:  # what is asked for most comes first: each arm that does not match costs
        case TaskFence() | TaskFulfill() | TaskCreate():
            return _written_bytes(request.action)
        case PromiseCreate() | PromiseSettle():
            return _written_bytes(request)
        case TaskSuspend():
            return sum(len(action.awaited) for action in request.actions)
        case TaskHeartbeat():
            return sum(len(ref.id) for ref in request.tasks)
        case ScheduleCreate():
            return _value_bytes(request.promise_param) + _texts_bytes(request.promise_tags)
        case _:
            return 0


def _written_bytes(write: PromiseRecord | PromiseSettle | PromiseCreate) -> int:
    match write:
        case PromiseRecord(create=create):
            return _created_bytes(create) + _value_bytes(write.value)
        case PromiseSettle():
            return _value_bytes(write.value)
        case PromiseCreate():
            return _created_bytes(write)


def _created_bytes(create: PromiseCreate) -> int:
    return _value_bytes(create.param) + _texts_bytes(create.tags)


def schedule_bytes(schedule: Schedule) -> int:
    """Count what each promise of a schedule carries."""
    return _value_bytes(schedule.promise_param) + _texts_bytes(schedule.promise_tags)


def _value_bytes(value: Value) -> int:
    headers = 0 if value.headers is None else _texts_bytes(value.headers)
    return headers if value.data is None else headers + len(value.data)


def _texts_bytes(texts: Mapping[str, str]) -> int:
    """Count characters, which are bytes enough for a bound on memory."""
    return len("".join(texts)) + len("".join(texts.values()))
