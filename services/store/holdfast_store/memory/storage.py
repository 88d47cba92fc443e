"""Promises in memory: the same port as a database, for tests, trials and embedded use.

Nothing survives the process. The cost of a batch does not depend on how many promises are stored:
what a database does with an index is done here with an agenda or a sorted list.
"""

import asyncio
import contextlib
from bisect import insort
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from heapq import nsmallest
from typing import TypeVar

from holdfast.core.records import (
    BRANCH,
    PARENT,
    Callback,
    Preload,
    Promise,
    PromiseState,
    Schedule,
    Task,
    TaskState,
)
from holdfast.core.search import (
    PromisePage,
    PromiseSearch,
    SchedulePage,
    ScheduleSearch,
    TaskPage,
    TaskSearch,
)
from holdfast.core.working_set import Changes, WorkingSet
from holdfast_store.agenda import Agenda
from holdfast_store.memory import searches as memory_searches
from holdfast_store.memory.queue import MemoryQueue
from holdfast_store.memory.schedules import MemorySchedules
from holdfast_store.memory.snapshot import MemorySnapshot
from holdfast_store.memory.trees import Asked, MemoryTrees
from holdfast_store.preloads import counted_bytes, first_within, fitting, rows_max
from holdfast_store.storage import (
    Armed,
    BatchRejected,
    Behind,
    InsertConflict,
    Loaded,
    Plan,
    Pruned,
    QueueCounts,
    Root,
    TreePart,
    Turn,
    Turns,
)
from holdfast_store.trees import tree_of

R = TypeVar("R")


