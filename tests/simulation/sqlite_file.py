"""The product's storage on a real SQLite file, whose every statement may fail.

It runs on the loop's one thread, so that a seed still repeats a run. What was committed in earnest
is kept a second time in memory: the judge looks there, and the two are compared whenever a
transaction has failed. A commit that fails may have happened or not, as the dice say.
"""

import contextlib
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Self, cast

from holdfast.core.records import Preload, Schedule
from holdfast.core.working_set import Changes
from holdfast_store.clock import Clock
from holdfast_store.db.migrate import migrate
from holdfast_store.db.session import Session
from holdfast_store.db.sqlite.storage import (
    SqliteStorage,
    SqliteTransaction,
    file_statements,
)
from holdfast_store.storage import Loaded, Plan, StorageError, Transaction
from tests.simulation.database import Database, View
from tests.simulation.failing import FailingConnection
from tests.simulation.faults import Died
from tests.simulation.judge import Stored


@cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "new.db"
        migrate(f"sqlite:///{path}")
        return path.read_bytes()


class SqliteFile:
    """What survives of a store that is alone: a file, looked at from beside."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.path = Path(self._folder.name) / "simulated.db"
        self.path.write_bytes(_migrated())
        self._statements = file_statements()
        self._reader = sqlite3.connect(self.path, isolation_level=None)
        self._session = Session(self._reader, self._statements, lambda _text: None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Take it away."""
        self._reader.close()
        self._folder.cleanup()

    def messages(self) -> dict[str, dict[str, int]]:
        """Read the messages that wait, by address."""
        found: dict[str, dict[str, int]] = {}
        for address, promise_id, at_ms in self._rows(
            "SELECT address, promise_id, enqueued_at_ms FROM outbox"
        ):
            found.setdefault(address, {})[promise_id] = at_ms
        return found

    def read(self) -> Stored:
        """Read everything."""
        ids = {row[0] for row in self._rows("SELECT id FROM promises")}
        schedules = [row[0] for row in self._rows("SELECT id FROM schedules")]
        rows = self._session.load(Plan(ids=ids, schedules=schedules), now_ms=0).working_set
        [(bound_ms,)] = self._rows(self._statements.newest)
        return Stored(
            promises={each.id: each for each in rows.promises()},
            tasks={each.id: each for each in rows.tasks()},
            callbacks={i: {each.awaiter: each for each in rows.callbacks(i)} for i in ids},
            listeners={i: dict.fromkeys(rows.listeners(i)) for i in ids},
            messages=self.messages(),
            schedules={i: cast("Schedule", rows.schedule(i)) for i in schedules},
            bound_ms=bound_ms or 0,
        )

    def _rows(self, text: str) -> list[Any]:
        return self._reader.execute(text).fetchall()


class FileView(View):
    """A store's use of the file: the product's storage, and what it is about to commit."""

    def __init__(
        self,
        database: Database,
        file: SqliteFile,
        *,
        clock: Clock,
        is_alive: Callable[[], bool],
        crash: Callable[[], None],
    ) -> None:
        storage = _Storage(file.path, clock=clock, view=self)
        super().__init__(database, rows=storage, is_alive=is_alive)
        self._storage = storage
        self.crash = crash
        self.connections: list[sqlite3.Connection] = []
        self._pending: tuple[Changes, int] | None = None

    async def open(self) -> None:
        await self._storage.open()
        self.database.compare()

    async def close(self) -> None:
        await self._storage.close()

    def die(self) -> None:
        """Be gone, as the operating system takes everything of a process that was killed."""
        while self.connections:
            connection = self.connections.pop()
            with contextlib.suppress(sqlite3.ProgrammingError):  # it was closed before
                # A cursor that somebody still holds would keep it open, and its locks.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                connection.close()
        self._storage._ownership.release()

    def fail(self) -> None:
        """Leave it to the statements."""

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        await self.call()
        try:
            async with self._storage.transaction() as inner:
                yield _Transaction(self, inner)
        except StorageError:
            self.database.compare()
            raise

    @contextlib.contextmanager
    def committing(self, changes: Changes, *, now_ms: int) -> Iterator[None]:
        """Know in this block what a commit makes stand."""
        self._pending = changes, now_ms
        try:
            yield
        finally:
            self._pending = None

    def committed(self) -> None:
        """Learn that a transaction was really committed."""
        pending, self._pending = self._pending, None
        if pending is None:
            self.database.messages_taken()
            return
        changes, now_ms = pending
        self.database.rows._rows.save(changes)
        self.database.committed(changes, now_ms=now_ms)


class _Storage(SqliteStorage):
    """The product's storage, on connections that fail."""

    def __init__(self, path: Path, *, clock: Clock, view: FileView) -> None:
        super().__init__(path, clock=clock, busy_timeout_ms=0)  # nobody else is there
        self._view = view

    def _connect(self) -> sqlite3.Connection:
        if not self._view.is_alive():
            raise Died
        connection = super()._connect()
        connection.execute("PRAGMA synchronous = OFF")  # processes die here, not machines
        self._view.connections.append(connection)
        return cast("sqlite3.Connection", FailingConnection(connection, self._view))


class _Transaction:
    """One unit of work; what it commits is known before it does."""

    def __init__(self, view: FileView, inner: SqliteTransaction) -> None:
        self._view = view
        self._inner = inner
        self._now_ms = 0

    async def load(self, plan: Plan, *, now_ms: int) -> Loaded:
        await self._view.call()
        loaded = await self._inner.load(plan, now_ms=now_ms)
        self._now_ms = loaded.now_ms
        return loaded

    async def commit(
        self, changes: Changes, *, preload_of: Sequence[str], preload_bytes_max: int
    ) -> Mapping[str, Preload]:
        await self._view.call()
        with self._view.committing(changes, now_ms=self._now_ms):
            preloads = await self._inner.commit(
                changes, preload_of=preload_of, preload_bytes_max=preload_bytes_max
            )
        await self._view.call_after_commit()
        return preloads
