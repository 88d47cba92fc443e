"""Every operation as a unary method: one table instead of a servicer class for each service.

One transaction for each call. Processes with more to do use `Workers.Connect`, where an operation
costs a hundredth.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final, Protocol, TypeAlias

import grpc
from google.protobuf.message import Message

from holdfast.core.requests import Done, Refusal, Request, Skipped
from holdfast.core.search import Search
from holdfast.v1 import promises_pb2, schedules_pb2, tasks_pb2
from holdfast_store.engine import Engine
from holdfast_store.rpc import requests, searches
from holdfast_store.rpc.answers import write_preload, write_promise, write_task
from holdfast_store.rpc.errors import Context, abort, message_of
from holdfast_store.rpc.requests import Malformed

Method = Callable[[Any, Context], Awaitable[Message]]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # not generic when it runs


class Stopwatch(Protocol):
    """Learns how long requests took from their arrival to their answer."""

    def requests_took(self, kinds: Sequence[type[Request | Search]], seconds: float) -> None:
        """Count requests that were answered together."""


@dataclass(frozen=True, slots=True)
class _Operation:
    """How one method reads its request and writes its answer."""

    request: type[Message]
    read: Callable[[Any], Request]
    response: type[Message]
    write: Callable[[Any, Done], None]


@dataclass(frozen=True, slots=True)
class _Listing:
    """How one method answers a page; it is no operation and runs in no batch."""

    request: type[Message]
    read: Callable[[Any], Search]
    look: Callable[[Engine, Any], Awaitable[Any]]
    write: Callable[[Any], Message]


@dataclass(frozen=True, slots=True)
class _Missing:
    """A method of the contract that this version does not carry out."""

    request: type[Message]
    what: str


def operation_handlers(engine: Engine, stopwatch: Stopwatch) -> list[grpc.GenericRpcHandler]:
    """Serve the services Promises, Tasks and Schedules."""
    return [
        service(
            name,
            {method: _served(engine, stopwatch, entry) for method, entry in methods.items()},
        )
        for name, methods in _SERVICES.items()
    ]


def _served(
    engine: Engine, stopwatch: Stopwatch, entry: "_Operation | _Listing | _Missing"
) -> Handler:
    match entry:
        case _Missing():
            return missing(entry.request, entry.what)
        case _Listing():
            return _listed(engine, stopwatch, entry)
        case _Operation():
            return _carried_out(engine, stopwatch, entry)


def service(name: str, methods: Mapping[str, Handler]) -> grpc.GenericRpcHandler:
    """Put methods under the full name of their service."""
    return grpc.method_handlers_generic_handler(name, dict(methods))


def unary(request: type[Message], method: Method) -> Handler:
    """Serve a method with one request and one answer."""

    async def read(data: bytes, context: Context) -> Message:
        return await method(await message_of(request, data, context), context)

    return grpc.unary_unary_rpc_method_handler(read, None, _serialized)


def missing(request: type[Message], what: str) -> Handler:
    """Serve a method of the contract by a sentence that names what is missing."""
    refusal = Refusal(
        status=501, code="not_supported", message=f"{what} comes in a later version of the store"
    )

    async def method(_request: Message, context: Context) -> Message:
        return await abort(context, refusal)

    return unary(request, method)


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()


def _carried_out(engine: Engine, stopwatch: Stopwatch, operation: _Operation) -> Handler:
    async def method(message: Message, context: Context) -> Message:
        try:
            request = operation.read(message)
        except Malformed as flaw:
            await abort(context, flaw.refusal)
        started = perf_counter()
        (outcome,) = await engine.apply(request)
        stopwatch.requests_took([type(request)], perf_counter() - started)
        if isinstance(outcome, Refusal):
            await abort(context, outcome)
        assert not isinstance(outcome, Skipped), "nothing comes before the only operation"
        response = operation.response()
        operation.write(response, outcome)
        return response

    return unary(operation.request, method)


def _listed(engine: Engine, stopwatch: Stopwatch, listing: _Listing) -> Handler:
    async def method(message: Message, context: Context) -> Message:
        try:
            search = listing.read(message)
        except Malformed as flaw:
            await abort(context, flaw.refusal)
        started = perf_counter()
        page = await listing.look(engine, search)
        stopwatch.requests_took([type(search)], perf_counter() - started)
        if isinstance(page, Refusal):
            await abort(context, page)
        return listing.write(page)

    return unary(listing.request, method)


def _promise(response: Any, done: Done) -> None:  # noqa: ANN401 - any answer with a promise
    assert done.promise is not None
    write_promise(response.promise, done.promise)


def _promise_created(response: promises_pb2.PromisesCreateResponse, done: Done) -> None:
    _promise(response, done)
    response.created = done.created


def _task(response: tasks_pb2.TasksGetResponse, done: Done) -> None:
    assert done.task is not None
    write_task(response.task, done.task)


def _task_created(response: tasks_pb2.TasksCreateResponse, done: Done) -> None:
    _task_acquired(response, done)
    response.created = done.created


def _task_acquired(
    response: tasks_pb2.TasksCreateResponse | tasks_pb2.TasksAcquireResponse, done: Done
) -> None:
    assert done.task is not None
    write_task(response.task, done.task)
    _promise(response, done)
    _preload(response, done)


def _suspended(response: tasks_pb2.TasksSuspendResponse, done: Done) -> None:
    response.redirect = done.status == 300  # noqa: PLR2004 - the protocol's number
    _preload(response, done)


def _fenced(response: tasks_pb2.TasksFenceResponse, done: Done) -> None:
    inner = done.action
    assert inner is not None
    response.status = inner.status
    if isinstance(inner, Refusal):
        response.code = inner.code
        response.message = inner.message
    else:
        _promise(response, inner)
        response.created = inner.created
    _preload(response, done)


def _preload(response: Any, done: Done) -> None:  # noqa: ANN401 - any answer with a preload
    if done.preload is not None:
        write_preload(response.preload, done.preload)


def _nothing(_response: Message, _done: Done) -> None:
    """Leave an answer that has nothing to say."""


_SERVICES: Final[Mapping[str, Mapping[str, _Operation | _Listing | _Missing]]] = {
    "holdfast.v1.Promises": {
        "Get": _Operation(
            promises_pb2.PromisesGetRequest,
            requests.promise_get_of,
            promises_pb2.PromisesGetResponse,
            _promise,
        ),
        "Create": _Operation(
            promises_pb2.PromisesCreateRequest,
            requests.promise_create_of,
            promises_pb2.PromisesCreateResponse,
            _promise_created,
        ),
        "Settle": _Operation(
            promises_pb2.PromisesSettleRequest,
            requests.promise_settle_of,
            promises_pb2.PromisesSettleResponse,
            _promise,
        ),
        "RegisterCallback": _Operation(
            promises_pb2.PromisesRegisterCallbackRequest,
            requests.register_callback_of,
            promises_pb2.PromisesRegisterCallbackResponse,
            _promise,
        ),
        "RegisterListener": _Operation(
            promises_pb2.PromisesRegisterListenerRequest,
            requests.register_listener_of,
            promises_pb2.PromisesRegisterListenerResponse,
            _promise,
        ),
        "Search": _Listing(
            promises_pb2.PromisesSearchRequest,
            searches.promise_search_of,
            lambda engine, search: engine.searching.promises(search),
            searches.promises_found,
        ),
    },
    "holdfast.v1.Tasks": {
        "Get": _Operation(
            tasks_pb2.TasksGetRequest, requests.task_get_of, tasks_pb2.TasksGetResponse, _task
        ),
        "Create": _Operation(
            tasks_pb2.TasksCreateRequest,
            requests.task_create_of,
            tasks_pb2.TasksCreateResponse,
            _task_created,
        ),
        "Acquire": _Operation(
            tasks_pb2.TasksAcquireRequest,
            requests.task_acquire_of,
            tasks_pb2.TasksAcquireResponse,
            _task_acquired,
        ),
        "Release": _Operation(
            tasks_pb2.TasksReleaseRequest,
            requests.task_release_of,
            tasks_pb2.TasksReleaseResponse,
            _nothing,
        ),
        "Fulfill": _Operation(
            tasks_pb2.TasksFulfillRequest,
            requests.task_fulfill_of,
            tasks_pb2.TasksFulfillResponse,
            _promise,
        ),
        "Suspend": _Operation(
            tasks_pb2.TasksSuspendRequest,
            requests.task_suspend_of,
            tasks_pb2.TasksSuspendResponse,
            _suspended,
        ),
        "Fence": _Operation(
            tasks_pb2.TasksFenceRequest,
            requests.task_fence_of,
            tasks_pb2.TasksFenceResponse,
            _fenced,
        ),
        "Heartbeat": _Operation(
            tasks_pb2.TasksHeartbeatRequest,
            requests.task_heartbeat_of,
            tasks_pb2.TasksHeartbeatResponse,
            _nothing,
        ),
        "Halt": _Operation(
            tasks_pb2.TasksHaltRequest,
            requests.task_halt_of,
            tasks_pb2.TasksHaltResponse,
            _nothing,
        ),
        "Continue": _Operation(
            tasks_pb2.TasksContinueRequest,
            requests.task_continue_of,
            tasks_pb2.TasksContinueResponse,
            _nothing,
        ),
        "Search": _Listing(
            tasks_pb2.TasksSearchRequest,
            searches.task_search_of,
            lambda engine, search: engine.searching.tasks(search),
            searches.tasks_found,
        ),
    },
    "holdfast.v1.Schedules": {
        "Get": _Missing(schedules_pb2.SchedulesGetRequest, "reading schedules"),
        "Create": _Missing(schedules_pb2.SchedulesCreateRequest, "creating schedules"),
        "Delete": _Missing(schedules_pb2.SchedulesDeleteRequest, "deleting schedules"),
        "Pause": _Missing(schedules_pb2.SchedulesPauseRequest, "pausing schedules"),
        "Search": _Missing(schedules_pb2.SchedulesSearchRequest, "searching schedules"),
    },
}
