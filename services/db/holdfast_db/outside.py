"""What a function touches besides the database: the warehouse, people, and a journal.

The warehouse is pretended: reserving takes as long as it is told to. The journal counts how often
each function was entered.
"""

import time
from typing import Final, Protocol

from holdfast import Context
from holdfast.testing.attempts import AttemptsFile
from holdfast_chassis.logs import get_logger

DEPENDENCY: Final = "db.outside"
"""Under this name functions find their `Outside`."""

log = get_logger("holdfast_db.outside")


class Outside(Protocol):
    """What a function may ask of the world outside."""

    def enter(self, ctx: Context, step: str) -> None:
        """Note that the body of a function begins."""

    def ask_warehouse(self) -> None:
        """Take the time that the warehouse would take."""

    def take(self, ms: int) -> None:
        """Take the time that the original example takes here."""

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
        """Write to the journal; called on the function's own thread."""
        if self._attempts is not None:
            self._attempts.enter(ctx, step)

    def ask_warehouse(self) -> None:
        """Sleep; called on the function's own thread."""
        if self._delay_ms:
            time.sleep(self._delay_ms / 1000)

    def take(self, ms: int) -> None:
        """Sleep so many milliseconds times the factor; called on the function's own thread."""
        time.sleep(ms * self._delay_factor / 1000)

    def tell(self, line: str) -> None:
        """Log the line."""
        log.info(line)
