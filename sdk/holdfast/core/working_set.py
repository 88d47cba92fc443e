"""The rows that a batch may touch, and what it changed in them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from holdfast.core.records import Callback, Promise, Schedule, Task, Unblock


@dataclass(slots=True, kw_only=True)
class Changes:
    """What a batch must save: at most one entry per row, however often it was touched."""

    promises_created: list[Promise] = field(default_factory=list)
    promises_updated: list[Promise] = field(default_factory=list)
    tasks_created: list[Task] = field(default_factory=list)
    tasks_updated: list[Task] = field(default_factory=list)
    callbacks_saved: list[Callback] = field(default_factory=list)
    callbacks_removed: list[tuple[str, str]] = field(default_factory=list)
    """Pairs of awaited and awaiter."""
    listeners_added: list[tuple[str, str]] = field(default_factory=list)
    """Pairs of promise id and address."""
    listeners_cleared: list[str] = field(default_factory=list)
    """Promises whose stored listeners are all gone."""
    resumes_added: list[tuple[str, str]] = field(default_factory=list)
    """Pairs of task id and awaited id."""
    resumes_cleared: list[str] = field(default_factory=list)
    """Tasks whose stored resumes are all gone."""
    unblocks: list[Unblock] = field(default_factory=list)
    schedules_created: list[Schedule] = field(default_factory=list)
    schedules_updated: list[Schedule] = field(default_factory=list)
    schedules_deleted: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there is anything to save."""
        return bool(
            self.promises_created
            or self.promises_updated
            or self.tasks_created
            or self.tasks_updated
            or self.callbacks_saved
            or self.callbacks_removed
            or self.listeners_added
            or self.listeners_cleared
            or self.resumes_added
            or self.resumes_cleared
            or self.unblocks
            or self.schedules_created
            or self.schedules_updated
            or self.schedules_deleted
        )


