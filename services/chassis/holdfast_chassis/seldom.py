"""Say at once what began, and then only now and then that it goes on."""

from collections.abc import Callable, Hashable
from time import monotonic
from typing import Final

SPAN_S: Final = 10.0


class Seldom:
    """Lets one of a kind through at once, and then one per span, with the number of those between.

    Kinds are remembered for good: they come from the program, never from a caller.
    """

    def __init__(self, span_s: float = SPAN_S, *, clock: Callable[[], float] = monotonic) -> None:
        """Let one through per so many seconds of a monotonic clock."""
        self._span_s = span_s
        self._clock = clock
        self._quiet_until: dict[Hashable, float] = {}
        self._left_out: dict[Hashable, int] = {}

    def due(self, kind: Hashable) -> int | None:
        """Answer how many of a kind were left out since the last one, or `None` for one more."""
        now = self._clock()
        if now < self._quiet_until.get(kind, now):
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return None
        self._quiet_until[kind] = now + self._span_s
        return self._left_out.pop(kind, 0)
