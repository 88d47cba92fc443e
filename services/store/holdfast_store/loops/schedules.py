"""Schedules: sleep until the next planned instant, then fire.

A loop of its own, so that a store without schedules sweeps as if there were none. It reads when
the next one is due at the start, at the slow poll, after it has fired, and every second where other
stores make schedules that one of them may die of; what changes in this store is heard of at once.
"""

import asyncio
from typing import Final

from holdfast_chassis.logs import get_logger
from holdfast_store.engine import Engine
from holdfast_store.loops.sleeping import WALL_CLOCK_CHECK_S, sleep_until
from holdfast_store.storage import StorageError

log = get_logger(__name__)

NEIGHBORS_POLL_S: Final = 1.0
"""How often the next planned instant is read where other stores may plan one."""

MISSED_PAUSE_S_MIN: Final = 0.01
MISSED_PAUSE_S_MAX: Final = 1.0
"""Pauses, each twice the one before, while what is due is in another store's hand."""


class ScheduleTimer:
    """Has schedules fired whenever one is due."""

    def __init__(self, engine: Engine, *, slow_poll_s: float) -> None:
        self._engine = engine
        self._slow_poll_s = slow_poll_s
        self._next_ms: int | None = None
        self._heard_ms: int | None = None
        self._changed = asyncio.Event()
        self._read_at = 0.0
        """When it is read again at the latest, were there no other stores."""
        self._last_read = 0.0
        self._missed_pause_s = 0.0

    @property
    def lag_ms(self) -> int:
        """How long ago the next planned instant was that has not been fired yet; 0 without one."""
        return 0 if self._next_ms is None else max(0, self._engine.now_ms() - self._next_ms)

    async def run(self) -> None:
        """Run until cancelled."""
        self._engine.background.on_schedules = self._hear
        self._read_at = 0.0
        loop = asyncio.get_running_loop()
        while True:
            try:
                if loop.time() >= self._reads_at():
                    await self._read(loop.time())
                if self._is_due():
                    await self._fire()
            except StorageError as error:
                log.warning("schedules_not_fired", error=str(error))
                await self._rest()
            except Exception:
                # A row that somebody has damaged, or a defect: the store has other things to do.
                log.exception("schedules_broke")
                await self._rest()
            await sleep_until(
                self._changed,
                looks_in_s=self._reads_at() - loop.time(),
                due_ms=self._next_ms,
                now_ms=self._engine.now_ms(),
            )

    def _is_due(self) -> bool:
        return self._next_ms is not None and self._next_ms <= self._engine.now_ms()

    async def _read(self, now_s: float) -> None:
        self._last_read, self._read_at = now_s, now_s + self._slow_poll_s
        # What is heard while the reading is under way may be newer than what it saw.
        self._heard_ms = None
        read_ms = await self._engine.firing.next_at_ms()
        known = [at_ms for at_ms in (read_ms, self._heard_ms) if at_ms is not None]
        self._next_ms = min(known, default=None)

    def _reads_at(self) -> float:
        if self._engine.has_neighbors:
            return min(self._read_at, self._last_read + NEIGHBORS_POLL_S)
        return self._read_at

    async def _fire(self) -> None:
        """Fire what one transaction takes, and look again: at once, or after a pause in vain."""
        fired = await self._engine.firing.fire_some()
        self._read_at = 0.0
        if fired:
            self._missed_pause_s = 0.0
            return
        doubled_s = max(2 * self._missed_pause_s, MISSED_PAUSE_S_MIN)
        self._missed_pause_s = min(doubled_s, MISSED_PAUSE_S_MAX)
        await asyncio.sleep(self._missed_pause_s)

    async def _rest(self) -> None:
        self._read_at = 0.0
        await asyncio.sleep(WALL_CLOCK_CHECK_S)

    def _hear(self, at_ms: int) -> None:
        if self._heard_ms is None or at_ms < self._heard_ms:
            self._heard_ms = at_ms
        if self._next_ms is None or at_ms < self._next_ms:
            self._next_ms = at_ms
            self._changed.set()
