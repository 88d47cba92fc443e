"""The wall clock in milliseconds, never running backwards within a process."""

import time
from collections.abc import Callable


class Clock:
    """Reads the system's clock; after a step back of the system it goes on at half speed.

    Standing still instead would stop every timer until the system has caught up, and a single
    reading that was far ahead would make every new deadline a passed one.
    """

    __slots__ = ("_last_ms", "_monotonic_ns", "_read_ns", "_wall_ns")

    def __init__(
        self,
        *,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._last_ms = 0.0
        self._read_ns = monotonic_ns()

    def __call__(self) -> int:
        """Answer the current instant in milliseconds since the Unix epoch."""
        read_ns = self._monotonic_ns()
        slowed_ms = self._last_ms + (read_ns - self._read_ns) / 2_000_000
        wall_ms = self._wall_ns() // 1_000_000
        self._last_ms = wall_ms if wall_ms >= self._last_ms else slowed_ms
        self._read_ns = read_ns
        return int(self._last_ms)
