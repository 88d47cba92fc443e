"""A store in dictionaries that runs the core as a real one does, and judges every step it takes.

It loads only the rows that `Keys` names, saves only what `WorkingSet.changes` lists, in the shape
of tables, and compares both with a working set that holds everything. So every test that uses it
also tests the closure of keys and the changes, and breaks on the first violated invariant.
"""

from collections.abc import Callable, Iterable
from typing import Self, TypeVar

from msgspec.structs import replace

from holdfast.core import steps
from holdfast.core.decide import Keys, decide, decide_chain
from holdfast.core.invariants import State, StepKind, Violation, check_state, check_step
from holdfast.core.profile import DEFAULT_PROFILE, Profile
from holdfast.core.records import (
    Callback,
    Promise,
    PromiseState,
    Schedule,
    Task,
    TaskState,
    Unblock,
)
from holdfast.core.requests import Done, Outcome, Refusal, Request
from holdfast.core.schedule import Due, due_by, fire, named_by
from holdfast.core.validation import validate
from holdfast.core.working_set import Changes, WorkingSet

Result = TypeVar("Result")


class InvariantBroken(AssertionError):
    """A step led to a state that the protocol forbids, or did so in a forbidden way."""

    def __init__(self, violations: list[Violation]) -> None:
        super().__init__("\n".join(str(violation) for violation in violations))
        self.rules = {violation.rule for violation in violations}


