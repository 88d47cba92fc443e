"""A clock that stands still until a test turns it."""

import asyncio
import time


class FakeClock:
    """Wakes sleepers in order when `advance` passes their instant.

    Starts at the present, so that deadlines computed with it make sense to a store with a clock
    of its own.
    """

    def __init__(self) -> None:
        self._start_ms = time.time_ns() // 1_000_000
        self._elapsed_s = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self.slept: list[float] = []
        """Every sleep that was asked for, in seconds."""
        self._asleep = asyncio.Event()

    def now_ms(self) -> int:
        """Read the wall clock."""
        return self._start_ms + int(self._elapsed_s * 1000)

    def monotonic(self) -> float:
        """Read the monotonic clock."""
        return self._elapsed_s

    async def sleep(self, seconds: float) -> None:
        """Sleep until a test has advanced the clock that far."""
        self.slept.append(seconds)
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._elapsed_s + seconds, gate))
        self._asleep.set()
        await gate

    async def someone_sleeps(self) -> None:
        """Return when somebody waits for this clock."""
        while not any(not gate.done() for _, gate in self._sleepers):
            self._asleep.clear()
            await self._asleep.wait()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._elapsed_s += seconds
        due = sorted((s for s in self._sleepers if s[0] <= self._elapsed_s), key=lambda s: s[0])
        self._sleepers = [s for s in self._sleepers if s[0] > self._elapsed_s]
        for _, gate in due:
            if not gate.done():
                gate.set_result(None)
