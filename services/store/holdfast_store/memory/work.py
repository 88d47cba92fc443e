"""The tasks in memory, with what finds them: by group, by process, by when they are due."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from holdfast.core.records import Task, TaskState
from holdfast_store.agenda import Agenda
from holdfast_store.memory.queue import MemoryQueue
from holdfast_store.storage import Behind, QueueCounts, Turn, Turns

_NOBODY: Final[frozenset[str]] = frozenset()


class MemoryWork:
    """Keeps tasks, and for each index of a database what answers the same questions.

    Invariant: a task is in an index exactly as its record says; one that has ended is in none.
    """

    def __init__(self, tree_of: Callable[[str], int]) -> None:
        self._tree_of = tree_of
        self.tasks: dict[str, Task] = {}
        self.queued: dict[str, MemoryQueue] = {}
        self.due = Agenda()
        self._leased: dict[str, set[str]] = {}
        self._states: Counter[tuple[str, TaskState]] = Counter()

    def put(self, task: Task) -> None:
        """Write a task down."""
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
        self.due.put(task.id, task.due_at_ms)
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
        queue.put(task.id, task.queued_at_ms, self._tree_of(task.id))
        if not queue:
            del self.queued[group]

    # Finding

    def held_by(self, pid: str) -> Collection[str]:
        """List the tasks that a process holds."""
        return self._leased.get(pid, _NOBODY)

    def lease_holders(self) -> frozenset[tuple[str, str]]:
        """List the process starts that hold leases."""
        held = (self.tasks[task_id] for ids in self._leased.values() for task_id in ids)
        return frozenset((t.pid, t.instance) for t in held if t.pid and t.instance)

    def oldest(
        self, limits: Mapping[str, int], behind: Behind | None, skip: Collection[str]
    ) -> list[str]:
        """List the oldest queued tasks of groups, and then those behind a place in one of them."""
        found: list[tuple[int, str]] = []
        for group, limit in limits.items():
            queue = self.queued.get(group)
            if queue is not None:
                found += queue.oldest(limit, skip)
        found.sort()
        if behind is not None and behind.group in self.queued:
            found += self.queued[behind.group].behind(behind, skip)
        return [task_id for _, task_id in found]

    def turns(self, turns: Mapping[str, Turns], skip: Collection[str]) -> list[Turn]:
        """List trees whose turn it is, with their oldest queued tasks."""
        return [
            Turn(group=group, tree=tree, id=None if task_id in skip else task_id)
            for group in sorted(turns.keys() & self.queued.keys())
            for tree, task_id in self.queued[group].turns(turns[group])
        ]

    # Counting

    def queue_counts(self, now_ms: int) -> list[QueueCounts]:
        """Count open tasks per group; those that wait for a later instant are counted nowhere."""
        waiting: dict[str, list[int]] = {}
        for task_id in self.due.first(len(self.due), until_ms=now_ms):
            task = self.tasks[task_id]
            if task.state is TaskState.PENDING:
                waiting.setdefault(task.address.group, []).append(self.due.at_ms(task_id))
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

    def forget(self, ids: Iterable[str]) -> None:
        """Delete tasks that have ended: no index has them."""
        for task_id in ids:
            self.tasks.pop(task_id, None)


def _discard(index: dict[str, set[str]], key: str, member: str) -> None:
    members = index[key]
    members.discard(member)
    if not members:
        del index[key]
