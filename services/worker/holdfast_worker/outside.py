"""The outside systems that the steps of the examples stand for.

A real step calls a payment provider or a mail server. An example step calls `Outside` instead: it
takes as long as it is told to, and it can keep a journal of how often each step was entered. The
journal is what proves "ran once": it has no key, so a second run cannot hide behind a first one.

Each entry is one JSON line in a file opened with O_APPEND, written before the step does anything:
the kernel appends whole lines even when many processes share the file, and a line that was written
survives SIGKILL of its writer without being synced; syncing as well makes it survive the machine.
"""

import json
import os
import time
from pathlib import Path
from typing import Final, Protocol

from holdfast import Context
from holdfast_chassis.logs import get_logger

DEPENDENCY: Final = "outside"
"""Under this name steps find their `Outside`."""

log = get_logger("holdfast_worker.outside")


class Outside(Protocol):
    """What a step may ask of the world outside."""

    def enter(self, ctx: Context, step: str) -> None:
        """Note that the body of a step begins, and take the time that its system would take."""

    def tell(self, line: str) -> None:
        """Print a line for people to read, as the original examples do."""


class PretendOutside:
    """The `Outside` that ships: a latency, and a journal when a file is named."""

    def __init__(
        self, *, process: str, delay_ms: int = 0, attempts_file: Path | None = None
    ) -> None:
        """Open the journal; raises OSError when the file cannot be written."""
        self._process = process
        self._delay_ms = delay_ms
        self._journal: int | None = None
        if attempts_file is not None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._journal = os.open(attempts_file, flags, 0o644)

    def enter(self, ctx: Context, step: str) -> None:
        """Append one line to the journal, then take the time; called on the step's own thread."""
        if self._journal is not None:
            entry = {
                "step": step,
                "id": ctx.id,
                "origin": ctx.origin_id,
                "attempt": ctx.info.attempt,
                "process": self._process,
                "os_pid": os.getpid(),
                "at_ms": time.time_ns() // 1_000_000,
            }
            os.write(self._journal, json.dumps(entry).encode() + b"\n")
            os.fsync(self._journal)
        if self._delay_ms:
            time.sleep(self._delay_ms / 1000)

    def tell(self, line: str) -> None:
        """Log the line."""
        log.info(line)

    def close(self) -> None:
        """Close the journal."""
        if self._journal is not None:
            os.close(self._journal)
            self._journal = None
