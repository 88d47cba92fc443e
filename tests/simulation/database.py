"""One database for all stores, and each store's own failing way to it."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from hashlib import sha256
from typing import Any, Protocol

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
from holdfast_store.db.postgres.clock import DatabaseClock
from holdfast_store.memory.storage import MemoryStorage, MemoryTransaction
from holdfast_store.storage import (
    Armed,
    BatchRejected,
    CommitOutcomeUnknown,
    InsertConflict,
    Loaded,
    Plan,
    Pruned,
    QueueCounts,
    Root,
    Storage,
    StorageUnavailable,
    Transaction,
    TransactionAborted,
    TreePart,
    UnreadableSchedule,
)
from holdfast_store.wakeups import EVERYTHING, Hear, News, Wakeups
from tests.simulation.faults import Faults
from tests.simulation.judge import EVERYTHING_EVERY, Judge, Stored
from tests.simulation.virtual_time import VirtualLoop


class OnFile(Protocol):
    """What is stored on a file, read from beside."""

    def messages(self) -> dict[str, dict[str, int]]:
        """Read the messages that wait, by address."""

    def read(self) -> Stored:
        """Read everything."""


class Database:
    """What survives: rows, a clock, and what stores say of themselves.

    With a file the rows are a copy of what was really committed there.
    """

    def __init__(self, loop: VirtualLoop, faults: Faults, *, file: OnFile | None = None) -> None:
        self.loop = loop
        self.faults = faults
        self.rows = MemoryStorage()
        self.judge = Judge(self.rows, is_told_in_order=file is not None)
        self.ahead_ms = 0
        """How far somebody has set its clock."""
        self._file = file
        self.said: dict[str, tuple[float, str]] = {}
        self.ways: dict[str, Way] = {}
        self._trace = sha256()

    def now_ms(self) -> int:
        """What its clock says."""
        return self.loop.now_ms + self.ahead_ms

    def committed(self, changes: Changes, *, now_ms: int) -> None:
        """Judge what is stored now, and remember in which order things happened."""
        rows = (*changes.promises_created, *changes.promises_updated)
        tasks = (*changes.tasks_created, *changes.tasks_updated)
        states = [(each.id, each.state.value) for each in rows]
        states += [(each.id, f"{each.state.value} {each.version}") for each in tasks]
        self._trace.update(f"{now_ms} {sorted(states)}\n".encode())
        self.judge.committed(changes, now_ms=now_ms)
        if self.judge.counts["commits"] % EVERYTHING_EVERY == 0:
            self.compare()

    def messages_taken(self) -> None:
        """Follow the file where messages were delivered or dropped."""
        assert self._file is not None
        left = self._file.messages()
        self.judge.messages_left(left)
        self.rows._rows.outbox.messages = left

    def compare(self) -> None:
        """Judge whether the file holds what was committed, the whole of it and nothing else."""
        if self._file is not None:
            self.judge.stored(self._file.read())

    def digest(self) -> str:
        """Tell two runs apart: the same seed must give the same."""
        return self._trace.hexdigest()[:16]


class View:
    """A store's connection to the database: the storage port, with faults at every call.

    A store that is dead gets no answer any more: `is_alive` is asked before anything is written.
    """

    def __init__(self, database: Database, *, rows: Storage, is_alive: Callable[[], bool]) -> None:
        self.database = database
        self.rows = rows
        self.is_alive = is_alive
        self._faults = database.faults
        self._rng: random.Random = database.faults.rng
        self.stands_still_until_s = 0.0

    async def open(self) -> None:
        """Connect."""

    async def close(self) -> None:
        """Disconnect."""

    def die(self) -> None:
        """Be gone together with the process."""

    async def call(self) -> None:
        """Take some time, and fail now and then."""
        stands_s = self.stands_still_until_s - self.database.loop.time()
        await asyncio.sleep(max(stands_s, self._rng.choice((0, 0, 0.000_5, 0.002, 0.01))))
        if not self.is_alive():
            await asyncio.Event().wait()  # it will be cancelled; nobody is there to go on
        self.fail()

    def fail(self) -> None:
        """Be away, now and then."""
        if self._faults.strikes("database away"):
            raise StorageUnavailable("the database is away")

    async def call_after_commit(self) -> None:
        """Take the time that the answer is on its way; what is written is written."""
        await asyncio.sleep(self._rng.choice((0, 0.000_5, 0.005)))
        if not self.is_alive():
            await asyncio.Event().wait()

    def instant(self, now_ms: int) -> int:
        """Answer the instant of a transaction; `now_ms` is the store's own clock."""
        return now_ms

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        await self.call()
        async with self.database.rows.transaction() as inner:
            yield _Transaction(self, inner)

    async def next_due_at_ms(self) -> int | None:
        await self.call()
        return await self.rows.next_due_at_ms()

    async def armed(self, *, limit: int) -> Armed:
        await self.call()
        return await self.rows.armed(limit=limit)

    async def queued_groups(self) -> frozenset[str]:
        await self.call()
        return await self.rows.queued_groups()

    async def unblock_addresses(self, scheme: str, *, behind: str, limit: int) -> Sequence[str]:
        await self.call()
        return await self.rows.unblock_addresses(scheme, behind=behind, limit=limit)

    async def lease_holders(self) -> frozenset[tuple[str, str]]:
        await self.call()
        return await self.rows.lease_holders()

    async def queue_counts(self, *, now_ms: int) -> Sequence[QueueCounts]:
        await self.call()
        return await self.rows.queue_counts(now_ms=now_ms)

    async def search_promises(
        self, search: PromiseSearch, *, now_ms: int, **more: Any
    ) -> PromisePage:
        await self.call()
        return await self.rows.search_promises(search, now_ms=now_ms, **more)

    async def search_tasks(self, search: TaskSearch, *, now_ms: int, **more: Any) -> TaskPage:
        await self.call()
        return await self.rows.search_tasks(search, now_ms=now_ms, **more)

    async def search_schedules(self, search: ScheduleSearch) -> SchedulePage:
        await self.call()
        return await self.rows.search_schedules(search)

    async def next_schedule_at_ms(self) -> int | None:
        await self.call()
        return await self.rows.next_schedule_at_ms()

    async def due_schedules(
        self, *, now_ms: int, limit: int, bytes_max: int, skip: Collection[str] = ()
    ) -> Sequence[Schedule | UnreadableSchedule]:
        await self.call()
        return await self.rows.due_schedules(
            now_ms=now_ms, limit=limit, bytes_max=bytes_max, skip=skip
        )

    async def take_unblocks(
        self, addresses: Sequence[str], *, limit: int, bytes_max: int, prefix: str = ""
    ) -> Sequence[tuple[str, Promise]]:
        await self.call()
        return await self.rows.take_unblocks(
            addresses, limit=limit, bytes_max=bytes_max, prefix=prefix
        )

    async def drop_unblocks(self, *, before_ms: int) -> int:
        await self.call()
        return await self.rows.drop_unblocks(before_ms=before_ms)

    async def file_origins(self, *, limit: int) -> bool:
        return await self.rows.file_origins(limit=limit)

    async def roots(self, *, before_ms: int, behind: tuple[int, str], limit: int) -> Sequence[Root]:
        return await self.rows.roots(before_ms=before_ms, behind=behind, limit=limit)

    async def tree_part(self, root: str, *, before_ms: int, behind: str, limit: int) -> TreePart:
        return await self.rows.tree_part(root, before_ms=before_ms, behind=behind, limit=limit)

    async def prune(
        self, roots: Sequence[str], *, before_ms: int, behind: str, limit: int
    ) -> Pruned:
        return await self.rows.prune(roots, before_ms=before_ms, behind=behind, limit=limit)

    async def ping(self) -> None:
        await self.call()

    def __getattr__(self, name: str) -> Any:
        """Pass on what the port has gained since: the rows carry it out, without faults."""
        return getattr(self.rows, name)


