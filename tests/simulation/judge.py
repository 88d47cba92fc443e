"""Watches every step of the rules while it is taken, and everything that is stored or told.

The decisions of a batch are pure functions on a working set. They are wrapped, not replaced: each
is judged by the states around it, laid over all that is stored. What a store tells somebody is
held against what is stored at that moment: nothing may be told that a crash could take back.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn
from unittest import mock

from holdfast.core import decide as decide_module
from holdfast.core import schedule, steps, task
from holdfast.core.invariants import State, StepKind, Violation, check_rows, check_state, check_step
from holdfast.core.profile import DEFAULT_PROFILE
from holdfast.core.records import (
    Callback,
    Promise,
    PromiseState,
    Schedule,
    Task,
    TaskState,
    Unblock,
)
from holdfast.core.requests import Done, Outcome, PromiseGet, Request, ScheduleGet, TaskGet
from holdfast.core.working_set import Changes, WorkingSet
from holdfast_store.memory.storage import MemoryStorage

EVERYTHING_EVERY: Final = 50
"""Commits after which all that is stored is judged, and not only what they touched."""

READS: Final = (PromiseGet, TaskGet, ScheduleGet)


class Unsafe(AssertionError):
    """A rule of safety was broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Everything that a database holds, by ids."""

    promises: Mapping[str, Promise]
    tasks: Mapping[str, Task]
    callbacks: Mapping[str, Mapping[str, Callback]]
    listeners: Mapping[str, Mapping[str, None]]
    messages: Mapping[str, Mapping[str, int]]
    schedules: Mapping[str, Schedule]
    bound_ms: int
    """An instant that none of it lies behind."""


class Judge:
    """Judges everything that happens to one database.

    One store alone tells in the order in which it commits, and so do those that follow it; what
    several tell at once may overtake each other on its way.
    """

    def __init__(self, storage: MemoryStorage, *, is_told_in_order: bool) -> None:
        self._rows = storage._rows
        self._is_told_in_order = is_told_in_order
        self._deciding = False
        self._newest_ms = 0
        self._told: dict[str, Promise] = {}
        self.counts: Counter[str] = Counter()
        self.broken: list[str] = []
        """What was found so far. An exception may end in a handler of the store's."""

    def _object(self, what: str) -> NoReturn:
        self.broken.append(what)
        raise Unsafe(what)

    # Steps

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Judge the steps that are taken in this block."""
        wrapped: Sequence[tuple[Any, str, StepKind]] = (
            (decide_module, "decide", StepKind.OPERATION),
            (task, "acquire", StepKind.OPERATION),
            (steps, "expire_promises", StepKind.INTERNAL),
            (steps, "expire_leases", StepKind.INTERNAL),
            (steps, "dispatch", StepKind.INTERNAL),
            (steps, "release_instance", StepKind.OPERATION),
            (steps, "seat_instance", StepKind.OPERATION),
            (steps, "claim_execute", StepKind.DELIVERY),
            (schedule, "fire", StepKind.FIRING),
        )
        with contextlib.ExitStack() as stack:
            for module, name, kind in wrapped:
                judged = self._judged(getattr(module, name), name, kind)
                stack.enter_context(mock.patch.object(module, name, judged))
            yield

    def _judged(self, step: Callable[..., Any], name: str, kind: StepKind) -> Callable[..., Any]:
        def judged(ws: WorkingSet, *given: Any, now_ms: int, **named: Any) -> Any:
            request = given[0] if name in {"decide", "acquire"} else None
            if self._deciding or isinstance(request, READS):
                return step(ws, *given, now_ms=now_ms, **named)
            before = self.state(ws.changes())
            self._deciding = True
            try:
                result = step(ws, *given, now_ms=now_ms, **named)
            finally:
                self._deciding = False
            self._judge_step(before, ws, name, kind, now_ms=now_ms, request=request)
            return result

        return judged

    def _judge_step(
        self,
        before: State,
        ws: WorkingSet,
        name: str,
        kind: StepKind,
        *,
        now_ms: int,
        request: Request | None,
    ) -> None:
        after = self.state(ws.changes())
        if before == after:
            return
        self.counts[f"steps: {type(request).__name__ if request is not None else name}"] += 1
        self._raise(
            check_step(
                before, after, now_ms=now_ms, profile=DEFAULT_PROFILE, kind=kind, request=request
            ),
            f"{name} {request or ''}",
        )

    # States

    def committed(self, changes: Changes, *, now_ms: int) -> None:
        """Judge what is stored after a commit: what it touched, and now and then everything."""
        self.counts["commits"] += 1
        if now_ms < self._newest_ms:
            self._object(f"a commit at {now_ms} follows one at {self._newest_ms}: time went back")
        if changes:
            self._newest_ms = now_ms
        state = self.state()
        if self.counts["commits"] % EVERYTHING_EVERY == 0:
            self._raise(check_state(state, now_ms=now_ms), "a commit")
            return
        ids = {p.id for p in (*changes.promises_created, *changes.promises_updated)}
        ids |= {t.id for t in (*changes.tasks_created, *changes.tasks_updated)}
        ids |= {each for key in changes.callbacks_removed for each in key}
        ids |= {each for c in changes.callbacks_saved for each in (c.awaited, c.awaiter)}
        ids |= {promise_id for promise_id, _ in changes.listeners_added}
        found = check_rows(
            state,
            promises=[state.promises[i] for i in sorted(ids) if i in state.promises],
            tasks=[state.tasks[i] for i in sorted(ids) if i in state.tasks],
            callbacks=changes.callbacks_saved,
            listeners=changes.listeners_added,
            unblocks=[u for u in changes.unblocks if u.promise_id in state.promises],
            now_ms=now_ms,
        )
        self._raise(found, "a commit")

    def state(self, changes: Changes | None = None) -> State:
        """Answer all that is stored, with changes laid over it."""
        rows = self._rows
        changes = changes or Changes()
        promises, tasks = dict(rows.promises), dict(rows.work.tasks)
        promises |= {p.id: p for p in (*changes.promises_created, *changes.promises_updated)}
        tasks |= {t.id: t for t in (*changes.tasks_created, *changes.tasks_updated)}
        callbacks = {
            (c.awaited, c.awaiter): c for each in rows.callbacks.values() for c in each.values()
        }
        for key in changes.callbacks_removed:
            callbacks.pop(key, None)
        callbacks |= {(c.awaited, c.awaiter): c for c in changes.callbacks_saved}
        cleared = set(changes.listeners_cleared)
        listeners = {(i, a) for i, each in rows.listeners.items() if i not in cleared for a in each}
        listeners |= set(changes.listeners_added)
        unblocks = {
            (promise_id, address): Unblock(
                promise_id=promise_id, address=address, enqueued_at_ms=at_ms
            )
            for address, waiting in rows.outbox.messages.items()
            for promise_id, at_ms in waiting.items()
        } | {(u.promise_id, u.address): u for u in changes.unblocks}
        changed = (*changes.schedules_created, *changes.schedules_updated)
        schedules = {each.id: each for each in (*rows.schedules.all(), *changed)}
        for schedule_id in changes.schedules_deleted:
            schedules.pop(schedule_id, None)
        return State.of(
            promises=promises.values(),
            tasks=tasks.values(),
            callbacks=callbacks.values(),
            listeners=sorted(listeners),
            unblocks=unblocks.values(),
            schedules=schedules.values(),
        )

    # Files

    def messages_left(self, left: Mapping[str, Mapping[str, int]]) -> None:
        """Judge that messages were only taken, where there was no batch to add any."""
        for address, waiting in left.items():
            known = self._rows.outbox.messages.get(address, {})
            if added := [key for key in waiting if waiting[key] != known.get(key)]:
                self._object(f"messages about {added} to {address} came by themselves")

    def stored(self, found: Stored) -> None:
        """Hold what a file holds against what was committed to it, and to nothing more."""
        self.counts["files compared"] += 1
        rows = self._rows
        committed = Stored(
            promises=rows.promises,
            tasks=rows.work.tasks,
            callbacks=rows.callbacks,
            listeners=rows.listeners,
            messages=rows.outbox.messages,
            schedules={each.id: each for each in rows.schedules.all()},
            bound_ms=self._newest_ms,
        )
        for table in ("promises", "tasks", "callbacks", "listeners", "messages", "schedules"):
            self._compare(table, getattr(found, table), getattr(committed, table))
        if found.bound_ms < committed.bound_ms:
            self._object(f"{committed.bound_ms} was used, and {found.bound_ms} is remembered")

    def _compare(self, kind: str, found: Mapping[str, Any], committed: Mapping[str, Any]) -> None:
        for key in sorted(found.keys() | committed.keys()):
            is_, should = found.get(key) or None, committed.get(key) or None
            if is_ != should:
                self._object(f"{kind} of {key}: stored is {is_}, committed was {should}")

    # Words

    def answered(self, outcomes: Sequence[Outcome]) -> None:
        """Hold an answer against what is stored while it leaves the store."""
        for outcome in outcomes:
            if isinstance(outcome, Done):
                self.counts["answers"] += 1
                self._told_of(outcome.promise)
                self._told_of_task(outcome.task)
                if isinstance(outcome.action, Done):
                    self._told_of(outcome.action.promise)

    def pushed(self, given: Task, promise: Promise) -> None:
        """Hold a task that somebody is given against what is stored."""
        self.counts["tasks pushed"] += 1
        self._told_of(promise)
        self._told_of_task(given)

    def settled(self, promise: Promise) -> None:
        """Hold a message against what is stored."""
        self.counts["settlements told"] += 1
        self._told_of(promise)

    def _told_of(self, told: Promise | None) -> None:
        if told is None:
            return
        stored = self._rows.promises.get(told.id)
        if stored is None:
            self._object(f"{told.id} was told of and is not stored")
        is_by_deadline = told.settled_at_ms == told.timeout_at_ms
        if told.state is PromiseState.PENDING:
            if self._is_told_in_order and told.id in self._told:
                self._object(f"{told.id} was told to be over, and pending later (B2)")
            return
        is_same = (stored.state, stored.value) == (told.state, told.value)
        if not is_same and not is_by_deadline:  # a deadline counts before a row says so
            self._object(f"{told.id} was told to be {told.state}, stored is {stored.state}")
        before = self._told.setdefault(told.id, told)
        if (before.state, before.value, before.settled_at_ms) != (
            told.state,
            told.value,
            told.settled_at_ms,
        ):
            self._object(f"{told.id} was told to be {before.state}, and {told.state} later (B2)")

    def _told_of_task(self, told: Task | None) -> None:
        if told is None or told.state is not TaskState.ACQUIRED:
            return
        stored = self._rows.work.tasks.get(told.id)
        if stored is None or stored.version < told.version:
            self._object(f"{told.id} was given at version {told.version}, stored is {stored}")

    # The end

    def leftovers(self, *, now_ms: int) -> list[str]:
        """Say what should have happened by itself and has not (L1 to L4)."""
        state = self.state()
        self._raise(check_state(state, now_ms=now_ms), "the end")
        found = [
            f"L1: {p.id} is pending behind its deadline"
            for p in state.promises.values()
            if p.armed and p.timeout_at_ms <= now_ms
        ]
        found += [
            f"L2: the task {t.id} is {t.state.value}"
            for t in state.tasks.values()
            if t.state is not TaskState.FULFILLED
        ]
        found += [
            f"L3: {c.awaiter} was not told of {c.awaited}"
            for c in state.callbacks.values()
            if state.promises[c.awaited].state is not PromiseState.PENDING
        ]
        found += [
            f"L4: {address} was not told of {promise_id}"
            for promise_id, address in sorted(state.listeners)
            if state.promises[promise_id].state is not PromiseState.PENDING
        ]
        return found

    def _raise(self, violations: Sequence[Violation], where: str) -> None:
        if violations:
            self._object(f"{where}: " + "; ".join(str(each) for each in violations))
