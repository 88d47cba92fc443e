"""Which step was begun where: the journal that the example workers keep when they are asked to.

Every worker appends a line before it does anything for a step. So a step that ran twice has two
lines, whatever the databases made of it.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LOOK_EVERY_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The body of a step was entered: of which step, under which promise, by which process."""

    step: str
    promise_id: str
    pid: int


class Journal:
    """Reads what the processes of one demo wrote about its one order."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def settings(self) -> Mapping[str, str]:
        """The settings that make the processes write."""
        return {
            f"HOLDFAST_{service}_ATTEMPTS_FILE": str(self._path) for service in ("WORKER", "DB")
        }

    def attempts(self) -> list[Attempt]:
        """Return all entries in the order of their writing."""
        if not self._path.exists():
            return []
        *lines, _being_written = self._path.read_text().split("\n")
        entries = map(json.loads, lines)
        return [
            Attempt(step=entry["step"], promise_id=entry["id"], pid=entry["os_pid"])
            for entry in entries
        ]

    def runs(self) -> Counter[str]:
        """Count how often each step was begun."""
        return Counter(attempt.step for attempt in self.attempts())

    async def begun(self, step: str) -> Attempt:
        """Wait until a step begins; return its first entry."""
        while True:
            for attempt in self.attempts():
                if attempt.step == step:
                    return attempt
            await asyncio.sleep(LOOK_EVERY_SECONDS)