class WorkingSet:
    """Stored rows, loaded for a batch, with the batch's changes laid over them.

    Invariant: whoever loads it has loaded every promise, task, callback and listener under the ids
    that the batch names, the promises and tasks of the awaiters of those, and the schedules that
    it names; an id that is not here does not exist. Records are frozen, so a change replaces one,
    and what was loaded stays comparable.
    """

    __slots__ = (
        "_callbacks",
        "_listeners",
        "_loaded_callbacks",
        "_loaded_listeners",
        "_loaded_promises",
        "_loaded_schedules",
        "_loaded_tasks",
        "_promises",
        "_schedules",
        "_tasks",
        "_unblocks",
    )

    def __init__(
        self,
        *,
        promises: Iterable[Promise] = (),
        tasks: Iterable[Task] = (),
        callbacks: Iterable[Callback] = (),
        listeners: Iterable[tuple[str, str]] = (),
        schedules: Iterable[Schedule] = (),
    ) -> None:
        self._loaded_promises = {p.id: p for p in promises}
        self._loaded_tasks = {t.id: t for t in tasks}
        self._loaded_callbacks = {(c.awaited, c.awaiter): c for c in callbacks}
        self._loaded_listeners: dict[str, list[str]] = {}
        for promise_id, address in listeners:
            self._loaded_listeners.setdefault(promise_id, []).append(address)
        # Only what differs from the loaded rows; reads fall through.
        self._promises: dict[str, Promise] = {}
        self._tasks: dict[str, Task] = {}
        self._callbacks: dict[str, dict[str, Callback]] = {}
        for callback in self._loaded_callbacks.values():
            self._callbacks.setdefault(callback.awaited, {})[callback.awaiter] = callback
        self._listeners: dict[str, dict[str, None]] = {
            promise_id: dict.fromkeys(addresses)
            for promise_id, addresses in self._loaded_listeners.items()
        }
        self._unblocks: list[Unblock] = []
        self._loaded_schedules = {s.id: s for s in schedules}
        self._schedules: dict[str, Schedule | None] = {}

    # Reading

    def promise(self, promise_id: str) -> Promise | None:
        """Answer the stored promise, unprojected."""
        return self._promises.get(promise_id) or self._loaded_promises.get(promise_id)

    def task(self, task_id: str) -> Task | None:
        """Answer the stored task, not its view."""
        return self._tasks.get(task_id) or self._loaded_tasks.get(task_id)

    def callbacks(self, awaited: str) -> tuple[Callback, ...]:
        """Obligations to tasks on a promise."""
        return tuple(self._callbacks.get(awaited, {}).values())

    def callback(self, awaited: str, awaiter: str) -> Callback | None:
        """One obligation to a task."""
        return self._callbacks.get(awaited, {}).get(awaiter)

    def listeners(self, promise_id: str) -> tuple[str, ...]:
        """Obligations to addresses on a promise."""
        return tuple(self._listeners.get(promise_id, ()))

    def schedule(self, schedule_id: str) -> Schedule | None:
        """Answer a schedule."""
        if schedule_id in self._schedules:
            return self._schedules[schedule_id]
        return self._loaded_schedules.get(schedule_id)

    def promises(self) -> Iterator[Promise]:
        """Every promise here."""
        yield from (self._loaded_promises | self._promises).values()

    def tasks(self) -> Iterator[Task]:
        """Every task here."""
        yield from (self._loaded_tasks | self._tasks).values()

    def tasks_touched(self) -> tuple[Task, ...]:
        """Tasks that the batch created or changed, as they are now."""
        return tuple(self._tasks.values())

    def unblocks(self) -> tuple[Unblock, ...]:
        """Messages that the batch has produced."""
        return tuple(self._unblocks)

    # Changing

    def put_promise(self, promise: Promise) -> None:
        """Create or replace a promise."""
        self._promises[promise.id] = promise

    def put_task(self, task: Task) -> None:
        """Create or replace a task."""
        self._tasks[task.id] = task

    def put_callback(self, callback: Callback) -> None:
        """Register an obligation to a task; the same one again changes only its wait version."""
        self._callbacks.setdefault(callback.awaited, {})[callback.awaiter] = callback

    def put_listener(self, promise_id: str, address: str) -> None:
        """Register an obligation to an address; the same one again changes nothing."""
        self._listeners.setdefault(promise_id, {})[address] = None

    def take_callbacks(self, awaited: str) -> tuple[Callback, ...]:
        """Remove and answer every obligation to a task on a promise."""
        return tuple(self._callbacks.pop(awaited, {}).values())

    def take_listeners(self, promise_id: str) -> tuple[str, ...]:
        """Remove and answer every obligation to an address on a promise."""
        return tuple(self._listeners.pop(promise_id, ()))

    def put_unblock(self, unblock: Unblock) -> None:
        """Enqueue a message to an address."""
        self._unblocks.append(unblock)

    def put_schedule(self, schedule: Schedule) -> None:
        """Create or replace a schedule."""
        self._schedules[schedule.id] = schedule

    def drop_schedule(self, schedule_id: str) -> None:
        """Delete a schedule."""
        self._schedules[schedule_id] = None

    # Saving

    def changes(self) -> Changes:
        """Say what differs from the rows that were loaded."""
        changes = Changes(unblocks=self._unblocks)
        for promise in self._promises.values():
            before = self._loaded_promises.get(promise.id)
            if before is None:
                changes.promises_created.append(promise)
            elif before is not promise:
                changes.promises_updated.append(promise)
        self._task_changes(changes)
        self._obligation_changes(changes)
        self._schedule_changes(changes)
        return changes

    def _task_changes(self, changes: Changes) -> None:
        for task in self._tasks.values():
            before = self._loaded_tasks.get(task.id)
            if before is None:
                changes.tasks_created.append(task)
                changes.resumes_added += [(task.id, awaited) for awaited in task.resumes]
            elif before is not task:
                changes.tasks_updated.append(task)
                if task.resumes is before.resumes:
                    continue
                kept = before.resumes
                if before.resumes - task.resumes:
                    changes.resumes_cleared.append(task.id)
                    kept = frozenset()
                changes.resumes_added += [(task.id, awaited) for awaited in task.resumes - kept]

    def _obligation_changes(self, changes: Changes) -> None:
        for key, before in self._loaded_callbacks.items():
            if before.awaiter not in self._callbacks.get(before.awaited, {}):
                changes.callbacks_removed.append(key)
        for awaited, callbacks in self._callbacks.items():
            for callback in callbacks.values():
                if self._loaded_callbacks.get((awaited, callback.awaiter)) is not callback:
                    changes.callbacks_saved.append(callback)
        for promise_id in self._loaded_listeners:
            if promise_id not in self._listeners:
                changes.listeners_cleared.append(promise_id)
        for promise_id, addresses in self._listeners.items():
            known = self._loaded_listeners.get(promise_id, ())
            changes.listeners_added += [(promise_id, a) for a in addresses if a not in known]

    def _schedule_changes(self, changes: Changes) -> None:
        for schedule_id, schedule in self._schedules.items():
            before = self._loaded_schedules.get(schedule_id)
            if schedule is None:
                if before is not None:
                    changes.schedules_deleted.append(schedule_id)
            elif before is None:
                changes.schedules_created.append(schedule)
            elif before is not schedule:
                changes.schedules_updated.append(schedule)
