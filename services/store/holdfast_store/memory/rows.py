"""What a database keeps in tables, and what it finds rows by."""

from bisect import insort
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from holdfast.core.records import BRANCH, PARENT, Callback, Preload, Promise, PromiseState
from holdfast.core.working_set import Changes, WorkingSet
from holdfast_store.agenda import Agenda
from holdfast_store.memory.outbox import MemoryOutbox
from holdfast_store.memory.schedules import MemorySchedules
from holdfast_store.memory.trees import Asked, MemoryTrees
from holdfast_store.memory.work import MemoryWork
from holdfast_store.preloads import counted_bytes, fitting, rows_max
from holdfast_store.storage import Armed, BatchRejected, InsertConflict, Loaded, Plan, Pruned
from holdfast_store.trees import tree_of

R = TypeVar("R")


class MemoryRows:
    """Promises, obligations, and what they are found by; tasks, messages and schedules beside."""

    def __init__(self) -> None:
        self.promises: dict[str, Promise] = {}
        self.work = MemoryWork(self._tree)
        self.callbacks: dict[str, dict[str, Callback]] = {}
        self.listeners: dict[str, dict[str, None]] = {}
        self.outbox = MemoryOutbox()
        self.trees = MemoryTrees()
        self.schedules = MemorySchedules()
        self._deadlines = Agenda()
        self._in_branch: dict[str, list[str]] = {}
        self._with_parent: dict[str, list[str]] = {}

    # Reading

    def load(self, plan: Plan, now_ms: int) -> Loaded:
        """Read what a plan names."""
        ids = set(plan.ids)
        for pid in plan.pids:
            ids.update(set(self.work.held_by(pid)).difference(plan.skip))
        due_promises: list[str] = []
        due_tasks: list[str] = []
        if plan.due_max:
            skip = frozenset(plan.due_skip)
            due_promises = _first(self._deadlines, plan.due_max, skip, now_ms)
            due_tasks = _first(self.work.due, plan.due_max, skip, now_ms)
            ids.update(due_promises, due_tasks)
        queued = self.work.oldest(plan.queued, plan.behind, plan.skip)
        ids.update(queued)
        turns = self.work.turns(plan.turns, plan.skip)
        ids.update(turn.id for turn in turns if turn.id is not None)
        return Loaded(
            working_set=self._working_set(ids, [*plan.schedules, *plan.firing]),
            now_ms=now_ms,
            due_promises=due_promises,
            due_tasks=due_tasks,
            queued=queued,
            turns=turns,
        )

    def _working_set(self, ids: set[str], schedule_ids: Iterable[str]) -> WorkingSet:
        callbacks = [
            callback for awaited in ids for callback in self.callbacks.get(awaited, {}).values()
        ]
        everyone = ids.union(callback.awaiter for callback in callbacks)
        return WorkingSet(
            promises=_present(self.promises, everyone),
            tasks=_present(self.work.tasks, everyone),
            callbacks=callbacks,
            listeners=[(key, address) for key in ids for address in self.listeners.get(key, ())],
            schedules=self.schedules.present(schedule_ids),
        )

    def preload(self, task_id: str, bytes_max: int) -> Preload:
        """Answer the children of a task's promise, as far as the byte bound goes."""
        bound = rows_max(bytes_max)
        branch = self.promises[task_id].tags.get(BRANCH)
        members = [] if branch is None else self._in_branch.get(branch, [])[:bound]
        found = set(members)
        for parent in {*members, task_id}:
            found.update(self._with_parent.get(parent, [])[:bound])
        found.discard(task_id)
        sizes = {promise_id: counted_bytes(self.promises[promise_id]) for promise_id in found}
        within = fitting(sizes, bytes_max)
        return Preload(
            promises=tuple(self.promises[promise_id] for promise_id in within),
            complete=len(within) == len(found),
        )

    def armed(self, limit: int) -> Armed:
        """List what the clock has something to do for, earliest first."""
        return Armed(promises=self._deadlines.entries(limit), tasks=self.work.due.entries(limit))

    def next_due_at_ms(self) -> int | None:
        """Answer the earliest instant at which anything is due."""
        instants = (self._deadlines.next_at_ms(), self.work.due.next_at_ms())
        return min((at_ms for at_ms in instants if at_ms is not None), default=None)

    # Writing

    def check(self, changes: Changes) -> None:
        """Raise for what a database would refuse, before anything is written."""
        for promise in changes.promises_created:
            if promise.id in self.promises:
                raise InsertConflict(f"promise {promise.id} exists already")
        for task in changes.tasks_created:
            if task.id in self.work.tasks:
                raise InsertConflict(f"task {task.id} exists already")
        self.schedules.check(changes)
        try:
            for promise in (*changes.promises_created, *changes.promises_updated):
                counted_bytes(promise)
        except (TypeError, ValueError) as error:
            raise BatchRejected(f"a promise cannot be written down: {error}") from error

    def save(self, changes: Changes) -> None:
        """Write everything."""
        for promise in changes.promises_created:
            self._index_birth(promise)
        for promise in (*changes.promises_created, *changes.promises_updated):
            self.promises[promise.id] = promise
            armed = promise.armed and promise.state is PromiseState.PENDING
            self._deadlines.put(promise.id, promise.timeout_at_ms if armed else None)
        for task in (*changes.tasks_created, *changes.tasks_updated):
            self.work.put(task)
        for awaited, awaiter in changes.callbacks_removed:
            _take(self.callbacks, awaited, awaiter)
        for callback in changes.callbacks_saved:
            self.callbacks.setdefault(callback.awaited, {})[callback.awaiter] = callback
        for promise_id in changes.listeners_cleared:
            self.listeners.pop(promise_id, None)
        for promise_id, address in changes.listeners_added:
            self.listeners.setdefault(promise_id, {})[address] = None
        self.outbox.put(changes.unblocks)
        self.schedules.save(changes)

    def _index_birth(self, promise: Promise) -> None:
        self.trees.born(promise)
        for tag, index in ((BRANCH, self._in_branch), (PARENT, self._with_parent)):
            key = promise.tags.get(tag)
            if key is not None:
                insort(index.setdefault(key, []), promise.id)

    def _tree(self, task_id: str) -> int:
        promise = self.promises.get(task_id)
        return tree_of(task_id) if promise is None else tree_of(task_id, promise.tags)

    # Retention

    def asked(self) -> Asked:
        """Look up what is named by something that could make somebody ask for it."""
        messages = (
            promise_id for waiting in self.outbox.messages.values() for promise_id in waiting
        )
        return Asked(self.promises, self.work.tasks, self.callbacks, self.listeners, messages)

    def prune(self, roots: Sequence[str], *, before_ms: int, behind: str, limit: int) -> Pruned:
        """Delete so many promises of trees that are over; each root goes last."""
        asked = self.asked()
        members: list[str] = []
        for root in roots:
            found = self.trees.members(root, behind=behind)
            members += [i for i in found if i != root and asked.is_over(i, before_ms)]
        members = members[:limit]
        self._forget(members)
        alone = [root for root in roots if self._is_alone(asked, root, before_ms)]
        self._forget(alone)
        last = members[-1] if members else behind
        return Pruned(roots=alone, promises=len(members) + len(alone), last=last)

    def _is_alone(self, asked: Asked, root: str, before_ms: int) -> bool:
        return (
            self.trees.members(root) == [root]
            and asked.is_over(root, before_ms)
            and asked.is_let_go(root)
        )

    def _forget(self, ids: Collection[str]) -> None:
        self.work.forget(ids)
        for promise_id in ids:
            promise = self.promises.pop(promise_id)
            self.trees.died(promise)
            for tag, index in ((BRANCH, self._in_branch), (PARENT, self._with_parent)):
                key = promise.tags.get(tag)
                if key is not None:
                    index[key].remove(promise_id)
        for awaited in list(self.callbacks):
            for awaiter in self.callbacks[awaited].keys() & ids:
                _take(self.callbacks, awaited, awaiter)


def _first(agenda: Agenda, limit: int, skip: frozenset[str], until_ms: int) -> list[str]:
    found = agenda.first(limit + len(skip), until_ms=until_ms)
    return [key for key in found if key not in skip][:limit]


def _present(table: Mapping[str, R], ids: Iterable[str]) -> list[R]:
    return [row for row in map(table.get, ids) if row is not None]


def _take(table: dict[str, dict[str, R]], outer: str, inner: str) -> None:
    """Remove one entry, and the group when it was the last."""
    entries = table.get(outer)
    if entries is not None and entries.pop(inner, None) is not None and not entries:
        del table[outer]
