"""Everything that a store holds, as `debug.snap` shows it (§6.4): stored rows, unprojected.

Two of them are equal when clients cannot tell the stores apart, now or ever: what only the store
itself may know, such as how a lease is tied to a connection, is left out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from msgspec.structs import replace

from holdfast.core.records import (
    Callback,
    Promise,
    PromiseState,
    Schedule,
    Task,
    TaskState,
    Unblock,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredState:
    """A whole store. Timers are instants by id; the outbox is `executes` and `unblocks`."""

    promises: Mapping[str, Promise] = field(default_factory=dict)
    """As stored, with `armed` left out: it is in `promise_timeouts`."""
    tasks: Mapping[str, Task] = field(default_factory=dict)
    """With the public fields, the target, and the ids behind `resumes`."""
    callbacks: frozenset[tuple[str, str]] = frozenset()
    """Pairs of awaited and awaiter."""
    listeners: frozenset[tuple[str, str]] = frozenset()
    """Pairs of promise id and address."""
    promise_timeouts: Mapping[str, int] = field(default_factory=dict)
    """Deadlines of pending promises that fire in the background."""
    task_retries: Mapping[str, int] = field(default_factory=dict)
    """When pending tasks are dispatched next."""
    task_leases: Mapping[str, int] = field(default_factory=dict)
    """When the leases of acquired tasks end."""
    executes: frozenset[tuple[str, str, int]] = frozenset()
    """Messages that wait: address, task id and version."""
    unblocks: frozenset[tuple[str, str]] = frozenset()
    """Messages that wait: address and promise id."""
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    schedule_timeouts: Mapping[str, int] = field(default_factory=dict)
    """When schedules fire next that are not paused."""

    @classmethod
    def of(
        cls,
        *,
        promises: Iterable[Promise] = (),
        tasks: Iterable[Task] = (),
        callbacks: Iterable[Callback] = (),
        listeners: Iterable[tuple[str, str]] = (),
        unblocks: Iterable[Unblock] = (),
        schedules: Iterable[Schedule] = (),
    ) -> Self:
        """Show the records of a store."""
        promises, tasks, schedules = list(promises), list(tasks), list(schedules)
        return cls(
            promises={p.id: replace(p, armed=False) for p in promises},
            tasks={t.id: public(t) for t in tasks},
            callbacks=frozenset((c.awaited, c.awaiter) for c in callbacks),
            listeners=frozenset(listeners),
            promise_timeouts={p.id: p.timeout_at_ms for p in promises if is_armed(p)},
            task_retries={t.id: at_ms for t in tasks if (at_ms := retry_at_ms(t)) is not None},
            task_leases={t.id: at_ms for t in tasks if (at_ms := lease_at_ms(t)) is not None},
            executes=frozenset((t.target, t.id, t.version) for t in tasks if has_execute(t)),
            unblocks=frozenset((u.address, u.promise_id) for u in unblocks),
            schedules={s.id: s for s in schedules},
            schedule_timeouts={s.id: s.due_at_ms for s in schedules if s.due_at_ms is not None},
        )


def public(task: Task) -> Task:
    """Leave out what only the store may know, but the target and who woke the task."""
    return Task(
        id=task.id,
        state=task.state,
        version=task.version,
        resumes=task.resumes,
        ttl_ms=task.ttl_ms,
        pid=task.pid,
        target=task.target,
    )


def is_armed(promise: Promise) -> bool:
    """Whether the deadline fires in the background."""
    return promise.armed and promise.state is PromiseState.PENDING


def retry_at_ms(task: Task) -> int | None:
    """When a pending task is dispatched next, or again."""
    if task.state is not TaskState.PENDING or task.dispatch_at_ms is None:
        return None
    return max(task.dispatch_at_ms, task.paced_until_ms)


def lease_at_ms(task: Task) -> int | None:
    """When the lease of an acquired task ends."""
    return task.lease_at_ms if task.state is TaskState.ACQUIRED else None


def has_execute(task: Task) -> bool:
    """Whether an execute message for the task's present version waits in the outbox."""
    return task.state is TaskState.PENDING and task.queued_at_ms is not None