class Machine:
    """The rules over a whole store in memory. After each call all invariants hold."""

    def __init__(self, profile: Profile = DEFAULT_PROFILE) -> None:
        self.profile = profile
        self._promises: dict[str, Promise] = {}
        self._tasks: dict[str, Task] = {}  # resumes are a table of their own
        self._resumes: set[tuple[str, str]] = set()
        self._callbacks: dict[tuple[str, str], Callback] = {}
        self._listeners: set[tuple[str, str]] = set()
        self._unblocks: dict[tuple[str, str], Unblock] = {}
        self._schedules: dict[str, Schedule] = {}
        self.state = State.of()

    def copy(self) -> Self:
        """Make a second machine with the same rows; records are frozen, so they are shared."""
        twin = type(self)(self.profile)
        twin._promises = dict(self._promises)
        twin._tasks = dict(self._tasks)
        twin._resumes = set(self._resumes)
        twin._callbacks = dict(self._callbacks)
        twin._listeners = set(self._listeners)
        twin._unblocks = dict(self._unblocks)
        twin._schedules = dict(self._schedules)
        twin.state = self.state
        return twin

    # Operations

    def do(self, request: Request, *, now_ms: int) -> Done | Refusal:
        """Carry out one operation as one step."""
        refusal = validate(request, self.profile)
        if refusal is not None:
            return refusal

        def step(ws: WorkingSet) -> Done | Refusal:
            return decide(ws, request, now_ms=now_ms, profile=self.profile)

        before = self.state
        outcome, changes = self._run(step, load=_keys([request]))
        if isinstance(outcome, Refusal):
            assert not changes, f"{request} was refused, yet changed {changes}"
        self._judge(before, now_ms=now_ms, kind=StepKind.OPERATION, request=request)
        return outcome

    def chain(self, *requests: Request, now_ms: int) -> list[Outcome]:
        """Carry out valid operations as one transaction; the same as one after the other."""
        twin = self.copy()

        def step(ws: WorkingSet) -> list[Outcome]:
            return decide_chain(ws, requests, now_ms=now_ms, profile=self.profile)

        outcomes, _ = self._run(step, load=_keys(requests))
        for request, outcome in zip(requests, outcomes, strict=True):
            if isinstance(outcome, Done | Refusal):
                assert twin.do(request, now_ms=now_ms) == outcome
        assert self.state == twin.state
        return outcomes

    # Internal steps

    def tick(self, now_ms: int) -> None:
        """Take every internal step that is due, in the order of §3.8, until none is."""
        while self._sweep(now_ms):
            pass

    def _sweep(self, now_ms: int) -> int:
        profile = self.profile
        return (
            self.internal(
                lambda ws: steps.expire_promises(ws, self._overdue(now_ms), now_ms=now_ms),
                now_ms=now_ms,
            )
            + self.internal(
                lambda ws: steps.dispatch(
                    ws, self._due(TaskState.PENDING, now_ms), now_ms=now_ms, profile=profile
                ),
                now_ms=now_ms,
            )
            + self.internal(
                lambda ws: steps.expire_leases(
                    ws, self._due(TaskState.ACQUIRED, now_ms), now_ms=now_ms
                ),
                now_ms=now_ms,
            )
            + self.fire(now_ms)
        )

    def fire(self, now_ms: int, *, limit: int = 1_000) -> int:
        """Fire each schedule that is due, so many occurrences of it at most; answer how many."""
        fired = 0
        for schedule in list(self._schedules.values()):
            due = due_by(schedule, now_ms=now_ms, limit=limit)
            if not due.occurrences:
                continue

            def step(ws: WorkingSet, due: Due = due) -> list[int]:
                return fire(ws, due, now_ms=now_ms)

            before = self.state
            instants, _ = self._run(
                step, load=Keys(ids=named_by([due]), schedules={due.schedule.id})
            )
            assert instants == [each.at_ms for each in due.occurrences]
            self._judge(before, now_ms=now_ms, kind=StepKind.FIRING)
            fired += len(instants)
        return fired

    def _overdue(self, now_ms: int) -> list[str]:
        return [p.id for p in self._promises.values() if p.armed and p.timeout_at_ms <= now_ms]

    def _due(self, state: TaskState, now_ms: int) -> list[str]:
        due = []
        for task in self._tasks.values():
            due_at_ms = task.due_at_ms
            if task.state is state and due_at_ms is not None and due_at_ms <= now_ms:
                due.append(task.id)
        return due

    def internal(self, step: Callable[[WorkingSet], int], *, now_ms: int) -> int:
        """Take one internal step of the caller's choice."""
        before = self.state
        count, _ = self._run(step)
        self._judge(before, now_ms=now_ms, kind=StepKind.INTERNAL)
        return count

    def release_instance(self, *, pid: str, instance: str, now_ms: int) -> int:
        """Give back the leases of a lost process: an operation on its behalf (T8)."""
        before = self.state
        count, _ = self._run(
            lambda ws: steps.release_instance(ws, pid=pid, instance=instance, now_ms=now_ms)
        )
        self._judge(before, now_ms=now_ms, kind=StepKind.OPERATION)
        return count

    # Delivery

    def claim(self, task_id: str, *, now_ms: int) -> Task | None:
        """Deliver the waiting execute of a task."""
        before = self.state
        claimed, _ = self._run(
            lambda ws: steps.claim_execute(ws, task_id, now_ms=now_ms, profile=self.profile)
        )
        self._judge(before, now_ms=now_ms, kind=StepKind.DELIVERY)
        return claimed

    def executes(self) -> set[tuple[str, int, str]]:
        """List waiting execute messages: task id, version, address."""
        tasks = self.state.tasks.values()
        return {(t.id, t.version, t.target) for t in tasks if t.queued_at_ms is not None}

    def take_unblocks(self, *, now_ms: int) -> list[tuple[str, Promise]]:
        """Deliver every unblock: address and the record that it carries."""
        before = self.state
        taken = [(u.address, self._promises[u.promise_id]) for u in self._unblocks.values()]
        self._unblocks.clear()
        self.state = self._snapshot()
        self._judge(before, now_ms=now_ms, kind=StepKind.DELIVERY)
        return taken

    # Rows

    def task(self, task_id: str) -> Task:
        """Read the stored task."""
        return self.state.tasks[task_id]

    def promise(self, promise_id: str) -> Promise:
        """Read the stored promise."""
        return self.state.promises[promise_id]

    def replace_task(self, task: Task) -> None:
        """Put a task row as a test wants it, past all rules."""
        self._tasks[task.id] = replace(task, resumes=frozenset())
        self._resumes = {row for row in self._resumes if row[0] != task.id}
        self._resumes |= {(task.id, awaited) for awaited in task.resumes}
        self.state = self._snapshot()

    def working_set(self) -> WorkingSet:
        """Load everything."""
        return WorkingSet(
            promises=self.state.promises.values(),
            tasks=self.state.tasks.values(),
            callbacks=self.state.callbacks.values(),
            listeners=sorted(self.state.listeners),
            schedules=self.state.schedules.values(),
        )

    def _closure(self, keys: Keys) -> WorkingSet:
        """Load what the storage port promises to load for these keys, and nothing more."""
        state = self.state
        callbacks = [c for c in state.callbacks.values() if c.awaited in keys.ids]
        ids = keys.ids | {c.awaiter for c in callbacks}
        ids |= {t.id for t in state.tasks.values() if t.pid in keys.pids}
        return WorkingSet(
            promises=[p for p in state.promises.values() if p.id in ids],
            tasks=[t for t in state.tasks.values() if t.id in ids],
            callbacks=callbacks,
            listeners=sorted(row for row in state.listeners if row[0] in keys.ids),
            schedules=[s for s in state.schedules.values() if s.id in keys.schedules],
        )

    def _run(
        self, step: Callable[[WorkingSet], Result], *, load: Keys | None = None
    ) -> tuple[Result, Changes]:
        whole = self.working_set()
        result = step(whole)
        ws = whole
        if load is not None:
            ws = self._closure(load)
            assert step(ws) == result, "the keys do not name every row that the decision reads"
        changes = ws.changes()
        self._save(changes)
        self.state = self._snapshot()
        assert self.state == self._overlaid(whole, changes), "the changes are not its own"
        return result, changes

    def _overlaid(self, ws: WorkingSet, changes: Changes) -> State:
        ids = [promise.id for promise in ws.promises()]
        known = {*self._schedules, *changes.schedules_deleted}
        schedules = [ws.schedule(schedule_id) for schedule_id in known]
        return State.of(
            promises=ws.promises(),
            tasks=ws.tasks(),
            callbacks=[c for i in ids for c in ws.callbacks(i)],
            listeners=[(i, address) for i in ids for address in ws.listeners(i)],
            unblocks=self._unblocks.values(),
            schedules=[schedule for schedule in schedules if schedule is not None],
        )

    def _save(self, changes: Changes) -> None:
        for promise in changes.promises_created:
            assert promise.id not in self._promises
            self._promises[promise.id] = promise
        for promise in changes.promises_updated:
            assert promise.id in self._promises
            self._promises[promise.id] = promise
        for task in changes.tasks_created:
            assert task.id not in self._tasks
            self._tasks[task.id] = replace(task, resumes=frozenset())
        for task in changes.tasks_updated:
            assert task.id in self._tasks
            self._tasks[task.id] = replace(task, resumes=frozenset())
        self._resumes = {r for r in self._resumes if r[0] not in changes.resumes_cleared}
        _insert(self._resumes, changes.resumes_added)
        for key in changes.callbacks_removed:
            del self._callbacks[key]
        for callback in changes.callbacks_saved:
            self._callbacks[callback.awaited, callback.awaiter] = callback
        cleared = changes.listeners_cleared
        self._listeners = {row for row in self._listeners if row[0] not in cleared}
        _insert(self._listeners, changes.listeners_added)
        for unblock in changes.unblocks:
            key = (unblock.promise_id, unblock.address)
            assert key not in self._unblocks
            self._unblocks[key] = unblock
        self._save_schedules(changes)

    def _save_schedules(self, changes: Changes) -> None:
        for schedule in changes.schedules_created:
            assert schedule.id not in self._schedules
            self._schedules[schedule.id] = schedule
        for schedule in changes.schedules_updated:
            assert schedule.id in self._schedules
            self._schedules[schedule.id] = schedule
        for schedule_id in changes.schedules_deleted:
            del self._schedules[schedule_id]

    def _snapshot(self) -> State:
        resumes: dict[str, set[str]] = {}
        for task_id, awaited in self._resumes:
            resumes.setdefault(task_id, set()).add(awaited)
        tasks = [
            replace(task, resumes=frozenset(resumes[task.id])) if task.id in resumes else task
            for task in self._tasks.values()
        ]
        return State.of(
            promises=self._promises.values(),
            tasks=tasks,
            callbacks=self._callbacks.values(),
            listeners=self._listeners,
            unblocks=self._unblocks.values(),
            schedules=self._schedules.values(),
        )

    def _judge(
        self, before: State, *, now_ms: int, kind: StepKind, request: Request | None = None
    ) -> None:
        violations = check_state(self.state, now_ms=now_ms, profile=self.profile)
        violations += check_step(
            before, self.state, now_ms=now_ms, profile=self.profile, kind=kind, request=request
        )
        if violations:
            raise InvariantBroken(violations)


def wire(promise: Promise) -> tuple[object, ...]:
    """Show the fields of a promise that clients see."""
    return (
        promise.id,
        promise.state,
        promise.param,
        promise.value,
        dict(promise.tags),
        promise.timeout_at_ms,
        promise.created_at_ms,
        promise.settled_at_ms,
    )


def is_pending(promise: Promise) -> bool:
    """Tell whether a record reads as pending."""
    return promise.state is PromiseState.PENDING


def _keys(requests: Iterable[Request]) -> Keys:
    keys = Keys()
    for request in requests:
        keys.add(request)
    return keys


def _insert(table: set[tuple[str, str]], rows: list[tuple[str, str]]) -> None:
    """Insert rows as a database does: a repeated key is an error."""
    assert table.isdisjoint(rows)
    assert len(set(rows)) == len(rows)
    table.update(rows)
