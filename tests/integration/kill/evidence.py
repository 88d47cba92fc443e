"""What is left after a run: entered bodies, the application's books, the store's own file."""

import asyncio
import json
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core.checks.snapshot import State
from holdfast.core.invariants import check_state
from holdfast.core.records import Task
from holdfast_store.db.sqlite.storage import SqliteStorage
from holdfast_store.storage import Plan, Storage


@dataclass(frozen=True, slots=True)
class Attempt:
    """A body was entered."""

    step: str
    promise_id: str
    os_pid: int


class Attempts:
    """The journal that worker and db worker append to. It has no key: a second run is a line."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def of(self, origin: str) -> list[Attempt]:
        """Every entry of a run, in order."""
        if not self.file.exists():
            return []
        entries = map(json.loads, self.file.read_text().splitlines())
        return [
            Attempt(entry["step"], entry["id"], entry["os_pid"])
            for entry in entries
            if entry["origin"] == origin
        ]

    def times(self, origin: str, promise_id: str) -> int:
        """How often the body of one step was entered."""
        return sum(attempt.promise_id == promise_id for attempt in self.of(origin))


class Books:
    """The application database."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.url = f"sqlite:///{file}"

    def charges(self, order_id: str) -> list[tuple[str, int]]:
        """Charges of an order, with their totals."""
        return self._rows("SELECT charge_id, total_cents FROM charges WHERE order_id = ?", order_id)

    def reservations(self, order_id: str) -> list[tuple[int]]:
        """Reservations of an order."""
        return self._rows("SELECT items FROM reservations WHERE order_id = ?", order_id)

    def results(self, job_id: str) -> list[Any]:
        """Saved results of a job."""
        rows = self._rows("SELECT result FROM results WHERE job_id = ?", job_id)
        return [json.loads(result) for (result,) in rows]

    def _rows(self, statement: str, key: str) -> list[Any]:
        with closing(sqlite3.connect(self._file, timeout=30)) as connection:
            return connection.execute(statement, (key,)).fetchall()


class StoreFile:
    """The store's database, looked at from beside while the store runs, or after it died."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.url = f"sqlite:///{file}"

    def states(self, origin: str) -> dict[str, str]:
        """State of each promise of a tree."""
        return dict(self._tree("SELECT id, state FROM promises", origin))

    def versions(self, origin: str) -> dict[str, int]:
        """Version of each task of a tree."""
        return dict(self._tree("SELECT id, version FROM tasks", origin))

    def task(self, task_id: str) -> tuple[str, int, str | None, int | None] | None:
        """State, version, pid and end of the lease of a task."""
        with closing(sqlite3.connect(self._file, timeout=30)) as connection:
            row: tuple[str, int, str | None, int | None] | None = connection.execute(
                "SELECT state, version, pid, lease_at_ms FROM tasks WHERE id = ?", (task_id,)
            ).fetchone()
        return row

    def tree(self, origin: str) -> list[tuple[Any, ...]]:
        """Every stored column of a tree's promises and tasks, to be compared."""
        promises = self._tree("SELECT id, * FROM promises", origin)
        return [*promises, *self._tree("SELECT id, * FROM tasks", origin)]

    def _tree(self, select: str, origin: str) -> list[tuple[Any, ...]]:
        where = "WHERE id = :origin OR substr(id, 1, length(:origin) + 1) = :origin || '.'"
        with closing(sqlite3.connect(self._file, timeout=30)) as connection:
            rows = connection.execute(f"{select} {where} ORDER BY id", {"origin": origin})
            return rows.fetchall()

    def after_death(self) -> "Remains":
        """Judge what a killed store has left, on a copy: looking must not tidy the file up."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / self._file.name
            for suffix in ("", "-wal"):
                part = self._file.with_name(self._file.name + suffix)
                if part.exists():
                    shutil.copy(part, copy.with_name(copy.name + suffix))
            with closing(sqlite3.connect(copy)) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
                ids = [row[0] for row in connection.execute("SELECT id FROM promises")]
            state = asyncio.run(_load(copy, ids))
        return Remains(state)


class Remains:
    """Everything that was stored at one moment."""

    def __init__(self, state: State) -> None:
        self._state = state

    def states(self) -> Mapping[str, str]:
        """State of each promise."""
        return {promise.id: str(promise.state) for promise in self._state.promises.values()}

    def tasks(self) -> Mapping[str, Task]:
        """Every task."""
        return self._state.tasks

    def assert_sound(self) -> None:
        """Every batch is there as a whole or not at all: half of one would break an invariant."""
        now_ms = time.time_ns() // 1_000_000
        assert check_state(self._state, now_ms=now_ms) == []


async def _load(file: Path, ids: list[str]) -> State:
    storage: Storage = SqliteStorage(file)
    await storage.open()
    try:
        async with storage.transaction() as transaction:
            loaded = await transaction.load(Plan(ids=set(ids)), now_ms=0)
        rows = loaded.working_set
        return State.of(
            promises=rows.promises(),
            tasks=rows.tasks(),
            callbacks=[c for i in ids for c in rows.callbacks(i)],
            listeners=[(i, address) for i in ids for address in rows.listeners(i)],
        )
    finally:
        await storage.close()
