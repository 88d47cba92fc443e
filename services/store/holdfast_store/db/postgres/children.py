"""The children of workflows that a store has seen from their beginning: what a preload consists of.

Whoever is handed a task wants to know what its last run left behind. A store that was told of every
child need not ask the database for them.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from holdfast.core.records import BRANCH, PARENT, Preload, Promise
from holdfast_store.preloads import counted_bytes, fitting

BYTES_MAX: Final = 16 * 1_048_576
"""What the payloads of all children may take together; the tasks that were handed out longest ago
are forgotten first."""

FAMILY_BYTES_MAX: Final = 1_048_576
"""What those of one task may take; more than that a preload seldom carries."""

OVERHEAD_BYTES: Final = 1_024
"""Counted for each task and each child beside ids, payloads and tags: what Python adds."""


@dataclass(slots=True)
class _Family:
    """All children of one task."""

    children: dict[str, Promise] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    """What each counts against the bound of a preload."""
    size: int = OVERHEAD_BYTES

    def put(self, child: Promise) -> int:
        """Add a child, or what became of it; answer by how many bytes the family grew."""
        is_new = child.id not in self.children
        size = counted_bytes(child)
        grown = size - self.sizes.get(child.id, 0) + (OVERHEAD_BYTES if is_new else 0)
        self.children[child.id] = child
        self.sizes[child.id] = size
        self.size += grown
        return grown


class KnownChildren:
    """Children by task, as `Transaction.commit` defines them: by branch, and by parent.

    Invariant: of a task that is known at all, all children are.
    """

    def __init__(self, *, bytes_max: int = BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._families: OrderedDict[str, _Family] = OrderedDict()
        self._homes: dict[str, str] = {}
        """The task whose branch a child is in, since its own children are the task's as well."""

    def begin(self, task_id: str, children: Iterable[Promise] = ()) -> None:
        """Know a task from now on: it has these children, and those that are noted."""
        self.forget(task_id)
        self._families[task_id] = _Family()
        self._bytes += OVERHEAD_BYTES
        self._make_room()
        self.note(children)

    def note(self, promises: Iterable[Promise]) -> None:
        """Learn of promises that were created or changed, in any order."""
        found = [promise for promise in promises if not promise.tags.keys().isdisjoint(_TAGS)]
        for promise in found:
            branch = promise.tags.get(BRANCH, promise.id)
            if branch in self._families and branch != promise.id:
                self._homes[promise.id] = branch
        for promise in found:
            for task_id in self._tasks_of(promise):
                self._put(task_id, promise)
        for promise in found:  # a task that found no room has no children any more
            if self._homes.get(promise.id, promise.id) not in self._families:
                self._homes.pop(promise.id, None)

    def _tasks_of(self, promise: Promise) -> set[str]:
        parent = promise.tags.get(PARENT, "")
        tasks = (self._homes.get(promise.id, ""), self._homes.get(parent, ""), parent)
        return {task for task in tasks if task in self._families and task != promise.id}

    def _put(self, task_id: str, child: Promise) -> None:
        family = self._families.get(task_id)
        if family is None:  # another task of the same child has taken its room a moment ago
            return
        self._bytes += family.put(child)
        if family.size > FAMILY_BYTES_MAX:
            self.forget(task_id)
        self._make_room()

    def _make_room(self) -> None:
        while self._bytes > self._bytes_max:
            self.forget(next(iter(self._families)))

    def preload(self, task_id: str, *, bytes_max: int) -> Preload | None:
        """Answer what is handed out with a task, if it is known; in the order of ids."""
        family = self._families.get(task_id)
        if family is None:
            return None
        self._families.move_to_end(task_id)
        ids = fitting(family.sizes, bytes_max)
        return Preload(
            promises=tuple(family.children[each] for each in ids),
            complete=len(ids) == len(family.children),
        )

    def forget(self, task_id: str) -> None:
        """Know nothing about a task's children."""
        family = self._families.pop(task_id, None)
        if family is None:
            return
        self._bytes -= family.size
        for child in family.children:
            if self._homes.get(child) == task_id:
                del self._homes[child]

    def clear(self) -> None:
        """Know nothing."""
        self._families.clear()
        self._homes.clear()
        self._bytes = 0


_TAGS: Final = frozenset({BRANCH, PARENT})
