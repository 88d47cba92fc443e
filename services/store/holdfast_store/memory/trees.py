"""Trees of promises in memory: which there are, and which are over."""

from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping

from holdfast.core.records import ORIGIN, PARENT, Promise, PromiseState, Task, TaskState
from holdfast_store.storage import Root, TreePart


class MemoryTrees:
    """Keeps the promises of each tree in the order of their ids, and the roots in that of birth."""

    def __init__(self) -> None:
        self._members: dict[str, list[str]] = {}
        self._roots: list[tuple[int, str]] = []

    def born(self, promise: Promise) -> None:
        """Learn of a promise."""
        insort(self._members.setdefault(_origin(promise), []), promise.id)
        if _origin(promise) == promise.id:
            insort(self._roots, (promise.created_at_ms, promise.id))

    def died(self, promise: Promise) -> None:
        """Forget a promise."""
        members = self._members[_origin(promise)]
        members.remove(promise.id)
        if not members:
            del self._members[_origin(promise)]
        if _origin(promise) == promise.id:
            self._roots.remove((promise.created_at_ms, promise.id))

    def members(self, root: str, *, behind: str = "") -> list[str]:
        """List the promises of a tree behind a place."""
        members = self._members.get(root, [])
        return members[bisect_right(members, behind) :]

    def roots(self, *, before_ms: int, behind: tuple[int, str]) -> list[str]:
        """List roots behind a place that were created before an instant."""
        return [
            root
            for created_at_ms, root in self._roots[bisect_right(self._roots, behind) :]
            if created_at_ms < before_ms
        ]


class Asked:
    """What is named by something that could make somebody ask for it."""

    def __init__(
        self,
        promises: Mapping[str, Promise],
        tasks: Mapping[str, Task],
        *named: Iterable[str],
    ) -> None:
        self._promises = promises
        self._tasks = tasks
        self._named = {awaited for task in tasks.values() for awaited in task.resumes}
        self._named.update(*named)

    def is_over(self, promise_id: str, before_ms: int) -> bool:
        """Whether a promise ended before an instant and nothing names it."""
        promise, task = self._promises[promise_id], self._tasks.get(promise_id)
        is_pending = promise.state is PromiseState.PENDING
        return (
            not (is_pending and promise.armed)
            and _ended_at_ms(promise) < before_ms
            and promise.created_at_ms < before_ms
            and (task is None or task.state is TaskState.FULFILLED)
            and promise_id not in self._named
        )

    def is_let_go(self, promise_id: str) -> bool:
        """Whether the promise that created a root is gone."""
        parent = self._promises[promise_id].tags.get(PARENT)
        return parent is None or parent == promise_id or parent not in self._promises

    def root(self, promise_id: str, before_ms: int) -> Root:
        """Describe a root."""
        promise = self._promises[promise_id]
        return Root(
            id=promise_id,
            created_at_ms=promise.created_at_ms,
            ended_at_ms=_ended_at_ms(promise),
            is_over=self.is_over(promise_id, before_ms) and self.is_let_go(promise_id),
        )

    def part(self, ids: list[str], *, before_ms: int, behind: str) -> TreePart:
        """Describe a part of a tree."""
        return TreePart(
            seen=len(ids),
            is_over=all(self.is_over(promise_id, before_ms) for promise_id in ids),
            last=ids[-1] if ids else behind,
        )


def _origin(promise: Promise) -> str:
    return promise.tags.get(ORIGIN, promise.id)


def _ended_at_ms(promise: Promise) -> int:
    return promise.timeout_at_ms if promise.settled_at_ms is None else promise.settled_at_ms
