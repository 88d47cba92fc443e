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

    def asks(self) -> int:
        """Answer what `hear` wants to know about a question that leaves now."""
        return self._monotonic_ns()

    def hear(self, database_ms: int, *, asked_ns: int | None = None) -> int:
        """Learn what the database's clock has said; answer the instant that it is.

        An answer that was long on its way says nothing against what is known: between the question
        and the answer the clock may have been read at any moment. Two stores, one of which is busy,
        would otherwise tell different times, and put connections into a wrong order.
        """
        read_ns = database_ms * 1_000_000
        offset_ns = read_ns - self._monotonic_ns()
        if asked_ns is not None and self._clock is not None:
            most_ns = read_ns + 1_000_000 - asked_ns
            offset_ns = min(max(self._offset_ns, offset_ns), most_ns)
        self._offset_ns = offset_ns
        if self._clock is None:
            self._clock = Clock(wall_ns=self._wall_ns, monotonic_ns=self._monotonic_ns)
        return self._clock()

    def _wall_ns(self) -> int:
        return self._offset_ns + self._monotonic_ns()