class MemoryStorage:
    """A database of promises in memory; one transaction at a time.

    Records are frozen, so they are kept and answered as they are.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._rows = _Rows()

    async def open(self) -> None:
        """Do nothing: there is nothing to connect to."""

    async def close(self) -> None:
        """Wait for the running transaction; what is stored stays until the object goes."""
        async with self._turn:
            return

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator["MemoryTransaction"]:
        """Begin; a transaction that is left without a commit has changed nothing."""
        async with self._turn:
            yield MemoryTransaction(self._rows)

    async def next_due_at_ms(self) -> int | None:
        """Answer when the next promise or task is due; `None` when nothing is armed."""
        return self._rows.next_due_at_ms()

    async def armed(self, *, limit: int) -> Armed:
        """List so many promises and so many tasks, earliest instant first, due or not."""
        return self._rows.armed(limit)

    async def queued_groups(self) -> frozenset[str]:
        """List groups with waiting execute messages."""
        return frozenset(self._rows.queued)

    async def unblock_addresses(self, scheme: str, *, behind: str, limit: int) -> Sequence[str]:
        """List addresses of a scheme that messages about settled promises wait for, in order."""
        of_scheme = (a for a in self._rows.outbox if a.startswith(f"{scheme}:") and a > behind)
        return nsmallest(limit, of_scheme)

    async def lease_holders(self) -> frozenset[tuple[str, str]]:
        """List the process starts, as pid and instance, that hold leases now."""
        return self._rows.lease_holders()

    async def queue_counts(self, *, now_ms: int) -> Sequence[QueueCounts]:
        """Count work per group, in the order of their names."""
        return self._rows.queue_counts(now_ms)

    async def search_promises(
        self,
        search: PromiseSearch,
        *,
        now_ms: int,
        told: bool = False,  # noqa: ARG002 - nothing here has a clock of its own
    ) -> PromisePage:
        """List promises, as they read now."""
        return memory_searches.promises(self._rows.promises, search, now_ms=now_ms)

    async def search_tasks(
        self,
        search: TaskSearch,
        *,
        now_ms: int,
        told: bool = False,  # noqa: ARG002 - nothing here has a clock of its own
    ) -> TaskPage:
        """List tasks, as they read now."""
        rows = self._rows
        return memory_searches.tasks(rows.tasks, rows.promises, search, now_ms=now_ms)

    async def search_schedules(self, search: ScheduleSearch) -> SchedulePage:
        """List schedules."""
        return self._rows.schedules.search(search)

    async def next_schedule_at_ms(self) -> int | None:
        """Answer when the next schedule is due; `None` when none ever is."""
        return self._rows.schedules.next_at_ms()

    async def due_schedules(
        self, *, now_ms: int, limit: int, bytes_max: int, skip: Collection[str] = ()
    ) -> Sequence[Schedule]:
        """Read so many schedules that are due, the earliest first."""
        return self._rows.schedules.due(now_ms=now_ms, limit=limit, bytes_max=bytes_max, skip=skip)

    async def take_unblocks(
        self, addresses: Sequence[str], *, limit: int, bytes_max: int
    ) -> Sequence[tuple[str, Promise]]:
        """Delete messages for these addresses, and answer their addresses and promises."""
        async with self._turn:
            return self._rows.take_unblocks(addresses, limit, bytes_max)

    async def drop_unblocks(self, *, before_ms: int) -> int:
        """Delete messages that nobody came for; answer how many."""
        async with self._turn:
            return self._rows.drop_unblocks(before_ms)

    async def file_origins(self, *, limit: int) -> bool:  # noqa: ARG002 - nothing is unknown here
        """Answer that every tree is known."""
        return True

    async def roots(self, *, before_ms: int, behind: tuple[int, str], limit: int) -> Sequence[Root]:
        """List roots that were created before an instant, the oldest first."""
        asked = self._rows.asked()
        found = self._rows.trees.roots(before_ms=before_ms, behind=behind)
        return [asked.root(root, before_ms) for root in found[:limit]]

    async def tree_part(self, root: str, *, before_ms: int, behind: str, limit: int) -> TreePart:
        """Look at so many promises of a tree."""
        members = self._rows.trees.members(root, behind=behind)[:limit]
        return self._rows.asked().part(members, before_ms=before_ms, behind=behind)

    async def prune(
        self, roots: Sequence[str], *, before_ms: int, behind: str, limit: int
    ) -> Pruned:
        """Delete so many promises of trees that are over, in one transaction."""
        async with self._turn:
            return self._rows.prune(roots, before_ms=before_ms, behind=behind, limit=limit)

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[MemorySnapshot]:
        """Keep what is stored now, between two transactions."""
        async with self._turn:
            rows = self._rows
            found = MemorySnapshot(
                promises=rows.promises.values(),
                tasks=rows.tasks.values(),
                callbacks=rows.callbacks,
                listeners=rows.listeners,
                outbox=rows.outbox,
                schedules=rows.schedules.all(),
            )
        yield found

    async def reset(self) -> None:
        """Delete every record."""
        async with self._turn:
            self._rows = _Rows()

    async def ping(self) -> None:
        """Answer."""


class MemoryTransaction:
    """One unit of work; nobody else writes between its load and its commit."""

    __slots__ = ("_rows",)

    def __init__(self, rows: "_Rows") -> None:
        self._rows = rows

    async def load(self, plan: Plan, *, now_ms: int) -> Loaded:
        """Read what a plan names."""
        return self._rows.load(plan, now_ms)

    async def commit(
        self, changes: Changes, *, preload_of: Sequence[str], preload_bytes_max: int
    ) -> Mapping[str, Preload]:
        """Write everything or, raising a `StorageError`, nothing; then read the preloads."""
        self._rows.check(changes)
        self._rows.save(changes)
        return {task_id: self._rows.preload(task_id, preload_bytes_max) for task_id in preload_of}


class _Rows:
    """What a database keeps in tables and indexes."""

    def __init__(self) -> None:
        self.promises: dict[str, Promise] = {}
        self.tasks: dict[str, Task] = {}
        self.callbacks: dict[str, dict[str, Callback]] = {}
        self.listeners: dict[str, dict[str, None]] = {}
        self.outbox: dict[str, dict[str, int]] = {}
        self.queued: dict[str, MemoryQueue] = {}
        self.trees = MemoryTrees()
        self.schedules = MemorySchedules()
        self._deadlines = Agenda()
        self._due = Agenda()
        self._leased: dict[str, set[str]] = {}
        self._in_branch: dict[str, list[str]] = {}
        self._with_parent: dict[str, list[str]] = {}
        self._states: Counter[tuple[str, TaskState]] = Counter()

    # Reading

    def load(self, plan: Plan, now_ms: int) -> Loaded:
        ids = set(plan.ids)
        for pid in plan.pids:
            ids.update(self._leased.get(pid, ()))
        due_promises: list[str] = []
        due_tasks: list[str] = []
        if plan.due_max:
            skip = frozenset(plan.due_skip)
            due_promises = _first(self._deadlines, plan.due_max, skip, now_ms)
            due_tasks = _first(self._due, plan.due_max, skip, now_ms)
            ids.update(due_promises, due_tasks)
        queued = self._oldest_queued(plan.queued, plan.behind)
        ids.update(queued)
        turns = self._turns(plan.turns)
        ids.update(turn.id for turn in turns if turn.id is not None)
        return Loaded(
            working_set=self._working_set(ids, [*plan.schedules, *plan.firing]),
            now_ms=now_ms,
            due_promises=due_promises,
            due_tasks=due_tasks,
            queued=queued,
            turns=turns,
        )

    def _oldest_queued(self, limits: Mapping[str, int], behind: Behind | None) -> list[str]:
        found: list[tuple[int, str]] = []
        for group, limit in limits.items():
            queue = self.queued.get(group)
            if queue is not None:
                found += queue.oldest(limit)
        found.sort()
        if behind is not None and behind.group in self.queued:
            found += self.queued[behind.group].behind(behind)
        return [task_id for _, task_id in found]

    def _turns(self, turns: Mapping[str, Turns]) -> list[Turn]:
        return [
            Turn(group=group, tree=tree, id=task_id)
            for group in sorted(turns.keys() & self.queued.keys())
            for tree, task_id in self.queued[group].turns(turns[group])
        ]

    def _working_set(self, ids: set[str], schedule_ids: Iterable[str]) -> WorkingSet:
        callbacks = [
            callback for awaited in ids for callback in self.callbacks.get(awaited, {}).values()
        ]
        everyone = ids.union(callback.awaiter for callback in callbacks)
        return WorkingSet(
            promises=_present(self.promises, everyone),
            tasks=_present(self.tasks, everyone),
            callbacks=callbacks,
            listeners=[(key, address) for key in ids for address in self.listeners.get(key, ())],
            schedules=self.schedules.present(schedule_ids),
        )

    def lease_holders(self) -> frozenset[tuple[str, str]]:
        """List the process starts that hold leases."""
        held = (self.tasks[task_id] for ids in self._leased.values() for task_id in ids)
        return frozenset((t.pid, t.instance) for t in held if t.pid and t.instance)

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
        return Armed(promises=self._deadlines.entries(limit), tasks=self._due.entries(limit))

    def next_due_at_ms(self) -> int | None:
        instants = (self._deadlines.next_at_ms(), self._due.next_at_ms())
        return min((at_ms for at_ms in instants if at_ms is not None), default=None)

    def queue_counts(self, now_ms: int) -> list[QueueCounts]:
        waiting: dict[str, list[int]] = {}
        for task_id in self._due.first(len(self._due), until_ms=now_ms):
            task = self.tasks[task_id]
            if task.state is TaskState.PENDING:
                waiting.setdefault(task.address.group, []).append(self._due.at_ms(task_id))
        groups = {group for group, _ in self._states}
        return [
            self._count(group, waiting.get(group, [])) for group in sorted(groups | set(waiting))
        ]

    def _count(self, group: str, waiting: list[int]) -> QueueCounts:
        queue = self.queued.get(group)
        oldest = queue.next_at_ms() if queue else None
        return QueueCounts(
            group=group,
            due=len(waiting) + (len(queue) if queue else 0),
            running=self._states[group, TaskState.ACQUIRED],
            suspended=self._states[group, TaskState.SUSPENDED],
            halted=self._states[group, TaskState.HALTED],
            oldest_due_at_ms=min(waiting + ([] if oldest is None else [oldest]), default=None),
        )

    # Writing

    def check(self, changes: Changes) -> None:
        """Raise for what a database would refuse, before anything is written."""
        for promise in changes.promises_created:
            if promise.id in self.promises:
                raise InsertConflict(f"promise {promise.id} exists already")
        for task in changes.tasks_created:
            if task.id in self.tasks:
                raise InsertConflict(f"task {task.id} exists already")
        self.schedules.check(changes)
        try:
            for promise in (*changes.promises_created, *changes.promises_updated):
                counted_bytes(promise)
        except (TypeError, ValueError) as error:
            raise BatchRejected(f"a promise cannot be written down: {error}") from error

    def save(self, changes: Changes) -> None:
        for promise in changes.promises_created:
            self._index_birth(promise)
        for promise in (*changes.promises_created, *changes.promises_updated):
            self.promises[promise.id] = promise
            armed = promise.armed and promise.state is PromiseState.PENDING
            self._deadlines.put(promise.id, promise.timeout_at_ms if armed else None)
        for task in (*changes.tasks_created, *changes.tasks_updated):
            self._put_task(task)
        for awaited, awaiter in changes.callbacks_removed:
            _take(self.callbacks, awaited, awaiter)
        for callback in changes.callbacks_saved:
            self.callbacks.setdefault(callback.awaited, {})[callback.awaiter] = callback
        for promise_id in changes.listeners_cleared:
            self.listeners.pop(promise_id, None)
        for promise_id, address in changes.listeners_added:
            self.listeners.setdefault(promise_id, {})[address] = None
        for unblock in changes.unblocks:
            waiting = self.outbox.setdefault(unblock.address, {})
            waiting[unblock.promise_id] = unblock.enqueued_at_ms
        self.schedules.save(changes)

    def _index_birth(self, promise: Promise) -> None:
        self.trees.born(promise)
        for tag, index in ((BRANCH, self._in_branch), (PARENT, self._with_parent)):
            key = promise.tags.get(tag)
            if key is not None:
                insort(index.setdefault(key, []), promise.id)

    def _put_task(self, task: Task) -> None:
        group = task.address.group
        before = self.tasks.get(task.id)
        if before is not None:
            self._count_state(group, before.state, -1)
            if before.state is TaskState.ACQUIRED and before.pid is not None:
                _discard(self._leased, before.pid, task.id)
        self.tasks[task.id] = task
        self._count_state(group, task.state, +1)
        if task.state is TaskState.ACQUIRED and task.pid is not None:
            self._leased.setdefault(task.pid, set()).add(task.id)
        self._due.put(task.id, task.due_at_ms)
        self._put_queued(group, task)

    def _count_state(self, group: str, state: TaskState, change: int) -> None:
        """Count open tasks; groups without any leave nothing behind."""
        if state is not TaskState.FULFILLED:
            self._states[group, state] += change
            if not self._states[group, state]:
                del self._states[group, state]

    def _put_queued(self, group: str, task: Task) -> None:
        queue = self.queued.get(group)
        if queue is None:
            if task.queued_at_ms is None:
                return
            queue = self.queued[group] = MemoryQueue()
        queue.put(task.id, task.queued_at_ms, self._tree(task.id))
        if not queue:
            del self.queued[group]

    def _tree(self, task_id: str) -> int:
        promise = self.promises.get(task_id)
        return tree_of(task_id) if promise is None else tree_of(task_id, promise.tags)

    # Messages

    def take_unblocks(
        self, addresses: Sequence[str], limit: int, bytes_max: int
    ) -> list[tuple[str, Promise]]:
        while True:
            found = sorted(
                (enqueued_at_ms, promise_id, address)
                for address in set(addresses)
                for promise_id, enqueued_at_ms in self.outbox.get(address, {}).items()
            )[:limit]
            sizes = [
                counted_bytes(self.promises[key]) if key in self.promises else 0
                for _, key, _ in found
            ]
            taken = found[: first_within(sizes, bytes_max)]
            for _, promise_id, address in taken:
                _take(self.outbox, address, promise_id)
            there = [(a, self.promises[key]) for _, key, a in taken if key in self.promises]
            if there or not taken:
                return there

    def drop_unblocks(self, before_ms: int) -> int:
        dropped = 0
        for address, waiting in list(self.outbox.items()):
            for promise_id, enqueued_at_ms in list(waiting.items()):
                if enqueued_at_ms < before_ms:
                    _take(self.outbox, address, promise_id)
                    dropped += 1
        return dropped

    # Retention

    def asked(self) -> Asked:
        """Look up what is named by something that could make somebody ask for it."""
        messages = (promise_id for waiting in self.outbox.values() for promise_id in waiting)
        return Asked(self.promises, self.tasks, self.callbacks, self.listeners, messages)

    def prune(self, roots: Sequence[str], *, before_ms: int, behind: str, limit: int) -> Pruned:
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
        for promise_id in ids:
            promise = self.promises.pop(promise_id)
            self.tasks.pop(promise_id, None)
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


def _discard(index: dict[str, set[str]], key: str, member: str) -> None:
    members = index[key]
    members.discard(member)
    if not members:
        del index[key]
