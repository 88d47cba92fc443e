"""The trace of a request, written into the promise that it makes for a worker.

What a client wrote into the promise itself counts, and what is for no worker stays as it was sent.
"""

from msgspec.structs import replace

from holdfast.core.records import TARGET
from holdfast.core.requests import PromiseCreate, Request, TaskCreate, TaskFence
from holdfast.tracing import traced, traceparent


def as_traced(request: Request) -> Request:
    """Answer a request with the present trace in the promise that it creates, if it does."""
    if traceparent() is None:
        return request
    match request:
        case PromiseCreate():
            return _traced(request)
        case TaskCreate(action=create) | TaskFence(action=PromiseCreate() as create):
            return replace(request, action=_traced(create))
        case _:
            return request


def _traced(create: PromiseCreate) -> PromiseCreate:
    if TARGET not in create.tags:
        return create
    return replace(create, param=traced(create.param))
