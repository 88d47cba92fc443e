"""The database's clock, as one process knows it."""

import time
from collections.abc import Callable

from holdfast_store.clock import Clock


class DatabaseClock:
    """Tells the database's time between the statements that read it.

    All replicas answer by this one clock, so that they cannot contradict each other. It never runs
    backwards within a process, not even when another machine with a slower clock takes over.
    """

    def __init__(self, *, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._monotonic_ns = monotonic_ns
        self._offset_ns = time.time_ns() - monotonic_ns()
        self._clock: Clock | None = None

    def __call__(self) -> int:
        """Answer the current instant in milliseconds since the Unix epoch.

        It is a little behind the database, by the time that the last reading was on its way: what
        is due here is due there.
        """
        if self._clock is None:
            # Not connected yet: this machine's own time, which nothing must hold on to.
            return (self._offset_ns + self._monotonic_ns()) // 1_000_000
        return self._clock()

    def hear(self, database_ms: int) -> int:
        """Learn what the database's clock says at this moment; answer the instant that it is."""
        self._offset_ns = database_ms * 1_000_000 - self._monotonic_ns()
        if self._clock is None:
            self._clock = Clock(wall_ns=self._wall_ns, monotonic_ns=self._monotonic_ns)
        return self._clock()

    def _wall_ns(self) -> int:
        return self._offset_ns + self._monotonic_ns()
