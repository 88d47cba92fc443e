"""The requests that a run sends, under its task's id and version."""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final

from holdfast.core.limits import AWAITED_MAX, ID_BYTES_MAX, REASON_BYTES_MAX
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

ALL_BYTES_MAX: Final = 1_048_576
"""What a suspend names of promises that are all waited for: the others can be named later."""

ANY_BYTES_MAX: Final = 4 * 1_048_576 - 4_096
"""What it names of promises of which any is waited for: as much as a message holds."""

CALLBACK_BYTES: Final = 9
"""What a message adds to the two ids of each promise that is waited for."""

SURELY_NAMEABLE: Final = ALL_BYTES_MAX // (2 * ID_BYTES_MAX + CALLBACK_BYTES)
"""So many promises fit, however long their ids are, and leave room for other operations."""


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


def nameable(task_id: str, awaited: Sequence[str], mode: WaitMode) -> int:
    """Count how many of these promises, from the first on, one suspend may name."""
    if len(awaited) <= SURELY_NAMEABLE:
        return len(awaited)
    fixed = len(task_id.encode()) + CALLBACK_BYTES
    sizes = accumulate(fixed + len(each.encode()) for each in awaited[:AWAITED_MAX])
    bytes_max = ANY_BYTES_MAX if mode is WaitMode.ANY else ALL_BYTES_MAX
    return sum(size <= bytes_max for size in sizes)


def halt(task_id: str, version: int, reason: str) -> TaskHalt:
    """Stop the task for a person to look at; a long reason is cut."""
    text = reason.encode(errors="replace")[:REASON_BYTES_MAX].decode(errors="ignore")
    return TaskHalt(id=task_id, version=version, reason=text)
