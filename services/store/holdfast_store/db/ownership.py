"""One owner per file: a SQLite store may not be opened by a second process.

Two engines on one file would not lose a write, since SQLite lets one write at a time; but neither
would hear of work that the other made due. The operating system ends the ownership together with
the process, however it dies.
"""

import os
import sys
import time
from pathlib import Path

from holdfast_store.storage import StorageUnavailable

RETRY_S = 0.05


class Ownership:
    """An exclusive claim on a database file, held until it is released."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}-owner")
        self._descriptor: int | None = None

    def claim(self, *, patience_s: float) -> None:
        """Take the claim, waiting for an owner that is about to leave; blocks.

        Raises `StorageUnavailable` when another process keeps the file for longer. On Windows,
        which lacks such locks, nothing is claimed.
        """
        if sys.platform == "win32":
            return
        import fcntl  # noqa: PLC0415 - not everywhere

        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StorageUnavailable(f"the file {self._path} cannot be written: {error}") from error
        deadline = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(descriptor)
                    raise StorageUnavailable(
                        "another process has the database open; a SQLite store has one owner"
                    ) from None
                time.sleep(RETRY_S)
            else:
                self._descriptor = descriptor
                return

    def release(self) -> None:
        """Give the claim up; the file of the claim stays."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
