"""How long a crashed process waits before it is started again."""

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Backoff:
    """Delays that double with each crash, and begin anew once a life was long enough.

    Seconds throughout. The first restart comes quickly, because most crashes are single ones; a
    process that cannot live must not keep the machine busy.
    """

    first: float = 0.2
    longest: float = 5.0
    forgiven_after: float = 30.0
    _next: float = 0.0

    def after(self, *, lived: float) -> float:
        """Return the delay after a life of so many seconds."""
        delay = self._next if self._next and lived < self.forgiven_after else self.first
        self._next = min(2 * delay, self.longest)
        return min(delay, self.longest)
