"""A journal of the bodies of steps that were entered: what proves that a step ran once.

It has no key, so that a second run cannot hide behind a first one; and it is no table, so that no
transaction that fails takes an entry with it. Steps write to it themselves, before they do anything
else.
"""

import json
import os
import time
from pathlib import Path

from holdfast.context import Context


class AttemptsFile:
    """One JSON line for each body that was entered, in a file that many processes may share.

    The file is opened with O_APPEND: the kernel appends whole lines even then. A line that was
    written survives SIGKILL of its writer without being synced; syncing as well makes it survive
    the machine.
    """

    def __init__(self, path: Path, *, process: str) -> None:
        """Open the file; raises OSError when it cannot be written. Each line names the process."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._file: int | None = os.open(path, flags, 0o644)
        self._process = process

    def enter(self, ctx: Context, step: str) -> None:
        """Append a line; called on the step's own thread."""
        assert self._file is not None, "entered before it is closed"
        entry = {
            "step": step,
            "id": ctx.id,
            "origin": ctx.origin_id,
            "attempt": ctx.info.attempt,
            "process": self._process,
            "os_pid": os.getpid(),
            "at_ms": time.time_ns() // 1_000_000,
        }
        os.write(self._file, json.dumps(entry).encode() + b"\n")
        os.fsync(self._file)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
