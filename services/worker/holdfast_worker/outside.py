"""The outside systems that the steps of the examples stand for.

A real step calls a payment provider or a mail server. An example step calls `Outside` instead: it
takes as long as it is told to, and it can keep a journal of how often each step was entered.
"""

import time
from typing import Final, Protocol

from holdfast import Context
from holdfast.testing.attempts import AttemptsFile
from holdfast_chassis.logs import get_logger

DEPENDENCY: Final = "outside"
"""Under this name steps find their `Outside`."""

log = get_logger("holdfast_worker.outside")


class Outside(Protocol):
    """What a step may ask of the world outside."""

    def enter(self, ctx: Context, step: str) -> None:
        """Note that the body of a step begins, and take the time that its system would take."""

    def take(self, ms: int) -> None:
        """Take the time that the original example takes here."""

    def now_ms(self) -> int:
        """Read the clock: milliseconds since the epoch."""

    def tell(self, line: str) -> None:
        """Print a line for people to read, as the original examples do."""


class PretendOutside:
    """The `Outside` that ships: latencies, and a journal when there is one."""

    def __init__(
        self,
        *,
        delay_ms: int = 0,
        delay_factor: float = 1,
        attempts: AttemptsFile | None = None,
    ) -> None:
        self._delay_ms = delay_ms
        self._delay_factor = delay_factor
        self._attempts = attempts

    def enter(self, ctx: Context, step: str) -> None:
        """Write to the journal, then take the time; called on the step's own thread."""
        if self._attempts is not None:
            self._attempts.enter(ctx, step)
        if self._delay_ms:
            time.sleep(self._delay_ms / 1000)

    def take(self, ms: int) -> None:
        """Sleep so many milliseconds times the factor; called on the step's own thread."""
        time.sleep(ms * self._delay_factor / 1000)

    def now_ms(self) -> int:
        """Read the machine's clock."""
        return time.time_ns() // 1_000_000

    def tell(self, line: str) -> None:
        """Log the line."""
        log.info(line)
