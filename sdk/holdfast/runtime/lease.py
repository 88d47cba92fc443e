"""What this process knows about its leases, on its own monotonic clock.

A lease runs from some instant at the store. What we may rely on is the instant at which we sent
the request that was acknowledged: the store cannot have granted it earlier. For a task that the
store pushed there is no such request; there, the last acknowledged sending before the push counts,
because the store has answered it before it made the push. A process that was stopped for a while
therefore sees an old instant, and takes the careful path, however fresh the push looks.

With the stream the lease may go: the store gives back what a process held whose stream has ended,
unless the process is back at once. What was acknowledged before a break proves nothing after it.
"""

from holdfast.clock import Clock


class LeaseClock:
    """Remembers when the newest acknowledged chain was sent, and whether the store is there."""

    __slots__ = (
        *("_clock", "_offline_since", "acknowledged_at", "breaks", "margin_s", "online"),
        "ttl_s",
    )

    def __init__(self, clock: Clock, *, ttl_s: float, margin_s: float) -> None:
        self._clock = clock
        self.ttl_s = ttl_s
        self.margin_s = margin_s
        self.online = False
        self.breaks = 0
        """How often the store was lost."""
        self.acknowledged_at = float("-inf")
        self._offline_since = clock.monotonic()

    def connected(self) -> None:
        """Learn that the store has let us in; our introduction was sent after we went offline."""
        self.online = True
        self.acknowledge(self._offline_since)

    def disconnected(self) -> None:
        """Learn that the store is gone."""
        self.online = False
        self.breaks += 1
        self._offline_since = self._clock.monotonic()

    def now(self) -> float:
        """Read the monotonic clock, in seconds."""
        return self._clock.monotonic()

    def acknowledge(self, sent_at: float) -> None:
        """Learn that a chain sent at this instant was answered."""
        self.acknowledged_at = max(self.acknowledged_at, sent_at)

    def pushed_until(self) -> float:
        """Until when the lease of a task that arrives now holds at least."""
        return self.acknowledged_at + self.ttl_s

    def is_safe(self, lease_until: float) -> bool:
        """Whether a body may start that no write has announced: far enough from the lease's end."""
        return self.online and self._clock.monotonic() < lease_until - self.margin_s
