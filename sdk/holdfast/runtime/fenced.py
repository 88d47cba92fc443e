"""The requests that a run sends, under its task's id and version."""

from collections.abc import Iterable

from holdfast.core.limits import REASON_BYTES_MAX
from holdfast.core.records import EMPTY, PromiseState, Value, WaitMode
from holdfast.core.requests import (
    PromiseCreate,
    PromiseRecord,
    PromiseRegisterCallback,
    PromiseSettle,
    TaskFence,
    TaskFulfill,
    TaskHalt,
    TaskSuspend,
)


def value_of(data: bytes | None) -> Value:
    """Wrap payload bytes; `None` is an absent payload."""
    return EMPTY if data is None else Value(data=data)


def create(task_id: str, version: int, child: PromiseCreate) -> TaskFence:
    """Make a child visible."""
    return TaskFence(id=task_id, version=version, action=child, skip_preload=True)


def settle(
    task_id: str, version: int, child_id: str, *, state: PromiseState, data: bytes | None
) -> TaskFence:
    """Record a child's outcome; nothing that follows happens if another one is recorded."""
    action = PromiseSettle(id=child_id, state=state, value=value_of(data))
    return TaskFence(id=task_id, version=version, action=action, skip_preload=True, required=True)


def record(
    task_id: str, version: int, child: PromiseCreate, *, state: PromiseState, data: bytes | None
) -> TaskFence:
    """Make a child and record its outcome in one write; otherwise as `settle`."""
    action = PromiseRecord(create=child, state=state, value=value_of(data))
    return TaskFence(id=task_id, version=version, action=action, skip_preload=True, required=True)


def fulfill(task_id: str, version: int, *, state: PromiseState, data: bytes | None) -> TaskFulfill:
    """Record the run's own outcome."""
    action = PromiseSettle(id=task_id, state=state, value=value_of(data))
    return TaskFulfill(id=task_id, version=version, action=action)


def suspend(task_id: str, version: int, awaited: Iterable[str], *, mode: WaitMode) -> TaskSuspend:
    """Park the task until promises settle."""
    return TaskSuspend(
        id=task_id,
        version=version,
        actions=tuple(PromiseRegisterCallback(awaited=a, awaiter=task_id) for a in awaited),
        wait_mode=mode,
    )


def halt(task_id: str, version: int, reason: str) -> TaskHalt:
    """Stop the task for a person to look at; a long reason is cut."""
    text = reason.encode(errors="replace")[:REASON_BYTES_MAX].decode(errors="ignore")
    return TaskHalt(id=task_id, version=version, reason=text)
