"""The world outside in tests: an `Outside` for worker and db worker that remembers and fails."""

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass

from holdfast import Context


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry into the body of a step."""

    step: str
    id: str
    origin: str
    attempt: int
    at_s: float
    """By a clock that only goes forward."""


class World:
    """Remembers each entry and each line; lets steps fail, or hold, as a test asks.

    Steps run in threads, so everything here is guarded by one condition.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.lines: list[str] = []
        self._failures: Counter[str] = Counter()
        self._held: set[str] = set()
        self._changed = threading.Condition()

    def enter(self, ctx: Context, step: str) -> None:
        with self._changed:
            self.entries.append(
                Entry(step, ctx.id, ctx.origin_id, ctx.info.attempt, time.monotonic())
            )
            self._changed.notify_all()
            self._changed.wait_for(lambda: step not in self._held)
            if self._failures[step]:
                self._failures[step] -= 1
                raise ConnectionError(f"{step} fails, as the test asked")

    def ask_warehouse(self) -> None:
        return

    def take(self, ms: int) -> None:
        return

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def tell(self, line: str) -> None:
        with self._changed:
            self.lines.append(line)

    def fail(self, step: str, *, times: int = 1) -> None:
        """Let the next entries into a step raise an error that may be retried."""
        with self._changed:
            self._failures[step] = times

    def hold(self, step: str) -> None:
        """Keep everybody who enters a step inside until `let_go`."""
        with self._changed:
            self._held.add(step)

    def let_go(self, step: str) -> None:
        with self._changed:
            self._held.discard(step)
            self._changed.notify_all()

    async def entered(self, step: str, times: int = 1) -> None:
        """Return when a step has been entered that often."""

        def wait() -> bool:
            with self._changed:
                return self._changed.wait_for(lambda: self.times(step) >= times, timeout=60)

        assert await asyncio.to_thread(wait), f"{step} was entered {self.times(step)} times"

    def times(self, step: str) -> int:
        return sum(entry.step == step for entry in self.entries)

    def counts(self) -> dict[str, int]:
        """How often each step was entered."""
        return dict(Counter(entry.step for entry in self.entries))
