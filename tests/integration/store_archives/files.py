"""Database files made and broken by hand, and looked at row by row."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from holdfast.core.checks.snapshot import State
from holdfast_store.archives.port import Listener
from holdfast_store.db import archive_rows, rows
from holdfast_store.db.archive_statements import build
from holdfast_store.db.dialects import Sqlite
from holdfast_store.db.migrate import migrate
from holdfast_store.db.schedule_rows import schedule_inserted
from holdfast_store.db.statements import build as build_batches

BATCHES = build_batches(Sqlite())
WHOLE = build(Sqlite())


def url_of(path: Path) -> str:
    """Name a file as the settings do."""
    return f"sqlite:///{path}"


def migrated(path: Path) -> Path:
    """Make an empty database file."""
    migrate(url_of(path))
    execute(path, "PRAGMA journal_mode = WAL")  # as the first store does that opens it
    return path


def execute(path: Path, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements that keep no rule, as a person with a shell would; answer the last one's."""
    found: list[tuple[Any, ...]] = []
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        for statement in statements:
            found = connection.execute(statement).fetchall()
    return found


def write(path: Path, state: State) -> None:
    """Write a state that may break every rule but the uniqueness of keys."""
    with closing(sqlite3.connect(path)) as connection, connection:
        many = connection.executemany
        many(BATCHES.promise_insert, map(rows.promise_inserted, state.promises.values()))
        many(BATCHES.task_insert, map(rows.task_inserted, state.tasks.values()))
        for task in state.tasks.values():
            many(BATCHES.resume_insert, [(task.id, awaited) for awaited in task.resumes])
        callbacks = state.callbacks.values()
        many(WHOLE.callback_insert, map(archive_rows.callback_inserted, callbacks))
        listeners = [Listener(promise_id=i, address=address) for i, address in state.listeners]
        many(WHOLE.listener_insert, map(archive_rows.listener_inserted, listeners))
        many(WHOLE.unblock_insert, map(archive_rows.unblock_inserted, state.unblocks.values()))
        many(WHOLE.schedule_insert, map(schedule_inserted, state.schedules.values()))


def tables_of(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Answer every row of every table, with every column."""
    names = execute(path, "SELECT name FROM sqlite_master WHERE type = 'table'")
    return {name: sorted(execute(path, f'SELECT * FROM "{name}"'), key=repr) for (name,) in names}
