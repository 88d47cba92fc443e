"""Requests in the public format over gRPC: unary, or on the stream that workers use."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import grpc
from google.protobuf.message import Message

from holdfast.v1 import common_pb2 as common
from holdfast.v1 import promises_pb2 as promises
from holdfast.v1 import tasks_pb2 as tasks
from holdfast.v1 import workers_pb2 as workers
from holdfast_store.rpc.errors import CODES
from tests.linearizability.tree import Json

VERSION: Final = "2026-04-01"
ANSWER_S: Final = 10.0
CHANNEL_OPTIONS: Final = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
)

_STATUS: Final[Mapping[grpc.StatusCode, int]] = {code: status for status, code in CODES.items()}
_PROMISE_STATES: Final = {
    name: common.PromiseState.Value(f"PROMISE_STATE_{name.upper()}")
    for name in ("pending", "resolved", "rejected", "rejected_canceled", "rejected_timedout")
}
_STATE_NAMES: Final = {number: name for name, number in _PROMISE_STATES.items()}
_TASK_STATES: Final = {
    common.TaskState.Value(f"TASK_STATE_{name.upper()}"): name
    for name in ("pending", "acquired", "suspended", "halted", "fulfilled")
}


class Unanswered(Exception):
    """Nobody knows whether the request happened."""


class NotSent(Exception):
    """The request did not happen: it was never sent, or refused at the door."""


class Client(Protocol):
    """Whoever can ask a store."""

    async def ask(self, kind: str, req: Json) -> Json:
        """Answer the whole response; raise `Unanswered` or `NotSent`."""

    async def close(self) -> None:
        """Let go of the connection."""


# Requests


def _value(given: Json | None) -> common.Value | None:
    if not given:
        return None
    data, headers = given.get("data"), given.get("headers")
    return common.Value(
        data=None if data is None else data.encode(),
        headers=None if headers is None else common.Headers(entries=headers),
    )


def _create(req: Json) -> promises.PromisesCreateRequest:
    return promises.PromisesCreateRequest(
        id=req["id"],
        timeout_at_ms=req["timeoutAt"],
        param=_value(req.get("param")),
        tags=req.get("tags") or {},
    )


def _settle(req: Json) -> promises.PromisesSettleRequest:
    return promises.PromisesSettleRequest(
        id=req["id"], state=_PROMISE_STATES[req["state"]], value=_value(req.get("value"))
    )


def _callback(req: Json) -> promises.PromisesRegisterCallbackRequest:
    return promises.PromisesRegisterCallbackRequest(awaited=req["awaited"], awaiter=req["awaiter"])


def _fence(req: Json) -> tasks.TasksFenceRequest:
    action = req["action"]
    message = tasks.TasksFenceRequest(id=req["id"], version=req["version"])
    if action["kind"] == "promise.create":
        message.create.CopyFrom(_create(action["data"]))
    else:
        message.settle.CopyFrom(_settle(action["data"]))
    return message


_READ: Final[Mapping[str, Callable[[Json], Any]]] = {
    "promise.get": lambda r: promises.PromisesGetRequest(id=r["id"]),
    "promise.create": _create,
    "promise.settle": _settle,
    "promise.register_callback": _callback,
    "promise.register_listener": lambda r: promises.PromisesRegisterListenerRequest(
        awaited=r["awaited"], address=r["address"]
    ),
    "task.get": lambda r: tasks.TasksGetRequest(id=r["id"]),
    "task.create": lambda r: tasks.TasksCreateRequest(
        pid=r["pid"], ttl_ms=r["ttl"], action=_create(r["action"]["data"])
    ),
    "task.acquire": lambda r: tasks.TasksAcquireRequest(
        id=r["id"], version=r["version"], pid=r["pid"], ttl_ms=r["ttl"]
    ),
    "task.release": lambda r: tasks.TasksReleaseRequest(id=r["id"], version=r["version"]),
    "task.fulfill": lambda r: tasks.TasksFulfillRequest(
        id=r["id"], version=r["version"], action=_settle(r["action"]["data"])
    ),
    "task.suspend": lambda r: tasks.TasksSuspendRequest(
        id=r["id"],
        version=r["version"],
        actions=[_callback(action["data"]) for action in r["actions"]],
    ),
    "task.fence": _fence,
    "task.heartbeat": lambda r: tasks.TasksHeartbeatRequest(
        pid=r["pid"],
        tasks=[tasks.TaskRef(id=t["id"], version=t["version"]) for t in r.get("tasks") or ()],
    ),
    "task.halt": lambda r: tasks.TasksHaltRequest(id=r["id"]),
    "task.continue": lambda r: tasks.TasksContinueRequest(id=r["id"]),
}

_RESPONSES: Final[Mapping[str, type[Message]]] = {
    "promise.get": promises.PromisesGetResponse,
    "promise.create": promises.PromisesCreateResponse,
    "promise.settle": promises.PromisesSettleResponse,
    "promise.register_callback": promises.PromisesRegisterCallbackResponse,
    "promise.register_listener": promises.PromisesRegisterListenerResponse,
    "task.get": tasks.TasksGetResponse,
    "task.create": tasks.TasksCreateResponse,
    "task.acquire": tasks.TasksAcquireResponse,
    "task.release": tasks.TasksReleaseResponse,
    "task.fulfill": tasks.TasksFulfillResponse,
    "task.suspend": tasks.TasksSuspendResponse,
    "task.fence": tasks.TasksFenceResponse,
    "task.heartbeat": tasks.TasksHeartbeatResponse,
    "task.halt": tasks.TasksHaltResponse,
    "task.continue": tasks.TasksContinueResponse,
}


# Answers


def envelope(kind: str, status: int, data: object) -> Json:
    """Make a response as the public protocol writes it."""
    return {
        "kind": kind,
        "head": {"corrId": "-", "status": status, "version": VERSION},
        "data": data,
    }


def promise_record(message: common.Promise) -> Json:
    """Write a promise as the public protocol does."""
    record = {
        "id": message.id,
        "state": _STATE_NAMES[message.state],
        "param": _payload(message.param) if message.HasField("param") else {},
        "value": _payload(message.value) if message.HasField("value") else {},
        "tags": dict(message.tags),
        "timeoutAt": message.timeout_at_ms,
        "createdAt": message.created_at_ms,
    }
    if message.HasField("settled_at_ms"):
        record["settledAt"] = message.settled_at_ms
    return record


def _payload(message: common.Value) -> Json:
    payload: dict[str, Any] = {}
    if message.HasField("headers"):
        payload["headers"] = dict(message.headers.entries)
    if message.HasField("data"):
        payload["data"] = message.data.decode()
    return payload


def task_record(message: common.Task) -> Json:
    """Write a task as the public protocol does."""
    record: dict[str, Any] = {
        "id": message.id,
        "state": _TASK_STATES[message.state],
        "version": message.version,
        "resumes": message.resumes,
    }
    if message.HasField("ttl_ms"):
        record["ttl"] = message.ttl_ms
    if message.HasField("pid"):
        record["pid"] = message.pid
    return record


def _data(message: Any) -> dict[str, Any]:
    """Read the records that a response, or the result of an operation, carries."""
    data: dict[str, Any] = {}
    fields = message.DESCRIPTOR.fields_by_name
    if "promise" in fields and message.HasField("promise"):
        data["promise"] = promise_record(message.promise)
    if "task" in fields and message.HasField("task"):
        data["task"] = task_record(message.task)
    return data


def _inner(kind: str, status: int, code: str, message: Any) -> Json:
    return envelope(kind, status, _data(message) if status == 200 else code)


class Unary:
    """One call for each request."""

    def __init__(self, target: str) -> None:
        self._channel = grpc.aio.insecure_channel(target, options=list(CHANNEL_OPTIONS))

    async def ask(self, kind: str, req: Json) -> Json:
        family, _, name = kind.partition(".")
        service = "Promises" if family == "promise" else "Tasks"
        method = "".join(part.capitalize() for part in name.split("_"))
        call: Any = self._channel.unary_unary(
            f"/holdfast.v1.{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=_RESPONSES[kind].FromString,
        )
        try:
            response: Any = await call(_READ[kind](req), timeout=ANSWER_S)
        except grpc.aio.AioRpcError as error:
            return envelope(kind, _status_of(error), error.details() or "")
        if kind == "task.fence":
            action = req["action"]["kind"]
            inner = _inner(action, response.status, response.code, response)
            return envelope(kind, 200, {"action": inner, "preload": []})
        if kind == "task.suspend" and response.redirect:
            return envelope(kind, 300, {"preload": []})
        return envelope(kind, 200, _data(response))

    async def close(self) -> None:
        await self._channel.close()


def _status_of(error: grpc.aio.AioRpcError) -> int:
    code = error.code()
    details = error.details() or ""
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED or "failed to connect" in details:
        raise NotSent(details) from error
    status = _STATUS.get(code)
    if status is None or status >= 500:
        raise Unanswered(f"{code.name}: {details}") from error
    return status


@dataclass
class _Waiting:
    kind: str
    req: Json
    future: "asyncio.Future[workers.OperationResult]"


class Stream:
    """One `Connect` stream for all requests; it is opened anew when it has broken."""

    def __init__(self, target: str, pid: str) -> None:
        self._channel = grpc.aio.insecure_channel(target, options=list(CHANNEL_OPTIONS))
        self._pid = pid
        self._numbers = itertools.count(1)
        self._starts = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._call: Any = None
        self._reader: asyncio.Task[None] | None = None

    async def ask(self, kind: str, req: Json) -> Json:
        if self._call is None:
            await self._open()
        number = next(self._numbers)
        future: asyncio.Future[workers.OperationResult] = asyncio.get_running_loop().create_future()
        operation = workers.Operation(**{kind.replace(".", "_"): _READ[kind](req)})
        message = workers.ConnectRequest(
            chains=[workers.Chain(correlation_id=number, operations=[operation])]
        )
        self._waiting[number] = _Waiting(kind, req, future)
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._call.write(message)
                result = await future
        except (TimeoutError, grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            self._break()
            raise Unanswered(str(error)) from error
        finally:
            self._waiting.pop(number, None)
        return _answered(kind, req, result)

    async def _open(self) -> None:
        hello = workers.Hello(pid=self._pid, instance_id=f"{self._pid}-{next(self._starts)}")
        connect = self._channel.stream_stream(
            "/holdfast.v1.Workers/Connect",
            request_serializer=workers.ConnectRequest.SerializeToString,
            response_deserializer=workers.ConnectResponse.FromString,
        )
        call = connect()
        try:
            async with asyncio.timeout(ANSWER_S):
                await call.write(workers.ConnectRequest(hello=hello))
                welcome: Any = await call.read()
        except (TimeoutError, grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            call.cancel()
            raise NotSent(str(error)) from error
        if not isinstance(welcome, workers.ConnectResponse):
            raise NotSent("the stream ended before the welcome")
        self._call = call
        self._reader = asyncio.create_task(self._read(call))

    async def _read(self, call: Any) -> None:
        try:
            while isinstance(message := await call.read(), workers.ConnectResponse):
                for chain in message.results:
                    waiting = self._waiting.get(chain.correlation_id)
                    if waiting is not None and not waiting.future.done():
                        waiting.future.set_result(chain.results[0])
            self._fail("the stream ended")
        except grpc.aio.AioRpcError as error:
            self._fail(error.details() or "the stream broke")
        finally:
            if self._call is call:
                self._call = None

    def _fail(self, why: str) -> None:
        for waiting in self._waiting.values():
            if not waiting.future.done():
                waiting.future.set_exception(asyncio.InvalidStateError(why))

    def _break(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None

    async def close(self) -> None:
        self._break()
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        await self._channel.close()


def _answered(kind: str, req: Json, result: workers.OperationResult) -> Json:
    status = result.status
    if status == 429:
        raise NotSent(result.message)
    if status == 0 or status >= 500:
        raise Unanswered(f"{status} {result.code}: {result.message}")
    if status > 300:
        return envelope(kind, status, result.message)
    if kind == "task.fence":
        inner = result.action
        action = _inner(req["action"]["kind"], inner.status, inner.code, inner)
        return envelope(kind, status, {"action": action, "preload": []})
    return envelope(kind, status, {"preload": []} if status == 300 else _data(result))


def clients_of(targets: Sequence[str], *, count: int) -> list[Client]:
    """Make clients, spread over stores; every other one asks over a stream."""
    made: list[Client] = []
    for number in range(count):
        target = targets[number % len(targets)]
        streams = number // len(targets) % 2
        made.append(Stream(target, f"c{number}") if streams else Unary(target))
    return made
