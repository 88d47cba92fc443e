"""Deadlines, dispatches and leases: sleep until the next due instant, then sweep.

An idle store issues no statements but the slow poll, which repairs what memory cannot know: work
of another replica, and messages that nobody came for.
"""

import asyncio

from holdfast_chassis.logs import get_logger
from holdfast_store.engine import Engine
from holdfast_store.loops.sleeping import WALL_CLOCK_CHECK_S, sleep_until
from holdfast_store.observer import Observer
from holdfast_store.storage import Storage, StorageError

log = get_logger(__name__)

NEIGHBORS_POLL_S = 1.0
"""How often the next due instant is read where other stores make instants due: one of them may die
before it sweeps for what only it has heard of."""

MISSED_PAUSE_MS_MIN = 10
MISSED_PAUSE_MS_MAX = 1_000
"""Pauses, each twice the one before, while a sweep does not get what is due: another store has it.
"""

UNBLOCK_KEPT_MS = 60_000
"""Messages older than this are dropped: clients register their listeners again by then (§4.3)."""


class Timers:
    """Asks the engine to sweep whenever something in the database is due."""

    def __init__(
        self, engine: Engine, storage: Storage, *, observer: Observer, slow_poll_s: float
    ) -> None:
        self._engine = engine
        self._storage = storage
        self._observer = observer
        self._slow_poll_s = slow_poll_s
        self._next_due_ms: int | None = None
        self._swept_ms: int | None = None
        self._missed_pause_ms = 0
        self._changed = asyncio.Event()
        self._stale = True
        self._poll_at = 0.0
        self._read_at = 0.0

    async def run(self) -> None:
        """Run until cancelled; what a run that broke had heard and not done is looked up again."""
        self._stale = True
        self._engine.background.on_due = self._hear_of_due
        self._engine.background.on_swept = self._hear_of_sweep
        loop = asyncio.get_running_loop()
        while True:
            if loop.time() >= self._poll_at:
                self._poll_at = loop.time() + self._slow_poll_s
                await self._drop_unblocks()
                self._stale = True
            if self._engine.has_neighbors and loop.time() >= self._read_at:
                self._stale = True
            if self._stale:
                self._read_at = loop.time() + NEIGHBORS_POLL_S
                await self._read_next_due()
            if self._next_due_ms is not None and self._next_due_ms <= self._engine.now_ms():
                self._swept_ms, self._next_due_ms = self._next_due_ms, None
                self._engine.sweep()
            await sleep_until(
                self._changed,
                looks_in_s=self._looks_at() - loop.time(),
                due_ms=self._next_due_ms,
                now_ms=self._engine.now_ms(),
            )

    def _looks_at(self) -> float:
        if self._engine.has_neighbors:
            return min(self._poll_at, self._read_at)
        return self._poll_at

    def _hear_of_due(self, at_ms: int) -> None:
        if self._next_due_ms is None or at_ms < self._next_due_ms:
            self._next_due_ms = at_ms
            self._changed.set()

    def _hear_of_sweep(self, more: bool) -> None:  # noqa: FBT001 - an engine callback
        if not more:
            self._stale = True
            self._changed.set()

    async def _read_next_due(self) -> None:
        # Instants heard while the read is under way are kept: they may be newer than what it saw.
        self._stale = False
        try:
            read_ms = await self._engine.background.next_due_at_ms()
        except StorageError as error:
            log.warning("next_due_not_read", error=str(error))
            self._stale = True
            await asyncio.sleep(WALL_CLOCK_CHECK_S)
            return
        heard_ms = self._next_due_ms
        known = [at_ms for at_ms in (self._put_off(read_ms), heard_ms) if at_ms is not None]
        self._next_due_ms = min(known, default=None)

    def _put_off(self, read_ms: int | None) -> int | None:
        """Answer when to sweep for what is due next: after a pause, if a sweep has missed it.

        A store that stands still keeps its rows for seconds. Whoever swept for them all the time
        would do nothing else; what becomes due meanwhile is heard of and swept for at once.
        """
        if read_ms is None or self._swept_ms is None or read_ms > self._swept_ms:
            self._missed_pause_ms = 0
            return read_ms
        doubled_ms = max(2 * self._missed_pause_ms, MISSED_PAUSE_MS_MIN)
        self._missed_pause_ms = min(doubled_ms, MISSED_PAUSE_MS_MAX)
        return self._engine.now_ms() + self._missed_pause_ms

    async def _drop_unblocks(self) -> None:
        try:
            dropped = await self._storage.drop_unblocks(
                before_ms=self._engine.now_ms() - UNBLOCK_KEPT_MS
            )
        except StorageError as error:
            log.warning("unblocks_not_dropped", error=str(error))
            return
        for _ in range(dropped):
            self._observer.delivered(status="dropped")