class _Transaction:
    """One unit of work; a store that dies before its commit has written nothing."""

    def __init__(self, view: View, inner: MemoryTransaction) -> None:
        self._view = view
        self._inner = inner
        self._faults = view.database.faults
        self._now_ms = 0

    async def load(self, plan: Plan, *, now_ms: int, **more: Any) -> Loaded:
        await self._view.call()
        if self._faults.strikes("transaction aborted"):
            raise TransactionAborted("serialization failure")
        self._now_ms = self._view.instant(now_ms)
        return await self._inner.load(plan, now_ms=self._now_ms, **more)

    async def commit(
        self, changes: Changes, *, preload_of: Sequence[str], preload_bytes_max: int, **more: Any
    ) -> Mapping[str, Preload]:
        await self._view.call()
        if changes:
            self._fail_before()
        preloads = await self._inner.commit(
            changes, preload_of=preload_of, preload_bytes_max=preload_bytes_max, **more
        )
        self._view.database.committed(changes, now_ms=self._now_ms)
        if changes and self._faults.strikes("commit outcome unknown, done"):
            raise CommitOutcomeUnknown("the connection broke behind the commit")
        await self._view.call_after_commit()
        return preloads

    def _fail_before(self) -> None:
        for kind, error in (
            ("transaction aborted", TransactionAborted),
            ("insert conflict", InsertConflict),
            ("batch rejected", BatchRejected),
            ("commit outcome unknown, not done", CommitOutcomeUnknown),
        ):
            if self._faults.strikes(kind):
                raise error(kind)


