"""How much data operations carry, as far as it matters to the size of a transaction."""

from holdfast.core.records import Value
from holdfast.core.requests import (
    PromiseCreate,
    PromiseRecord,
    PromiseSettle,
    Request,
    TaskCreate,
    TaskFence,
    TaskFulfill,
)


def payload_bytes(request: Request | PromiseRecord) -> int:
    """Count the payloads of an operation, headers not included: they are small beside them."""
    match request:
        case PromiseCreate():
            return _data_bytes(request.param)
        case PromiseSettle():
            return _data_bytes(request.value)
        case PromiseRecord():
            return _data_bytes(request.create.param) + _data_bytes(request.value)
        case TaskCreate() | TaskFence() | TaskFulfill():
            return payload_bytes(request.action)
        case _:
            return 0


def _data_bytes(value: Value) -> int:
    return 0 if value.data is None else len(value.data)
