"""Debug mode (§6): tests run the clock, look at everything that is stored, and delete it.

Only a store that was started with debug on has one. It begins with its background steps paused,
whether or not anybody asks for that: tests use instants in the seventies of the last century, and
a sweep by the wall clock would end everything that they have made.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, TypeVar

from holdfast.core.requests import PromiseGet
from holdfast.core.stored import StoredState
from holdfast_chassis.logs import get_logger
from holdfast_store.archives.port import Chunk, Records
from holdfast_store.engine import Engine
from holdfast_store.firing import FiringRefused
from holdfast_store.gate import Gate
from holdfast_store.storage import Storage, StorageUnavailable, TransactionAborted

R = TypeVar("R")

log = get_logger(__name__)

MARK: Final = "debug.start"
"""Id of a promise that is asked for only to learn that the batch before it is over."""

BUSY_PAUSE_S: Final = 0.01
BUSY_S_MAX: Final = 5.0
"""How long a tick waits for due rows that another store has in hand at this moment."""

RESET_ATTEMPTS_MAX: Final = 8


class Debug:
    """The debug operations of one store process.

    Invariant: while the gate is closed nothing is swept but by `tick`.
    """

    def __init__(
        self,
        engine: Engine,
        storage: Storage,
        *,
        snapshot: Callable[[], AbstractAsyncContextManager[Records]],
    ) -> None:
        """Put it together with the parts of a store, and pause; `snapshot` reads all at once."""
        self._engine = engine
        self._storage = storage
        self.snapshot = snapshot
        self.gate = Gate()
        """Holds the loops that go by the clock; whoever starts them keeps them behind it."""
        self._turn = asyncio.Lock()
        self._resetting: asyncio.Future[None] | None = None
        engine.background.is_resting = True

    async def start(self) -> None:
        """Pause what goes by the clock; when this returns, nothing of it is under way."""
        self._engine.background.is_resting = True
        await self.gate.close()
        # A sweep may be on its way already. Batches go one after the other, so that it is over
        # when whatever was asked after it has its answer, be that a refusal.
        await self._engine.apply(PromiseGet(id=MARK))
        log.info("debug_paused")

    def stop(self) -> None:
        """Let the clock make things due again."""
        self._engine.background.is_resting = False
        self.gate.open()
        log.info("debug_resumed")

    async def tick(self, at_ms: int) -> None:
        """Run everything due at an instant, in bounded transactions, until nothing is due.

        Raises a `StorageError` when it could not be done; what was done stands, and the same tick
        again does the rest.
        """
        async with self._turn:
            busy_until = asyncio.get_running_loop().time() + BUSY_S_MAX
            while await self._do_all(at_ms):
                if asyncio.get_running_loop().time() >= busy_until:
                    raise StorageUnavailable("rows that are due are in use: tick again")
                await asyncio.sleep(BUSY_PAUSE_S)

    async def _do_all(self, at_ms: int) -> bool:
        """Do all until nothing is found; answer whether something is due that another store has.

        What schedules create comes last (§3.8), and may be due itself.
        """
        is_busy = await self._sweep_all(at_ms)
        while await self._engine.firing.fire_due(at_ms=at_ms):
            is_busy = await self._sweep_all(at_ms)
        next_ms = await self._storage.next_schedule_at_ms()
        if is_busy or next_ms is None or next_ms > at_ms:
            return is_busy
        flaw = await self._engine.firing.flaw_at(at_ms)
        if flaw is not None:
            raise FiringRefused(f"schedules that are due cannot be fired: {flaw}")
        return True

    async def _sweep_all(self, at_ms: int) -> bool:
        before: list[str] = []
        while (due := await self._sweep(at_ms)) != before:
            before = due
        if due:
            return False  # It stays due whatever is done, as a dispatch at the end of time is.
        next_ms = await self._storage.next_due_at_ms()
        return next_ms is not None and next_ms <= at_ms

    async def _sweep(self, at_ms: int) -> list[str]:
        found = (await self._engine.sweep_at(at_ms)).loaded
        return [*found.due_promises, *found.due_tasks]

    async def reset(self) -> None:
        """Delete everything that is stored, and what is remembered of it; members stay."""
        # A caller that goes away meanwhile must not keep the memory from following the database.
        self._resetting = asyncio.ensure_future(self._reset())
        await asyncio.shield(self._resetting)

    async def _reset(self) -> None:
        async with self._turn:
            for attempts_left in reversed(range(RESET_ATTEMPTS_MAX)):
                try:
                    await self._storage.reset()
                    break
                except TransactionAborted:  # another store was in the way
                    if not attempts_left:
                        raise
            # Before anybody else has a turn: what is remembered must not outlive the records.
            self._engine.forget()
        log.debug("debug_reset")

    async def snap(self) -> StoredState:
        """Read the stored state whole, as it is at one moment."""
        async with self.snapshot() as records:
            return StoredState.of(
                promises=await _all(records.promises(payloads=True)),
                tasks=await _all(records.tasks()),
                callbacks=await _all(records.callbacks()),
                listeners=[(li.promise_id, li.address) for li in await _all(records.listeners())],
                unblocks=await _all(records.unblocks()),
                schedules=await _all(records.schedules()),
            )


async def _all(chunks: AsyncIterator[Chunk[R]]) -> list[R]:
    return [record async for chunk in chunks for record in chunk.records]
