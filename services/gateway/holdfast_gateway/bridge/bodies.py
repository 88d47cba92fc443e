"""The fields of each operation, as JSON has them, and the operation that they mean (§2.8, §3.5).

Pure. What only the shape can show is refused here, with JSON's names; every rule beyond it is the
store's. Fields that are not known are ignored, and `null` is as good as absent.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from holdfast.core.limits import INTEGER_MAX, SEARCH_LIMIT_DEFAULT, SEARCH_LIMIT_MAX
from holdfast.core.records import EMPTY, PromiseState, TaskState, Value
from holdfast.core.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Request,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskRef,
    TaskRelease,
    TaskSuspend,
)
from holdfast.core.search import PromiseSearch, TaskSearch

Number = Annotated[int, Meta(ge=0, le=INTEGER_MAX)]
Span = Annotated[int, Meta(ge=1, le=INTEGER_MAX)]
Limit = Annotated[int, Meta(ge=1, le=SEARCH_LIMIT_MAX)]
Tags = dict[str, str]
Data = Mapping[str, Any]

_T = TypeVar("_T")


class BadBody(Exception):
    """Fields that an operation cannot have; the message names the first."""


class Payload(Struct):
    """What an execution is given, or gives."""

    data: str | None = None
    headers: dict[str, str] | None = None


class Id(Struct):
    """What names a record."""

    id: str


class _Create(Struct, rename="camel"):
    id: str
    timeout_at: Number
    param: Payload | None = None
    tags: Tags | None = None


class _Settle(Struct):
    id: str
    state: str
    value: Payload | None = None


class _Callback(Struct):
    awaited: str
    awaiter: str


class _Listener(Struct):
    awaited: str
    address: str


class _CreateAction(Struct):
    data: _Create


class _SettleAction(Struct):
    data: _Settle


class _CallbackAction(Struct):
    data: _Callback


class _TaskCreate(Struct):
    pid: str
    ttl: Span
    action: _CreateAction


class _Acquire(Struct):
    id: str
    version: Number
    pid: str
    ttl: Span


class _Lease(Struct):
    id: str
    version: Number


class _Fulfill(Struct):
    id: str
    version: Number
    action: _SettleAction


class _Suspend(Struct):
    id: str
    version: Number
    actions: list[_CallbackAction]


class _ActionKind(Struct):
    kind: Literal["promise.create", "promise.settle"]


class _FenceKind(Struct):
    action: _ActionKind


class _FenceCreate(Struct):
    id: str
    version: Number
    action: _CreateAction


class _FenceSettle(Struct):
    id: str
    version: Number
    action: _SettleAction


class _Heartbeat(Struct):
    pid: str
    tasks: list[_Lease] | None = None


class _PromiseSearch(Struct):
    state: (
        Literal["pending", "resolved", "rejected", "rejected_canceled", "rejected_timedout"] | None
    ) = None
    tags: Tags | None = None
    limit: Limit | None = None
    cursor: str | None = None


class _TaskSearch(Struct):
    state: Literal["pending", "acquired", "suspended", "halted", "fulfilled"] | None = None
    limit: Limit | None = None
    cursor: str | None = None


def fields_of(data: Data, shape: type[_T]) -> _T:
    """Read fields as a shape; raise `BadBody` that names the first that does not fit."""
    try:
        return msgspec.convert(data, shape)
    except msgspec.ValidationError as error:
        # "Expected `int`, got `str` - at `$.timeoutAt`": the path begins at the data.
        raise BadBody(str(error).replace("`$", "`data")) from error


# Operations


def value_of(value: Payload | None) -> Value:
    """Read a payload; `null`, absent and empty are the same."""
    if value is None or (value.data is None and value.headers is None):
        return EMPTY
    data = None if value.data is None else value.data.encode()
    return Value(data=data, headers=value.headers)


def _promise_get(data: Data) -> Request:
    return PromiseGet(id=fields_of(data, Id).id)


def _created(create: _Create) -> PromiseCreate:
    return PromiseCreate(
        id=create.id,
        timeout_at_ms=create.timeout_at,
        param=value_of(create.param),
        tags=create.tags or {},
    )


def _promise_create(data: Data) -> Request:
    return _created(fields_of(data, _Create))


def _settled(settle: _Settle, *, any_state: bool = False) -> PromiseSettle:
    try:
        state = PromiseState(settle.state)
    except ValueError:
        if not any_state:
            states = "resolved, rejected or rejected_canceled"
            raise BadBody(f"state must be {states}, it is {settle.state[:50]!r}") from None
        state = PromiseState.PENDING  # is no settlement either, and is refused by the store
    return PromiseSettle(id=settle.id, state=state, value=value_of(settle.value))


def _promise_settle(data: Data) -> Request:
    return _settled(fields_of(data, _Settle))


def _register_callback(data: Data) -> Request:
    read = fields_of(data, _Callback)
    return PromiseRegisterCallback(awaited=read.awaited, awaiter=read.awaiter)


def _register_listener(data: Data) -> Request:
    read = fields_of(data, _Listener)
    return PromiseRegisterListener(awaited=read.awaited, address=read.address)


def _task_get(data: Data) -> Request:
    return TaskGet(id=fields_of(data, Id).id)


def _task_create(data: Data) -> Request:
    read = fields_of(data, _TaskCreate)
    return TaskCreate(pid=read.pid, ttl_ms=read.ttl, action=_created(read.action.data))


def _task_acquire(data: Data) -> Request:
    read = fields_of(data, _Acquire)
    return TaskAcquire(id=read.id, version=read.version, pid=read.pid, ttl_ms=read.ttl)


def _task_release(data: Data) -> Request:
    read = fields_of(data, _Lease)
    return TaskRelease(id=read.id, version=read.version)


def _task_fulfill(data: Data) -> Request:
    read = fields_of(data, _Fulfill)
    return TaskFulfill(id=read.id, version=read.version, action=_settled(read.action.data))


def _task_suspend(data: Data) -> Request:
    read = fields_of(data, _Suspend)
    actions = tuple(
        PromiseRegisterCallback(awaited=action.data.awaited, awaiter=action.data.awaiter)
        for action in read.actions
    )
    return TaskSuspend(id=read.id, version=read.version, actions=actions)


def _task_fence(data: Data) -> Request:
    if fields_of(data, _FenceKind).action.kind == "promise.create":
        create = fields_of(data, _FenceCreate)
        action: PromiseCreate | PromiseSettle = _created(create.action.data)
        return TaskFence(id=create.id, version=create.version, action=action)
    settle = fields_of(data, _FenceSettle)
    # A state that cannot be written is judged behind the guards, as the inner operation's (§3.6).
    action = _settled(settle.action.data, any_state=True)
    return TaskFence(id=settle.id, version=settle.version, action=action)


def _task_heartbeat(data: Data) -> Request:
    read = fields_of(data, _Heartbeat)
    refs = tuple(TaskRef(id=ref.id, version=ref.version) for ref in read.tasks or ())
    return TaskHeartbeat(pid=read.pid, tasks=refs)


def _task_halt(data: Data) -> Request:
    return TaskHalt(id=fields_of(data, Id).id)


def _task_continue(data: Data) -> Request:
    return TaskContinue(id=fields_of(data, Id).id)


OPERATIONS: Final = {
    "promise.get": _promise_get,
    "promise.create": _promise_create,
    "promise.settle": _promise_settle,
    "promise.register_callback": _register_callback,
    "promise.register_listener": _register_listener,
    "task.get": _task_get,
    "task.create": _task_create,
    "task.acquire": _task_acquire,
    "task.release": _task_release,
    "task.fulfill": _task_fulfill,
    "task.suspend": _task_suspend,
    "task.fence": _task_fence,
    "task.heartbeat": _task_heartbeat,
    "task.halt": _task_halt,
    "task.continue": _task_continue,
}
"""By kind: from the fields to the operation; each raises `BadBody`."""


# Listings


def promise_search_of(data: Data) -> PromiseSearch:
    """Read a promise.search."""
    read = fields_of(data, _PromiseSearch)
    return PromiseSearch(
        state=None if read.state is None else PromiseState(read.state),
        tags=read.tags or {},
        limit=SEARCH_LIMIT_DEFAULT if read.limit is None else read.limit,
        cursor=read.cursor or "",
    )


def task_search_of(data: Data) -> TaskSearch:
    """Read a task.search."""
    read = fields_of(data, _TaskSearch)
    return TaskSearch(
        state=None if read.state is None else TaskState(read.state),
        limit=SEARCH_LIMIT_DEFAULT if read.limit is None else read.limit,
        cursor=read.cursor or "",
    )
