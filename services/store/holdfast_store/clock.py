"""The wall clock in milliseconds, never running backwards, not even across a restart.

A process that starts begins where the last one that used the database ended.
"""

import time
from collections.abc import Callable
from typing import Final, Protocol, runtime_checkable

from holdfast_chassis.logs import get_logger

log = get_logger(__name__)

TOLD_MS: Final = 2_000
"""How far the system must be behind until the log says so: small steps are nobody's concern."""


class Clock:
    """Reads the system's clock; after a step back of the system it goes on at half speed.

    Standing still instead would stop every timer until the system has caught up, and a single
    reading that was far ahead would make every new deadline a passed one.
    """

    __slots__ = ("_is_behind", "_last_ms", "_monotonic_ns", "_read_ns", "_wall_ns")

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
        self._is_behind = False

    def __call__(self) -> int:
        """Answer the current instant in milliseconds since the Unix epoch."""
        read_ns = self._monotonic_ns()
        wall_ms = self._wall_ns() // 1_000_000
        if wall_ms >= self._last_ms:
            self._last_ms = wall_ms
            self._is_behind = False
        else:
            self._tell(self._last_ms - wall_ms)
            self._last_ms += (read_ns - self._read_ns) / 2_000_000
        self._read_ns = read_ns
        return int(self._last_ms)

    def begin_at(self, newest_ms: int) -> None:
        """Go on from the newest instant that an earlier process used, if the system is behind."""
        self._last_ms, self._read_ns = max(self._last_ms, newest_ms), self._monotonic_ns()
        self()

    def _tell(self, behind_ms: float) -> None:
        """Say once that the system was set back, and not again before it has caught up."""
        if self._is_behind or behind_ms < TOLD_MS:
            return
        self._is_behind = True
        log.warning(
            "clock_set_back",
            behind_ms=int(behind_ms),
            meaning="time goes on at half speed until the clock has caught up",
        )


@runtime_checkable
class TellsTime(Protocol):
    """A storage that brings the clock of its database: it knows what instants were used there."""

    clock: Callable[[], int]


def clock_of(storage: object) -> Callable[[], int]:
    """Find the clock that a store on a storage goes by: its own, or the system's."""
    return storage.clock if isinstance(storage, TellsTime) else Clock()
