"""Every operation as a unary method: one table instead of a servicer class for each service.

One transaction for each call. Processes with more to do use `Workers.Connect`, where an operation
costs a hundredth.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import grpc
from google.protobuf.message import Message

from holdfast.core.naming import done_within
from holdfast.core.requests import Done, Refusal, Request, Skipped
from holdfast.core.search import Search
from holdfast.v1 import promises_pb2, schedules_pb2, tasks_pb2
from holdfast_store.engine import Engine
from holdfast_store.rpc import requests, searches
from holdfast_store.rpc.answers import write_preload, write_promise, write_schedule, write_task
from holdfast_store.rpc.authorizing import bounded, bounded_search
from holdfast_store.rpc.errors import Context, abort, message_of
from holdfast_store.rpc.guard import current_grant
from holdfast_store.rpc.instants import Instant, told_instant
from holdfast_store.rpc.requests import Malformed

Method = Callable[[Any, Context], Awaitable[Message]]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # not generic when it runs
_Asked = TypeVar("_Asked", Request, Search)


class Stopwatch(Protocol):
    """Learns how long requests took from their arrival to their answer."""

    def requests_took(self, kinds: Sequence[type[Request | Search]], seconds: float) -> None:
        """Count requests that were answered together."""

    def call_denied(self, code: str) -> None:
        """Count what was not carried out for want of a token that allows it."""


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
    look: Callable[[Engine, Any, int | None], Awaitable[Any]]
    write: Callable[[Any], Message]


def operation_handlers(
    engine: Engine, stopwatch: Stopwatch, *, times: bool = False
) -> list[grpc.GenericRpcHandler]:
    """Serve the services Promises, Tasks and Schedules.

    With `times` callers may name the instant of an operation (§6.2); else that is not looked at.
    """
    instant = told_instant if times else None
    return [
        service(
            name,
            {
                method: _served(engine, stopwatch, entry, instant)
                for method, entry in methods.items()
            },
        )
        for name, methods in _SERVICES.items()
    ]


def _served(
    engine: Engine,
    stopwatch: Stopwatch,
    entry: "_Operation | _Listing",
    instant: Instant | None,
) -> Handler:
    match entry:
        case _Listing():
            return _listed(engine, stopwatch, entry, instant)
        case _Operation():
            return _carried_out(engine, stopwatch, entry, instant)


def service(name: str, methods: Mapping[str, Handler]) -> grpc.GenericRpcHandler:
    """Put methods under the full name of their service."""
    return grpc.method_handlers_generic_handler(name, dict(methods))


def unary(request: type[Message], method: Method) -> Handler:
    """Serve a method with one request and one answer."""

    async def read(data: bytes, context: Context) -> Message:
        return await method(await message_of(request, data, context), context)

    return grpc.unary_unary_rpc_method_handler(read, None, _serialized)


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()


def _carried_out(
    engine: Engine, stopwatch: Stopwatch, operation: _Operation, instant: Instant | None
) -> Handler:
    async def method(message: Message, context: Context) -> Message:
        try:
            request = operation.read(message)
        except Malformed as flaw:
            await abort(context, flaw.refusal)
        grant = current_grant()
        if grant is not None:
            request = await _allowed(bounded(request, grant), stopwatch, context)
        at_ms = None if instant is None else await instant(context)
        started = perf_counter()
        (outcome,) = await engine.apply(request, at_ms=at_ms)
        stopwatch.requests_took([type(request)], perf_counter() - started)
        if isinstance(outcome, Refusal):
            await abort(context, outcome)
        assert not isinstance(outcome, Skipped), "nothing comes before the only operation"
        if grant is not None:
            outcome = done_within(outcome, grant.bound)
        response = operation.response()
        operation.write(response, outcome)
        return response

    return unary(operation.request, method)


def _listed(
    engine: Engine, stopwatch: Stopwatch, listing: _Listing, instant: Instant | None
) -> Handler:
    async def method(message: Message, context: Context) -> Message:
        try:
            search = listing.read(message)
        except Malformed as flaw:
            await abort(context, flaw.refusal)
        grant = current_grant()
        if grant is not None:
            search = await _allowed(bounded_search(search, grant), stopwatch, context)
        at_ms = None if instant is None else await instant(context)
        started = perf_counter()
        page = await listing.look(engine, search, at_ms)
        stopwatch.requests_took([type(search)], perf_counter() - started)
        if isinstance(page, Refusal):
            await abort(context, page)
        return listing.write(page)

    return unary(listing.request, method)


async def _allowed(judged: _Asked | Refusal, stopwatch: Stopwatch, context: Context) -> _Asked:
    """Answer what a grant lets the caller ask for; end the call if that is nothing."""
    if isinstance(judged, Refusal):
        stopwatch.call_denied(judged.code)
        await abort(context, judged)
    return judged


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


def _schedule(response: Any, done: Done) -> None:  # noqa: ANN401 - any answer with a schedule
    assert done.schedule is not None
    write_schedule(response.schedule, done.schedule)


def _schedule_created(response: schedules_pb2.SchedulesCreateResponse, done: Done) -> None:
    _schedule(response, done)
    response.created = done.created


def _nothing(_response: Message, _done: Done) -> None:
    """Leave an answer that has nothing to say."""


_SERVICES: Final[Mapping[str, Mapping[str, _Operation | _Listing]]] = {
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
            lambda engine, search, at_ms: engine.searching.promises(search, at_ms=at_ms),
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
            lambda engine, search, at_ms: engine.searching.tasks(search, at_ms=at_ms),
            searches.tasks_found,
        ),
    },
    "holdfast.v1.Schedules": {
        "Get": _Operation(
            schedules_pb2.SchedulesGetRequest,
            requests.schedule_get_of,
            schedules_pb2.SchedulesGetResponse,
            _schedule,
        ),
        "Create": _Operation(
            schedules_pb2.SchedulesCreateRequest,
            requests.schedule_create_of,
            schedules_pb2.SchedulesCreateResponse,
            _schedule_created,
        ),
        "Delete": _Operation(
            schedules_pb2.SchedulesDeleteRequest,
            requests.schedule_delete_of,
            schedules_pb2.SchedulesDeleteResponse,
            _nothing,
        ),
        "Pause": _Operation(
            schedules_pb2.SchedulesPauseRequest,
            requests.schedule_pause_of,
            schedules_pb2.SchedulesPauseResponse,
            _schedule,
        ),
        "Search": _Listing(
            schedules_pb2.SchedulesSearchRequest,
            searches.schedule_search_of,
            lambda engine, search, _at_ms: engine.searching.schedules(search),
            searches.schedules_found,
        ),
    },
}
