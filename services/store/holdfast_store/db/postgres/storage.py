"""Promises in PostgreSQL: any number of stores on one database.

Nobody owns anything. A batch locks the rows that it may change, in the order of their ids, and
what two stores do at once is decided by the database.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Final

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
from holdfast_store.db import queues, resetting, revisions, statements
from holdfast_store.db.dialects import Postgres
from holdfast_store.db.postgres import retention as postgres_retention
from holdfast_store.db.postgres import schema as postgres_schema
from holdfast_store.db.postgres import searches as postgres_searches
from holdfast_store.db.postgres import statements as postgres_statements
from holdfast_store.db.postgres.clock import DatabaseClock
from holdfast_store.db.postgres.connections import Bounds, Connector
from holdfast_store.db.postgres.lane import PostgresLane
from holdfast_store.db.postgres.readers import PostgresReaders
from holdfast_store.db.postgres.session import PostgresSession
from holdfast_store.db.postgres.wakeups import CHANNEL, NOTIFY, PostgresWakeups
from holdfast_store.db.search_statements import SearchStatements
from holdfast_store.replicas import FORGOTTEN_MS, LAPSED_MS
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
from holdfast_store.wakeups import EVERYTHING, written

READERS: Final = 2
"""Connections for statistics, beside the one for batches."""

DOUBT_S: Final = 20.0
"""How long a commit whose answer was lost is asked after; meanwhile no batch runs."""

DROP_MAX: Final = 10_000
"""Messages that one statement drops: all at once may take longer than a statement may."""


class PostgresStorage:
    """A database of promises on a PostgreSQL server.

    `on_statement` is called with each statement's text: once for a statement that writes many rows.
    `clock` tells the database's time, by which all stores on it answer. With `tells_time` false
    every transaction takes place at the instant that its caller names, as tests want it.
    """

    def __init__(
        self,
        url: str,
        *,
        bounds: Bounds | None = None,
        readers: int = READERS,
        tells_time: bool = True,
        doubt_s: float = DOUBT_S,
    ) -> None:
        self.on_statement: Callable[[str], None] | None = None
        self.store = uuid.uuid4().hex
        """Which store this is, to the others on the same database."""
        self.is_alone = True
        """Whether no other store is known on the database. Where there are several, each would
        seldom know what it needs, and tells the time by its own idea of the database's clock
        whenever it does not look."""
        self.clock = DatabaseClock()
        self._statements = statements.build(Postgres())
        self._locking = postgres_statements.build(Postgres())
        self._searches = SearchStatements(Postgres())
        self._connector = Connector(url, bounds=bounds or Bounds())
        self._readers_max = readers
        self._tells_time = tells_time
        self._doubt_s = doubt_s
        self._turn = asyncio.Lock()
        self._lane: PostgresLane | None = None
        self._readers: PostgresReaders | None = None

    # Opening and closing

    async def open(self) -> None:
        """Connect and check the schema; raise `SchemaMismatch` or `StorageUnavailable`."""
        assert self._lane is None, "open it once"
        lane = PostgresLane(
            self._connector,
            self._statements,
            self._locking,
            self._report,
            clock=self.clock,
            tells_time=self._tells_time,
            doubt_s=self._doubt_s,
        )
        try:
            await lane.open()
        except BaseException:
            await lane.close()
            raise
        self._lane = lane
        self._readers = PostgresReaders(
            self._connector,
            self._statements,
            self._locking,
            self._report,
            connections=self._readers_max,
        )

    async def close(self) -> None:
        """Finish the running transaction and disconnect."""
        async with self._turn:
            lane, readers = self._lane, self._readers
            self._lane = self._readers = None
            if readers is not None:
                await readers.close()
            if lane is not None:
                await lane.close()

    # Writing

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator["PostgresTransaction"]:
        """Begin; leaving without a commit rolls back. One at a time: others wait here."""
        async with self._turn:
            if self._lane is None:
                raise StorageUnavailable("the database is not open")
            transaction = PostgresTransaction(self._lane, is_alone=self.is_alone)
            try:
                yield transaction
            finally:
                if transaction.is_open:
                    await asyncio.shield(self._lane.roll_back())

    async def take_unblocks(
        self, addresses: Sequence[str], *, limit: int, bytes_max: int, prefix: str = ""
    ) -> Sequence[tuple[str, Promise]]:
        """Delete messages for these addresses, and answer their addresses and promises.

        A message that another store has in hand is waited for: it may be there still, or again.
        """

        async def take(session: PostgresSession) -> list[tuple[str, Promise]]:
            return await session.take_unblocks(
                list(addresses), limit=limit, bytes_max=bytes_max, prefix=prefix
            )

        return await self._open_readers().run_whole(take) if addresses else []

    async def drop_unblocks(self, *, before_ms: int) -> int:
        """Delete messages that nobody came for; answer how many."""

        async def drop(session: PostgresSession) -> int:
            return len(await session.fetch(self._locking.unblocks_drop, before_ms, DROP_MAX))

        dropped = last = await self._open_readers().run(drop)
        while last == DROP_MAX:
            last = await self._open_readers().run(drop)
            dropped += last
        return dropped

    # Other stores

    def wakeups(self) -> PostgresWakeups:
        """Make the way to the others; it does nothing before it runs."""
        return PostgresWakeups(self._connector, store=self.store)

    async def exchange(self, groups: str) -> Sequence[str]:
        """Say what the groups have here; answer what the other stores said that are alive.

        A store that has nothing to do hears the database's clock by this. Without it, members that
        come from another store might look as if they had been here before they were there.
        """

        async def write_and_read(session: PostgresSession) -> list[str]:
            asked_ns = self.clock.asks()
            [(database_ms,)] = await session.fetch(self._locking.replica_save, self.store, groups)
            if self._tells_time:
                self.clock.hear(database_ms, asked_ns=asked_ns)
            await session.fetch(self._locking.replicas_forget, FORGOTTEN_MS)
            found = await session.fetch(self._locking.replicas, self.store, LAPSED_MS)
            self.is_alone = not found
            if found and self._lane is not None:
                self._lane.meet_another()
            return [row[0] for row in found]

        return await self._open_readers().run(write_and_read)

    async def depart(self) -> None:
        """Take back what was said here: this store ends.

        What it had to tell and could not any more becomes a look at everything, by all others.
        """
        await self._read(NOTIFY, CHANNEL, written(self.store, 0, EVERYTHING))
        await self._read(self._locking.replica_leave, self.store)

    # Reading

    async def next_due_at_ms(self) -> int | None:
        """Answer when the next promise or task is due; `None` when nothing is armed."""
        [(at_ms,)] = await self._read(self._statements.next_due)
        return None if at_ms is None else int(at_ms)

    async def armed(self, *, limit: int) -> Armed:
        """List so many promises and so many tasks, earliest instant first, due or not."""
        promises = await self._read(self._statements.armed_promises, limit)
        tasks = await self._read(self._statements.armed_tasks, limit)
        return Armed(promises=[tuple(row) for row in promises], tasks=[tuple(row) for row in tasks])

    async def queued_groups(self) -> frozenset[str]:
        """List groups with waiting execute messages."""
        return frozenset(row[0] for row in await self._read(self._statements.queued_groups))

    async def unblock_addresses(self, scheme: str, *, behind: str, limit: int) -> Sequence[str]:
        """List addresses of a scheme that messages about settled promises wait for, in order."""
        bounds = statements.addresses_of_scheme(scheme, behind=behind)
        found = await self._read(self._statements.unblock_addresses, *bounds, limit)
        return [row[0] for row in found]

    async def lease_holders(self) -> frozenset[tuple[str, str]]:
        """List the process starts, as pid and instance, that hold leases now."""
        found = await self._read(self._statements.lease_holders)
        return frozenset((row[0], row[1]) for row in found)

    async def queue_counts(self, *, now_ms: int) -> Sequence[QueueCounts]:
        """Count work per group, in the order of their names; on one processor, and not for long."""

        async def count(session: PostgresSession) -> Sequence[QueueCounts]:
            await session.execute(
                "SET LOCAL max_parallel_workers_per_gather = 0;"
                f" SET LOCAL statement_timeout = {self._connector.bounds.count_ms}"
            )
            states = await session.fetch(self._statements.queue_states)
            due = await session.fetch(self._statements.queue_due, now_ms)
            return queues.counted(states, due)

        return await self._open_readers().run_whole(count)

    async def search_promises(
        self, search: PromiseSearch, *, now_ms: int, told: bool = False
    ) -> PromisePage:
        """List promises, as they read now by the database's clock."""

        async def look(session: PostgresSession) -> PromisePage:
            at_ms = now_ms if told else await self._instant(session, now_ms)
            return await postgres_searches.promises(session, self._searches, search, now_ms=at_ms)

        return await self._open_readers().run(look)

    async def search_tasks(
        self, search: TaskSearch, *, now_ms: int, told: bool = False
    ) -> TaskPage:
        """List tasks, as they read now by the database's clock."""

        async def look(session: PostgresSession) -> TaskPage:
            at_ms = now_ms if told else await self._instant(session, now_ms)
            return await postgres_searches.tasks(
                session, self._searches, self._statements, search, now_ms=at_ms
            )

        return await self._open_readers().run(look)

    async def search_schedules(self, search: ScheduleSearch) -> SchedulePage:
        """List schedules."""
        return await self._open_readers().run(
            lambda s: postgres_searches.schedules(s, self._searches, search)
        )

    async def next_schedule_at_ms(self) -> int | None:
        """Answer when the next schedule is due; `None` when none ever is."""
        [(at_ms,)] = await self._read(self._statements.next_schedule)
        return None if at_ms is None else int(at_ms)

    async def due_schedules(
        self, *, now_ms: int, limit: int, bytes_max: int, skip: Collection[str] = ()
    ) -> Sequence[Schedule | UnreadableSchedule]:
        """Read so many schedules that are due, the earliest first."""

        async def read(session: PostgresSession) -> list[Schedule | UnreadableSchedule]:
            due = self._statements.due_schedules
            found = await session.fetch(due, now_ms, limit + len(skip))
            ids = queues.chosen(found, limit=limit, bytes_max=bytes_max, skip=skip)
            by_id = {each.id: each for each in await session.due_schedules(ids)}
            return [by_id[each] for each in ids if each in by_id]

        return await self._open_readers().run(read)

    async def _instant(self, session: PostgresSession, now_ms: int) -> int:
        """Read the clock before anything else: what was answered before stays true."""
        if not self._tells_time:
            return now_ms
        [(database_ms,)] = await session.fetch(self._locking.clock)
        return self.clock.hear(database_ms)

    # Retention

    async def file_origins(self, *, limit: int) -> bool:
        """Note the trees of so many promises; answer whether none is left."""
        file = partial(postgres_retention.file_origins, limit=limit)
        return await self._open_readers().run_whole(file)

    async def roots(self, *, before_ms: int, behind: tuple[int, str], limit: int) -> Sequence[Root]:
        """List roots that were created before an instant, the oldest first."""
        return await self._open_readers().run(
            partial(postgres_retention.roots, before_ms=before_ms, behind=behind, limit=limit)
        )

    async def tree_part(self, root: str, *, before_ms: int, behind: str, limit: int) -> TreePart:
        """Look at so many promises of a tree."""
        return await self._open_readers().run(
            lambda s: postgres_retention.tree_part(
                s, root, before_ms=before_ms, behind=behind, limit=limit
            )
        )

    async def prune(
        self, roots: Sequence[str], *, before_ms: int, behind: str, limit: int
    ) -> Pruned:
        """Delete so many promises of trees that are over, in one transaction."""
        pruned = await self._open_readers().run_whole(
            lambda s: postgres_retention.prune(
                s, roots, before_ms=before_ms, behind=behind, limit=limit
            )
        )
        if self._lane is not None:
            self._lane.forget_children()
        return pruned

    async def reset(self) -> None:
        """Delete every record, all at once, whatever other stores do meanwhile."""

        async def clear(session: PostgresSession) -> None:
            await session.execute(resetting.lock())
            for text in resetting.statements(Postgres()):
                await session.execute(text)

        # With the turn of the batches: none of this store's own is in the midst of it.
        async with self._turn:
            await self._open_readers().run_whole(clear)
            if self._lane is not None:
                self._lane.forget_children()

    async def ping(self) -> None:
        """Answer when the database can be read, accepts writes and has the tables of this version.

        Tables may have been contracted while this store was away.
        """

        async def look(session: PostgresSession) -> bool:
            [(is_read_only,)] = await session.fetch(
                "SELECT current_setting('transaction_read_only') = 'on'"
            )
            revisions.check_current(await postgres_schema.history(session, self._statements))
            return bool(is_read_only)

        if await self._open_readers().run(look):
            raise StorageUnavailable(f"{self._connector.place} accepts no writes")

    async def _read(self, text: str, *parameters: object) -> list[Any]:
        return await self._open_readers().run(lambda session: session.fetch(text, *parameters))

    def _open_readers(self) -> PostgresReaders:
        if self._readers is None:
            raise StorageUnavailable("the database is not open")
        return self._readers

    def _report(self, text: str) -> None:
        if self.on_statement is not None:
            self.on_statement(text)


class PostgresTransaction:
    """One unit of work.

    It holds the locks of its rows from the load on, or its end makes certain of what was known.
    """

    __slots__ = ("_is_alone", "_lane", "is_open")

    def __init__(self, lane: PostgresLane, *, is_alone: bool) -> None:
        self._lane = lane
        self._is_alone = is_alone
        self.is_open = False

    async def load(self, plan: Plan, *, now_ms: int) -> Loaded:
        """Answer from what is known, or lock and read."""
        self.is_open = True
        return await self._lane.load(plan, now_ms=now_ms, is_alone=self._is_alone)

    async def commit(
        self, changes: Changes, *, preload_of: Sequence[str], preload_bytes_max: int
    ) -> Mapping[str, Preload]:
        """Write, read the children of the tasks in `preload_of`, and commit."""
        self.is_open = True
        preloads = await self._lane.commit(changes, preload_of, preload_bytes_max)
        self.is_open = False
        return preloads
