"""Retention: trees that have been over for longer than a setting are deleted, a few rows at a time.

A tree goes as a whole or not at all: it is looked at to its end before the first of its promises is
deleted, and its root goes last. A look that took long cannot be wrong: what was alive during it
ended after the instant that everything is measured by.

Several stores may do this on one database. Each looks through all trees by itself, in the order of
their age; what one has locked the others leave alone.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from holdfast_chassis.logs import get_logger
from holdfast_store.observer import Observer
from holdfast_store.storage import Root, Storage, StorageError, TreePart

log = get_logger(__name__)

IDLE_S: Final = 60.0
"""Longest pause between two passes over all old trees."""

DOUBT_MS: Final = 600_000
"""Difference between two clocks from which on neither is trusted with deleting."""

START: Final = (-1, "")
"""The place before every root."""


@dataclass(slots=True)
class _Tree:
    """A tree that is over."""

    root: Root
    before_ms: int
    promises: int
    behind: str = ""


class Retention:
    """Deletes old trees; each tick is one short transaction at most."""

    def __init__(
        self,
        storage: Storage,
        *,
        clock: Callable[[], int],
        machine_clock: Callable[[], int],
        observer: Observer,
        age_ms: int,
        rows_max: int,
        pause_ms: int,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._machine_clock = machine_clock
        self._observer = observer
        self._age_ms = age_ms
        self._rows_max = rows_max
        self._pause_s = pause_ms / 1000
        self._place = START
        self._is_at_end = False
        self._looked_at: deque[Root] = deque()
        self._part: _Tree | None = None
        self._over: deque[_Tree] = deque()

    async def run(self) -> None:
        """Run until cancelled."""
        idle_s = min(IDLE_S, max(1.0, self._age_ms / 4_000))
        trouble = None
        while True:
            more, trouble_before, trouble = False, trouble, None
            try:
                now_ms = self._clock()
                trouble = self._doubt(now_ms)
                more = trouble is None and await self.tick(now_ms)
            except StorageError as error:
                trouble = str(error)
            if trouble is not None and trouble_before is None:
                log.warning("retention_paused", reason=trouble)
            await asyncio.sleep(self._pause_s if more else idle_s)

    def _doubt(self, now_ms: int) -> str | None:
        """Say why nothing may be deleted now.

        A database whose clock was set a year ahead would make everything old at once, and nothing
        brings it back. This machine's clock, where it is another one, has to agree.
        """
        apart_ms = abs(now_ms - self._machine_clock())
        if apart_ms <= DOUBT_MS:
            return None
        return f"the clocks of the database and of this machine are {apart_ms // 1000} s apart"

    async def tick(self, now_ms: int) -> bool:
        """Do a little; answer whether there is more to do before the next pass."""
        if self._over and (self._is_at_end or self._is_enough()):
            await self._delete()
        elif self._part is not None or self._looked_at:
            await self._look(now_ms - self._age_ms)
        elif self._is_at_end:
            self._is_at_end = False
            self._observer.retention_passed()
            return False
        # A promise may belong to any tree until it is known to which: none goes before that.
        elif self._place != START or await self._storage.file_origins(limit=self._rows_max):
            await self._turn_page(now_ms - self._age_ms)
        return True

    # Looking

    async def _turn_page(self, before_ms: int) -> None:
        """Find the next roots; behind the last one begin anew."""
        roots = await self._storage.roots(
            before_ms=before_ms, behind=self._place, limit=self._rows_max
        )
        self._looked_at.extend(root for root in roots if root.is_over)
        self._is_at_end = not roots
        self._place = (roots[-1].created_at_ms, roots[-1].id) if roots else START

    async def _look(self, before_ms: int) -> None:
        """Look at trees until one does not end within the bound, or enough is found."""
        seen = 0
        while seen < self._rows_max and (self._part is not None or self._looked_at):
            if self._part is None:
                self._part = _Tree(self._looked_at.popleft(), before_ms, 0)
            seen += (await self._look_on(self._part)).seen

    async def _look_on(self, tree: _Tree) -> TreePart:
        part = await self._storage.tree_part(
            tree.root.id, before_ms=tree.before_ms, behind=tree.behind, limit=self._rows_max
        )
        tree.behind = part.last
        tree.promises += part.seen
        if not part.is_over:
            self._part = None
        elif part.seen < self._rows_max:
            tree.behind = ""
            self._over.append(tree)
            self._part = None
        return part

    # Deleting

    def _is_enough(self) -> bool:
        return sum(tree.promises for tree in self._over) >= self._rows_max

    async def _delete(self) -> None:
        """Delete several small trees, or a part of a large one."""
        chosen = [self._over[0]]
        size = chosen[0].promises
        for tree in list(self._over)[1:]:
            size += tree.promises
            if size > self._rows_max:
                break
            chosen.append(tree)
        pruned = await self._storage.prune(
            [tree.root.id for tree in chosen],
            before_ms=min(tree.before_ms for tree in chosen),
            behind=chosen[0].behind,
            limit=self._rows_max,
        )
        gone = [tree for tree in chosen if tree.root.id in pruned.roots]
        lag_ms = max((t.before_ms - t.root.ended_at_ms for t in gone), default=0)
        self._observer.trees_deleted(trees=len(gone), promises=pruned.promises, lag_ms=lag_ms)
        if len(chosen) == 1 and not gone and pruned.promises:
            chosen[0].promises = max(1, chosen[0].promises - pruned.promises)
            chosen[0].behind = pruned.last
            return
        # What is still there had a row that somebody held, or that changed: the next pass sees it.
        for _ in chosen:
            self._over.popleft()