class SharedView(View):
    """The same where other stores may be: the database tells the time, and carries messages."""

    def __init__(
        self, database: Database, *, name: str, clock: DatabaseClock, is_alive: Callable[[], bool]
    ) -> None:
        super().__init__(database, rows=database.rows, is_alive=is_alive)
        self._name = name
        self._database_clock = clock

    def instant(self, now_ms: int) -> int:
        """Answer the database's time, as the store's clock takes it."""
        return self._database_clock.hear(self.database.now_ms())

    def wakeups(self) -> Wakeups:
        return Way(self.database, self._name, self.is_alive)

    async def exchange(self, groups: str) -> Sequence[str]:
        await self.call()
        now_s = self.database.loop.time()
        self.database.said[self._name] = (now_s, groups)
        others = ((n, each) for n, each in self.database.said.items() if n != self._name)
        return [told for _, (at_s, told) in others if now_s - at_s < 10]

    async def depart(self) -> None:
        await self.call()
        self.database.said.pop(self._name, None)


class Way:
    """One store's end of the messages between stores: they get lost, late or doubled."""

    def __init__(self, database: Database, name: str, is_alive: Callable[[], bool]) -> None:
        self._database = database
        self._name = name
        self._is_alive = is_alive
        self._hear: Hear | None = None
        self.is_up = False

    def tell(self, news: News) -> None:
        faults, loop = self._database.faults, self._database.loop
        for name, other in list(self._database.ways.items()):
            if name == self._name or faults.strikes("wake-up lost"):
                continue
            delay_s = 2.0 if faults.strikes("wake-up delayed") else 0.001
            for _ in range(1 + faults.strikes("wake-up doubled")):
                loop.call_later(delay_s, other.arrive, news)

    def arrive(self, news: News) -> None:
        if self._hear is not None and self._is_alive():
            self._hear(news)

    async def run(self, hear: Hear) -> None:
        self._hear, self.is_up = hear, True
        self._database.ways[self._name] = self
        try:
            hear(EVERYTHING)
            while True:
                await asyncio.sleep(5)
                self.tell(News())  # "I am here"
        finally:
            self.is_up = False
            if self._database.ways.get(self._name) is self:
                del self._database.ways[self._name]
