"""Connections to a SQLite file, all with the same rules."""

import sqlite3
from pathlib import Path
from typing import Literal

from holdfast_store.storage import StorageUnavailable

CACHE_KIB = 16_384
"""Pages that a writing connection keeps in memory."""

VERSION_MIN = (3, 34)
"""Upserts are older; this is the oldest SQLite beside which a supported Python is still found."""


def check_version() -> None:
    """Raise `StorageUnavailable` when this Python comes with a SQLite that is too old."""
    if sqlite3.sqlite_version_info < VERSION_MIN:
        needed = ".".join(map(str, VERSION_MIN))
        raise StorageUnavailable(
            f"SQLite {needed} or newer is needed, this Python has {sqlite3.sqlite_version}"
        )


def connect(
    path: Path, *, busy_timeout_ms: int, mode: Literal["rw", "ro"] = "rw"
) -> sqlite3.Connection:
    """Connect to a file that exists; the caller begins and ends each transaction."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=busy_timeout_ms / 1000,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def prepare_for_writing(connection: sqlite3.Connection) -> None:
    """Let many read beside the one who writes, which is remembered in the file."""
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StorageUnavailable(f"the file system offers no write-ahead log, only {mode}")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
