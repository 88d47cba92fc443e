"""One `holdfast dev` per data directory."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from holdfast_cli.errors import CommandFailed


@contextlib.contextmanager
def locked(data: Path) -> Iterator[int]:
    """Make a data directory and hold it; yield the descriptor that holds the lock.

    The lock belongs to the descriptor and to its copies in children: it ends with the last of
    them, however they end, so there is never a stale one. Raise CommandFailed when the directory
    cannot be had.
    """
    try:
        data.mkdir(parents=True, exist_ok=True)
        (data / ".gitignore").write_text("*\n")  # whatever repository the directory lies in
        descriptor = os.open(data / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        msg = f"The data directory {data} cannot be used: {error.strerror}."
        raise CommandFailed(msg) from error
    try:
        _lock(descriptor, data)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int, data: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        msg = (
            f"Another holdfast dev{f' (pid {holder})' if holder else ''} already runs on {data};"
            " stop it, or choose another directory with --data."
        )
        raise CommandFailed(msg) from error
