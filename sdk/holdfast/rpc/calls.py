"""Single operations over plain unary calls, each judged at an instant that its caller may choose.

The stream of operations knows no such instants. Nothing is sent twice: an answer that is lost
raises `ServerUnavailable`, and the operation happened or did not.
"""

from typing import Any, Final

import grpc
from google.protobuf.message import Message

from holdfast.core.records import Preload
from holdfast.core.requests import (
    Done,
    Outcome,
    PromiseCreate,
    PromiseGet,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Refusal,
    Request,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskRelease,
    TaskSuspend,
)
from holdfast.core.search import PromisePage, PromiseSearch, TaskPage, TaskSearch
from holdfast.errors import ServerUnavailable
from holdfast.rpc.access import ANONYMOUS, Access
from holdfast.rpc.answers import preload_of, promise_of, task_of
from holdfast.rpc.asking import Asking
from holdfast.rpc.dialing import CHECK, NOT_SERVING, Dialer
from holdfast.rpc.endpoints import parse_endpoints
from holdfast.rpc.errors import error_of_call, reason_of
from holdfast.rpc.requests import write_operation
from holdfast.rpc.searching import search_message, task_search_message
from holdfast.v1 import promises_pb2, tasks_pb2, workers_pb2

DEBUG_TIME: Final = "holdfast-debug-time"
"""Metadata: the instant at which a call is judged, in a store that runs with debug on."""

TIMEOUT_S: Final = 5.0

_Response = type[Message]

_METHODS: Final[dict[type[Request], tuple[str, _Response]]] = {
    PromiseGet: ("Promises/Get", promises_pb2.PromisesGetResponse),
    PromiseCreate: ("Promises/Create", promises_pb2.PromisesCreateResponse),
    PromiseSettle: ("Promises/Settle", promises_pb2.PromisesSettleResponse),
    PromiseRegisterCallback: (
        "Promises/RegisterCallback",
        promises_pb2.PromisesRegisterCallbackResponse,
    ),
    PromiseRegisterListener: (
        "Promises/RegisterListener",
        promises_pb2.PromisesRegisterListenerResponse,
    ),
    TaskGet: ("Tasks/Get", tasks_pb2.TasksGetResponse),
    TaskCreate: ("Tasks/Create", tasks_pb2.TasksCreateResponse),
    TaskAcquire: ("Tasks/Acquire", tasks_pb2.TasksAcquireResponse),
    TaskRelease: ("Tasks/Release", tasks_pb2.TasksReleaseResponse),
    TaskFulfill: ("Tasks/Fulfill", tasks_pb2.TasksFulfillResponse),
    TaskSuspend: ("Tasks/Suspend", tasks_pb2.TasksSuspendResponse),
    TaskFence: ("Tasks/Fence", tasks_pb2.TasksFenceResponse),
    TaskHeartbeat: ("Tasks/Heartbeat", tasks_pb2.TasksHeartbeatResponse),
    TaskHalt: ("Tasks/Halt", tasks_pb2.TasksHaltResponse),
    TaskContinue: ("Tasks/Continue", tasks_pb2.TasksContinueResponse),
}

_PROMISES_FOUND: Final = promises_pb2.PromisesSearchResponse
_TASKS_FOUND: Final = tasks_pb2.TasksSearchResponse

_RULES: Final = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.FAILED_PRECONDITION: 422,
}
"""What a rule of the store refuses with, by the status that it means."""

_SWITCHED_OFF: Final = {"debug_off": 403, "search_off": 501}
"""What a store does not do by its settings, by its code."""

_OK: Final = 200
_REDIRECT: Final = 300


