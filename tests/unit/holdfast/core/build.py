"""Requests as the worked traces abbreviate them, and what is read from outcomes."""

from collections.abc import Mapping
from typing import Any

from holdfast.core.records import (
    EMPTY,
    EXTERNAL,
    SCOPE,
    TARGET,
    TIMER,
    Promise,
    PromiseState,
    Task,
    Value,
    WaitMode,
)
from holdfast.core.requests import (
    Done,
    Outcome,
    PromiseCreate,
    PromiseRecord,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Refusal,
    ScheduleCreate,
    TaskAcquire,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskHeartbeat,
    TaskRef,
    TaskSuspend,
)

INTERNAL: Mapping[str, str] = {}
EXT = {EXTERNAL: "true"}
TGT = {TARGET: "poll://any@w1"}
TMR = {TIMER: "true"}
LOCAL = {SCOPE: "local"}
GLOBAL = {SCOPE: "global"}

FAR = 900_000
"""A deadline that no test reaches by accident."""


def value(data: str | None) -> Value:
    """Wrap a payload without headers."""
    return EMPTY if data is None else Value(data=data.encode())


def create(
    promise_id: str,
    tags: Mapping[str, str] = INTERNAL,
    *,
    timeout_at_ms: int = FAR,
    param: str | None = None,
) -> PromiseCreate:
    """Build promise.create."""
    return PromiseCreate(
        id=promise_id, timeout_at_ms=timeout_at_ms, tags=dict(tags), param=value(param)
    )


def settle(promise_id: str, state: str = "resolved", data: str | None = None) -> PromiseSettle:
    """Build promise.settle."""
    return PromiseSettle(id=promise_id, state=PromiseState(state), value=value(data))


def callback(awaited: str, awaiter: str) -> PromiseRegisterCallback:
    """Build promise.register_callback."""
    return PromiseRegisterCallback(awaited=awaited, awaiter=awaiter)


def listener(awaited: str, address: str = "poll://uni@g/p9") -> PromiseRegisterListener:
    """Build promise.register_listener."""
    return PromiseRegisterListener(awaited=awaited, address=address)


def task_create(
    task_id: str,
    *,
    pid: str = "p1",
    ttl_ms: int = 60_000,
    tags: Mapping[str, str] = TGT,
    timeout_at_ms: int = FAR,
    instance: str | None = None,
) -> TaskCreate:
    """Build task.create."""
    action = create(task_id, tags, timeout_at_ms=timeout_at_ms)
    return TaskCreate(pid=pid, ttl_ms=ttl_ms, action=action, instance=instance)


def acquire(
    task_id: str,
    version: int,
    *,
    pid: str = "p1",
    ttl_ms: int = 60_000,
    instance: str | None = None,
) -> TaskAcquire:
    """Build task.acquire."""
    return TaskAcquire(id=task_id, version=version, pid=pid, ttl_ms=ttl_ms, instance=instance)


def fulfill(
    task_id: str, version: int, state: str = "resolved", data: str | None = None
) -> TaskFulfill:
    """Build task.fulfill."""
    return TaskFulfill(id=task_id, version=version, action=settle(task_id, state, data))


def suspend(
    task_id: str, version: int, *awaited: str, mode: WaitMode = WaitMode.ANY
) -> TaskSuspend:
    """Build task.suspend."""
    actions = tuple(callback(i, task_id) for i in awaited)
    return TaskSuspend(id=task_id, version=version, actions=actions, wait_mode=mode)


def record(
    promise_id: str,
    state: str = "resolved",
    data: str | None = None,
    *,
    tags: Mapping[str, str] | None = None,
    timeout_at_ms: int = FAR,
) -> PromiseRecord:
    """Build what a fence may do to a promise that is over already."""
    made = create(promise_id, tags or {}, timeout_at_ms=timeout_at_ms)
    return PromiseRecord(create=made, state=PromiseState(state), value=value(data))


def schedule_create(schedule_id: str = "nightly", **fields: Any) -> ScheduleCreate:
    """Build schedule.create: every minute, unless the fields say something else."""
    defaults: dict[str, Any] = {
        "cron": "* * * * *",
        "promise_id": "{{.id}}-{{.timestamp}}",
        "promise_timeout_ms": 30_000,
        "promise_tags": TGT,
    }
    return ScheduleCreate(**(defaults | fields | {"id": schedule_id}))


def fence(
    task_id: str, version: int, action: PromiseCreate | PromiseSettle | PromiseRecord
) -> TaskFence:
    """Build task.fence."""
    return TaskFence(id=task_id, version=version, action=action)


def heartbeat(pid: str, *refs: tuple[str, int]) -> TaskHeartbeat:
    """Build task.heartbeat."""
    return TaskHeartbeat(pid=pid, tasks=tuple(TaskRef(id=i, version=v) for i, v in refs))


def status_of(outcome: Outcome | None) -> int:
    """Read the status of an operation that was carried out or refused."""
    assert isinstance(outcome, Done | Refusal), outcome
    return outcome.status


def code_of(outcome: Outcome | None) -> str:
    """Read the code of a refusal."""
    assert isinstance(outcome, Refusal), outcome
    return outcome.code


def done(outcome: Outcome | None) -> Done:
    """Take an outcome that must not be a refusal."""
    assert isinstance(outcome, Done), outcome
    return outcome


def promise_of(outcome: Outcome | None) -> Promise:
    """Read the promise that an operation answered."""
    promise = done(outcome).promise
    assert promise is not None
    return promise


def task_of(outcome: Outcome | None) -> Task:
    """Read the task that an operation answered."""
    task = done(outcome).task
    assert task is not None
    return task


def seen(task: Task) -> tuple[str, int, int, int | None, str | None]:
    """Show what a client sees of a task: state, version, resumes, ttl, pid."""
    return (task.state.value, task.version, len(task.resumes), task.ttl_ms, task.pid)
