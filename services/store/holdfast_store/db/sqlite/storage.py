"""Promises in a SQLite file: one thread writes, a few read.

A transaction is two visits to the writer's thread at most: begin and load, then save and commit.
SQLite has one writer at a time in any case; `BEGIN IMMEDIATE` takes its place before the first
read, so that what was loaded cannot change before it is saved.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from holdfast.core.records import Preload, Promise, Schedule
from holdfast.core.search import (
    PromisePage,
    PromiseSearch,
    SchedulePage,
    ScheduleSearch,
    TaskPage,
    TaskSearch,
)
from holdfast.core.working_set import Changes
from holdfast_store.clock import Clock
from holdfast_store.db import queues, resetting
from holdfast_store.db.dialects import Sqlite
from holdfast_store.db.errors import SchemaBehind
from holdfast_store.db.ownership import Ownership
from holdfast_store.db.search_statements import SearchStatements
from holdfast_store.db.session import Session
from holdfast_store.db.sqlite import retention as sqlite_retention
from holdfast_store.db.sqlite import searches as sqlite_searches
from holdfast_store.db.sqlite.connections import check_version, connect
from holdfast_store.db.sqlite.readers import Readers
from holdfast_store.db.sqlite.writer import Writer
from holdfast_store.db.statements import Statements, addresses_of_scheme, build
from holdfast_store.storage import (
    Armed,
    Loaded,
    Plan,
    Pruned,
    QueueCounts,
    Root,
    StorageUnavailable,
    TreePart,
    UnreadableSchedule,
)

P = ParamSpec("P")
R = TypeVar("R")

READERS = 2
"""Threads for statistics; batches never wait for them."""

BUSY_TIMEOUT_MS = 5_000
"""How long a statement waits for another process that writes to the file."""


@cache
def file_statements() -> Statements:
    """Compile the statements once for all files."""
    return build(Sqlite())


class SqliteStorage:
    """A database of promises in one file, for one process.

    `on_statement` is called with each statement's text, on the thread that runs it: once for a
    statement that runs for many rows. `clock` begins where the last process ended that used the
    file.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        busy_timeout_ms: int = BUSY_TIMEOUT_MS,
        readers: int = READERS,
        clock: Clock | None = None,
    ) -> None:
        self.on_statement: Callable[[str], None] | None = None
        self.clock = clock or Clock()
        self._path = Path(path)
        self._busy_timeout_ms = busy_timeout_ms
        self._readers_max = readers
        self._statements = file_statements()
        self._searches = SearchStatements(Sqlite())
        self._turn = asyncio.Lock()
        self._writer = Writer(self._connect, self._statements, self._report)
        self._ownership = Ownership(self._path)
        self._thread: ThreadPoolExecutor | None = None
        self._readers: Readers | None = None

    # Opening and closing

    async def open(self) -> None:
        """Connect and check the schema; raise `SchemaMismatch` or `StorageUnavailable`."""
        assert self._thread is None, "open it once"
        check_version()
        if not self._path.exists():
            raise SchemaBehind(f"there is no file {self._path}: run `holdfast-store migrate`")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-writer")
        self._readers = Readers(
            self._connect, self._statements, self._report, threads=self._readers_max
        )
        try:
            patience_s = self._busy_timeout_ms / 1000
            await self.on_writer(self._ownership.claim, patience_s=patience_s)
            self.clock.begin_at(await self.on_writer(self._writer.open))
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish the running transaction, write everything into the file, and disconnect."""
        async with self._turn:
            thread, readers = self._thread, self._readers
            if thread is None or readers is None:
                return
            self._readers = None
            try:
                # The writer goes last, so that it finds nobody else in the write-ahead log.
                await self.on_writer(readers.close)
                await self.on_writer(self._writer.close)
            finally:
                self._ownership.release()
                self._thread = None
                thread.shutdown(wait=False)

    # Writing

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator["SqliteTransaction"]:
        """Begin; leaving without a commit rolls back. One at a time: others wait here."""
        async with self._turn:
            transaction = SqliteTransaction(self, self._writer)
            try:
                yield transaction
            finally:
                if transaction.is_open:
                    await asyncio.shield(self.on_writer(self._writer.roll_back))

    async def take_unblocks(
        self, addresses: Sequence[str], *, limit: int, bytes_max: int, prefix: str = ""
    ) -> Sequence[tuple[str, Promise]]:
        """Delete messages for these addresses, and answer their addresses and promises."""
        if not addresses:
            return []
        async with self._turn:
            take = partial(self._writer.take_unblocks, prefix=prefix)
            return await self.on_writer(take, addresses, limit, bytes_max)

    async def drop_unblocks(self, *, before_ms: int) -> int:
        """Delete messages that nobody came for; answer how many."""
        async with self._turn:
            return await self.on_writer(self._writer.drop_unblocks, before_ms)

    async def on_writer(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a call on the writer's thread; only for whoever has the turn."""
        if self._thread is None:
            raise StorageUnavailable("the database is not open")
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, partial(call, *args, **kwargs)
        )

    # Reading

    async def next_due_at_ms(self) -> int | None:
        """Answer when the next promise or task is due; `None` when nothing is armed."""
        return await self._on_reader(lambda s: queues.next_due_at_ms(s, self._statements))

    async def armed(self, *, limit: int) -> Armed:
        """List so many promises and so many tasks, earliest instant first, due or not."""
        return await self._on_reader(lambda s: queues.armed(s, self._statements, limit=limit))

    async def queued_groups(self) -> frozenset[str]:
        """List groups with waiting execute messages."""
        return await self._on_reader(lambda s: queues.queued_groups(s, self._statements))

    async def unblock_addresses(self, scheme: str, *, behind: str, limit: int) -> Sequence[str]:
        """List addresses of a scheme that messages about settled promises wait for, in order."""
        wanted = (*addresses_of_scheme(scheme, behind=behind), limit)
        text = self._statements.unblock_addresses
        return await self._on_reader(lambda s: [row[0] for row in s.fetch(text, wanted)])

    async def lease_holders(self) -> frozenset[tuple[str, str]]:
        """List the process starts, as pid and instance, that hold leases now."""
        return await self._on_reader(lambda s: queues.lease_holders(s, self._statements))

    async def queue_counts(self, *, now_ms: int) -> Sequence[QueueCounts]:
        """Count work per group, in the order of their names."""
        return await self._on_reader(
            lambda s: queues.queue_counts(s, self._statements, now_ms=now_ms)
        )

    async def search_promises(
        self,
        search: PromiseSearch,
        *,
        now_ms: int,
        told: bool = False,  # noqa: ARG002 - a file has no clock of its own
    ) -> PromisePage:
        """List promises, as they read now."""
        return await self._on_reader(
            lambda s: sqlite_searches.promises(s, self._searches, search, now_ms=now_ms)
        )

    async def search_tasks(
        self,
        search: TaskSearch,
        *,
        now_ms: int,
        told: bool = False,  # noqa: ARG002 - a file has no clock of its own
    ) -> TaskPage:
        """List tasks, as they read now."""
        return await self._on_reader(
            lambda s: sqlite_searches.tasks(
                s, self._searches, self._statements, search, now_ms=now_ms
            )
        )

    async def search_schedules(self, search: ScheduleSearch) -> SchedulePage:
        """List schedules."""
        return await self._on_reader(lambda s: sqlite_searches.schedules(s, self._searches, search))

    async def next_schedule_at_ms(self) -> int | None:
        """Answer when the next schedule is due; `None` when none ever is."""
        return await self._on_reader(lambda s: queues.next_schedule_at_ms(s, self._statements))

    async def due_schedules(
        self, *, now_ms: int, limit: int, bytes_max: int, skip: Collection[str] = ()
    ) -> Sequence[Schedule | UnreadableSchedule]:
        """Read so many schedules that are due, the earliest first."""
        return await self._on_reader(
            lambda s: queues.due_schedules(
                s, self._statements, now_ms=now_ms, limit=limit, bytes_max=bytes_max, skip=skip
            )
        )

    # Retention

    async def file_origins(self, *, limit: int) -> bool:
        """Note the trees of so many promises; answer whether none is left."""
        return await self._whole(partial(sqlite_retention.file_origins, limit=limit))

    async def roots(self, *, before_ms: int, behind: tuple[int, str], limit: int) -> Sequence[Root]:
        """List roots that were created before an instant, the oldest first."""
        return await self._on_reader(
            lambda s: sqlite_retention.roots(s, before_ms=before_ms, behind=behind, limit=limit)
        )

    async def tree_part(self, root: str, *, before_ms: int, behind: str, limit: int) -> TreePart:
        """Look at so many promises of a tree."""
        return await self._on_reader(
            lambda s: sqlite_retention.tree_part(
                s, root, before_ms=before_ms, behind=behind, limit=limit
            )
        )

    async def prune(
        self, roots: Sequence[str], *, before_ms: int, behind: str, limit: int
    ) -> Pruned:
        """Delete so many promises of trees that are over, in one transaction."""
        return await self._whole(
            lambda s: sqlite_retention.prune(
                s, roots, before_ms=before_ms, behind=behind, limit=limit
            )
        )

    async def _whole(self, work: Callable[[Session], R]) -> R:
        async with self._turn:
            return await self.on_writer(self._writer.whole, work)

    async def reset(self) -> None:
        """Delete every record, all at once."""

        def clear(session: Session) -> None:
            for text in resetting.statements(Sqlite()):
                session.run(text)

        await self._whole(clear)

    async def ping(self) -> None:
        """Read from the file."""
        await self._on_reader(Session.applied_revisions)

    async def _on_reader(self, read: Callable[[Session], R]) -> R:
        if self._readers is None:
            raise StorageUnavailable("the database is not open")
        return await self._readers.run(read)

    # Connections

    def _connect(self) -> sqlite3.Connection:
        return connect(self._path, busy_timeout_ms=self._busy_timeout_ms)

    def _report(self, text: str) -> None:
        if self.on_statement is not None:
            self.on_statement(text)


class SqliteTransaction:
    """One unit of work; holds SQLite's write lock from the first load on."""

    __slots__ = ("_storage", "_writer", "is_open")

    def __init__(self, storage: SqliteStorage, writer: Writer) -> None:
        self._storage = storage
        self._writer = writer
        self.is_open = False

    async def load(self, plan: Plan, *, now_ms: int) -> Loaded:
        """Take the write lock, unless it is held already, and read."""
        self.is_open = True
        return await self._storage.on_writer(self._writer.load, plan, now_ms)

    async def commit(
        self, changes: Changes, *, preload_of: Sequence[str], preload_bytes_max: int
    ) -> Mapping[str, Preload]:
        """Write, read the children of the tasks in `preload_of`, and commit."""
        self.is_open = True
        preloads = await self._storage.on_writer(
            self._writer.commit, changes, preload_of, preload_bytes_max
        )
        self.is_open = False
        return preloads