class Calls:
    """A client of whichever store answers; close it in the end. Calls raise the library's errors.

    `at` is what a caller says the time is: text, since only a store with debug on minds it.
    """

    def __init__(
        self, url: str, *, access: Access = ANONYMOUS, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._access = access
        self._asking = Asking(Dialer(parse_endpoints(url), access=access))
        self._timeout_s = timeout_s

    async def close(self) -> None:
        """Disconnect; calls under way fail."""
        await self._asking.close()

    async def is_serving(self) -> bool:
        """Whether a store answers that it is ready for work, and so is its database."""
        try:
            line = await self._asking.connect()
        except ServerUnavailable:
            return False
        check: Any = line.channel.unary_unary(CHECK)  # bytes both ways
        try:
            answer = await check(b"", timeout=self._timeout_s, metadata=self._access.metadata())
        except grpc.aio.AioRpcError as error:
            await self._asking.turn_away(line, error)
            return False
        return bool(answer != NOT_SERVING)

    async def operate(self, request: Request, *, at: str | None = None) -> Outcome:
        """Carry out an operation of the stream; what a rule refuses is an outcome."""
        operation = workers_pb2.Operation()
        try:
            write_operation(operation, request)
        except ValueError as error:
            return Refusal(status=400, code="invalid_request", message=str(error))
        message = getattr(operation, str(operation.WhichOneof("kind")))
        method, response = _METHODS[type(request)]
        answer = await self.call(method, message, response, at=at)
        return answer if isinstance(answer, Refusal) else _done(answer)

    async def search_promises(
        self, search: PromiseSearch, *, at: str | None = None
    ) -> PromisePage | Refusal:
        """List promises."""
        request = search_message(search)
        found = await self.call("Promises/Search", request, _PROMISES_FOUND, at=at)
        if isinstance(found, Refusal):
            return found
        promises = tuple(promise_of(each) for each in found.promises)
        return PromisePage(promises=promises, cursor=found.cursor or None)

    async def search_tasks(
        self, search: TaskSearch, *, at: str | None = None
    ) -> TaskPage | Refusal:
        """List tasks; of their resumes only the number is known."""
        request = task_search_message(search)
        found = await self.call("Tasks/Search", request, _TASKS_FOUND, at=at)
        if isinstance(found, Refusal):
            return found
        tasks = tuple(task_of(each, None) for each in found.tasks)
        return TaskPage(tasks=tasks, cursor=found.cursor or None)

    async def call(
        self, method: str, request: Message, response: _Response, *, at: str | None = None
    ) -> Any:  # noqa: ANN401 - a message of the class `response`
        """Call a method once; answer its response, or the refusal of a rule."""
        line = await self._asking.connect()
        ask: Any = line.channel.unary_unary(
            f"/holdfast.v1.{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )
        metadata = self._access.metadata() + (() if at is None else ((DEBUG_TIME, at),))
        try:
            return await ask(request, timeout=self._timeout_s, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            await self._asking.turn_away(line, error)
            code = reason_of(error)
            if code is not None:
                status = _RULES.get(error.code()) or _SWITCHED_OFF.get(code)
                if status is not None:
                    return Refusal(status=status, code=code, message=error.details() or code)
            raise error_of_call(error, where=str(line.address)) from error


def _done(answer: Any) -> Outcome:  # noqa: ANN401 - any response; absent fields are left out
    if isinstance(answer, tasks_pb2.TasksFenceResponse):
        return _fenced(answer)
    fields = answer.DESCRIPTOR.fields_by_name
    promise = promise_of(answer.promise) if "promise" in fields else None
    return Done(
        status=_REDIRECT if "redirect" in fields and answer.redirect else _OK,
        promise=promise,
        task=task_of(answer.task, promise) if "task" in fields else None,
        created="created" in fields and answer.created,
        preload=_preload(answer) if "preload" in fields else None,
    )


def _fenced(answer: tasks_pb2.TasksFenceResponse) -> Outcome:
    inner: Done | Refusal
    if answer.status == _OK:
        inner = Done(promise=promise_of(answer.promise), created=answer.created)
    else:
        inner = Refusal(status=answer.status, code=answer.code, message=answer.message)
    return Done(action=inner, preload=_preload(answer))


def _preload(answer: Any) -> Preload | None:  # noqa: ANN401 - any response with a preload
    return preload_of(answer.preload) if answer.HasField("preload") else None
