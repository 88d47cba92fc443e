"""The waiting tasks of one group in memory: by their age, and by the trees that take turns."""

from bisect import bisect_left, insort
from collections.abc import Collection

from holdfast_store.agenda import Agenda
from holdfast_store.storage import Behind, Turns


class MemoryQueue:
    """What two partial indexes are to a database.

    Invariant: a task is in both orders or in neither.
    """

    __slots__ = ("_by_age", "_by_tree", "_trees")

    def __init__(self) -> None:
        self._by_age = Agenda()
        self._by_tree: list[tuple[int, int, str]] = []
        self._trees: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._by_age)

    def put(self, task_id: str, queued_at_ms: int | None, tree: int) -> None:
        """Set, move, or with `None` remove a task; it stays in the tree that it came with."""
        if task_id in self._trees:
            before = self._by_age.at_ms(task_id)
            if before == queued_at_ms:
                return
            entry = (self._trees.pop(task_id), before, task_id)
            del self._by_tree[bisect_left(self._by_tree, entry)]
        self._by_age.put(task_id, queued_at_ms)
        if queued_at_ms is not None:
            self._trees[task_id] = tree
            insort(self._by_tree, (tree, queued_at_ms, task_id))

    def next_at_ms(self) -> int | None:
        """Since when the oldest waits."""
        return self._by_age.next_at_ms()

    def oldest(self, limit: int, skip: Collection[str]) -> list[tuple[int, str]]:
        """Since when so many of the oldest wait, and which they are."""
        return _without(skip, self._by_age.entries(limit + len(skip)))[:limit]

    def behind(self, place: Behind, skip: Collection[str]) -> list[tuple[int, str]]:
        """Answer the same of those behind a place.

        An agenda has no way in from the side; what a database finds by its index is counted off
        here. Nothing in memory grows so long that this matters.
        """
        key = (place.queued_at_ms, place.id)
        further = [entry for entry in self._by_age.entries(len(self)) if entry > key]
        return _without(skip, further)[: place.limit]

    def turns(self, turns: Turns) -> list[tuple[int, str]]:
        """Trees whose turn it is, each with its oldest task."""
        found: list[tuple[int, str]] = []
        tree = turns.after
        while len(found) < turns.limit:
            index = bisect_left(self._by_tree, (tree + 1,))
            if index == len(self._by_tree):
                break
            tree, _, task_id = self._by_tree[index]
            found.append((tree, task_id))
        return found


def _without(skip: Collection[str], entries: list[tuple[int, str]]) -> list[tuple[int, str]]:
    return [entry for entry in entries if entry[1] not in skip] if skip else entries
