"""The way of batches to the database: one transaction after the other.

Each is either read under locks, or decided by what is known and written only if that holds.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from random import getrandbits
from typing import Final

from holdfast.core.records import Preload
from holdfast.core.working_set import Changes
from holdfast_store.db.postgres import errors as postgres_errors
from holdfast_store.db.postgres.clock import DatabaseClock
from holdfast_store.db.postgres.connections import Connector
from holdfast_store.db.postgres.known import KnownPromises, Recalled
from holdfast_store.db.postgres.saving import Saving, saving_of
from holdfast_store.db.postgres.session import Certainty, Picked, loaded
from holdfast_store.db.postgres.statements import LockingStatements
from holdfast_store.db.postgres.writer import PostgresWriter
from holdfast_store.db.statements import Statements
from holdfast_store.preloads import NO_CHILDREN, born_without_children
from holdfast_store.storage import (
    InsertConflict,
    Loaded,
    NotCertain,
    Plan,
    StorageError,
    TransactionAborted,
)

ROUNDS_MAX: Final = 4
"""Tries to lock all that a batch needs while it keeps growing."""

REVISION_BITS: Final = 63

NOTHING_PRELOADED: Final = Preload(promises=(), complete=False)

FORGOTTEN_AFTER_MS: Final = 24 * 3_600_000
"""Silence after which a writer's row is deleted; nobody is in doubt for so long."""


class PostgresLane:
    """Runs one transaction after the other.

    Invariant: when a method has raised, no transaction is open.
    """

    def __init__(
        self,
        connector: Connector,
        statements: Statements,
        locking: LockingStatements,
        report: Callable[[str], None],
        *,
        clock: DatabaseClock,
        tells_time: bool,
        doubt_s: float,
    ) -> None:
        self._statements = statements
        self._locking = locking
        self._clock = clock
        self._tells_time = tells_time
        self._known = KnownPromises()
        self._recalled: Recalled | None = None
        self._is_alone = False
        self._writer = PostgresWriter(
            connector, statements, locking, report, known=self._known, doubt_s=doubt_s
        )

    async def open(self) -> None:
        """Connect, check the schema and read the clock."""
        async with self._writer.undone_on_failure():
            session = await self._writer.current()
            # First what was used: the database's clock may have been set back since.
            [(newest_ms,)] = await session.fetch(self._statements.newest)
            self._clock.hear(newest_ms or 0)
            [(database_ms,)] = await session.fetch(self._locking.clock)
            self._clock.hear(database_ms)
            await session.fetch(self._locking.writers_forget, FORGOTTEN_AFTER_MS)

    async def close(self) -> None:
        """Disconnect; nothing depends on it."""
        await self._writer.close()

    async def load(self, plan: Plan, *, now_ms: int, is_alone: bool) -> Loaded:
        """Answer from what is known if no other store is there, or else begin, lock and read.

        When a batch turns out to need more, it is done from the beginning: locks are always taken
        in the order of ids, so what came to light is not locked on top. A second load of a
        transaction cannot begin again, and may meet another one in a circle: it raises
        `TransactionAborted` then.
        """
        tells_time = self._tells_time and not plan.told
        at_ms = None if tells_time else now_ms
        self._is_alone = is_alone
        if not is_alone:
            self.forget_children()
        elif (recalled := await self._recall(plan, at_ms)) is not None:
            return recalled
        rounds = 1 if self._writer.is_in_transaction else ROUNDS_MAX

        def now(database_ms: int) -> int:
            if not tells_time:
                return now_ms
            return self._clock.hear(database_ms, asked_ns=asked_ns)

        also: frozenset[str] = frozenset()
        for _ in range(rounds):
            asked_ns = self._clock.asks()
            async with self._writer.undone_on_failure():
                session = await self._writer.begun()
                found = await session.load(plan, at_ms=at_ms, also=also, now=now)
            if isinstance(found, Loaded):
                return found
            also |= found.ids
            await self.roll_back()
        raise TransactionAborted("what the batch must lock kept growing")

    async def _recall(self, plan: Plan, at_ms: int | None) -> Loaded | None:
        """Take what is known for granted, once in a transaction; its end makes certain of it."""
        writer, was_recalled = self._writer, self._recalled is not None
        self._recalled = None
        if was_recalled or not writer.goes_by_revisions or writer.last_batch is None:
            return None
        if writer.is_in_transaction or not self._known.may_answer(plan):
            return None
        picked = await self._find_due(plan, at_ms) if plan.due_max else Picked()
        if picked is None:
            return None
        now_ms = self._clock() if at_ms is None else at_ms
        self._recalled = self._known.recall(plan, due=picked.ids(), now_ms=now_ms, at_ms=at_ms)
        if self._recalled is None:
            return None
        return loaded(self._recalled.known, picked, now_ms=now_ms)

    async def _find_due(self, plan: Plan, at_ms: int | None) -> Picked | None:
        """Find what is due; what keeps it from that the look under locks meets as well."""
        asked_ns = self._clock.asks()
        try:
            async with self._writer.undone_on_failure():
                session = await self._writer.current()
                picked, database_ms = await session.due(plan, at_ms=at_ms)
        except StorageError:
            return None
        if at_ms is None:
            self._clock.hear(database_ms, asked_ns=asked_ns)
        return picked

    async def commit(
        self, changes: Changes, preload_of: Sequence[str], preload_bytes_max: int
    ) -> dict[str, Preload]:
        """Save, read preloads, commit."""
        try:
            return await self._commit(changes, preload_of, preload_bytes_max)
        except BaseException:
            # It may have been written for all that, and nobody will tell of the children in it.
            self.forget_children()
            raise

    def meet_another(self) -> None:
        """Learn that another store is there, which may make children that nobody tells of here."""
        self._is_alone = False
        self.forget_children()

    def forget_children(self) -> None:
        """Learn that children may have been made or deleted that nobody told of."""
        self._known.children.clear()

    def _learn_children(self, preloads: Mapping[str, Preload]) -> None:
        if self._is_alone:
            self._known.learn_children(preloads)

    async def _commit(
        self, changes: Changes, preload_of: Sequence[str], preload_bytes_max: int
    ) -> dict[str, Preload]:
        revision = getrandbits(REVISION_BITS)
        recalled, self._recalled = self._recalled, None
        async with self._writer.undone_on_failure():
            saving = saving_of(changes, self._locking, revision=revision)
        born = born_without_children(changes).intersection(preload_of)
        if recalled is None:
            preloads = await self._commit_locked(saving, preload_of, preload_bytes_max, born=born)
            self._remember(changes, revision)
            self._learn_children(preloads)
            return preloads
        try:
            await self._commit_if_certain(saving, recalled, changes, born)
        except (TransactionAborted, InsertConflict):
            self._known.failed(recalled)
            raise
        self._known.held()
        self._remember(changes, revision)
        preloads = dict.fromkeys(born, NO_CHILDREN)
        self._learn_children(preloads)
        others = [task_id for task_id in preload_of if task_id not in born]
        return preloads | await self._preload_late(others, preload_bytes_max)

    def _remember(self, changes: Changes, revision: int) -> None:
        if self._writer.goes_by_revisions:
            self._known.apply(changes, revision)

    async def _commit_locked(
        self,
        saving: Saving,
        preload_of: Sequence[str],
        preload_bytes_max: int,
        *,
        born: frozenset[str],
    ) -> dict[str, Preload]:
        number = self._writer.next_number()
        async with self._writer.undone_on_failure():
            session = await self._writer.begun()
            if saving:
                born -= await session.save(saving, writer=self._writer.id, number=number, born=born)
            others = [task_id for task_id in preload_of if task_id not in born]
            preloads = await session.preload(others, bytes_max=preload_bytes_max)
            preloads |= dict.fromkeys(born, NO_CHILDREN)
        if saving:
            await self._writer.end(session, number)
        else:
            await self.roll_back()  # of nothing, which no disk needs to hear of
        return preloads

    async def _commit_if_certain(
        self, saving: Saving, recalled: Recalled, changes: Changes, born: Collection[str]
    ) -> None:
        """Commit what was decided without a look, if that was right."""
        last_batch = self._writer.last_batch
        if last_batch is None:
            raise NotCertain("the connection broke meanwhile")
        if not recalled.absent.issubset(promise.id for promise in changes.promises_created):
            raise NotCertain("nobody knows whether what was not created exists")
        if saving.before:
            raise NotCertain("it takes more than one statement")
        certainty = Certainty(
            last_batch, recalled.revisions, born, at_ms=recalled.at_ms, now_ms=recalled.now_ms
        )
        if saving:
            await self._save_at_once(saving, certainty)
        elif recalled.revisions:
            await self._make_certain(certainty)

    async def _preload_late(self, task_ids: Sequence[str], bytes_max: int) -> dict[str, Preload]:
        """Answer the children of tasks after the commit; holders ask for what cannot be had."""
        known = {i: self._known.children.preload(i, bytes_max=bytes_max) for i in task_ids}
        preloads = {task_id: preload for task_id, preload in known.items() if preload is not None}
        others = [task_id for task_id in task_ids if task_id not in preloads]
        if not others:
            return preloads
        try:
            async with self._writer.undone_on_failure():
                session = await self._writer.current()
                read = await session.preload(others, bytes_max=bytes_max)
        except StorageError:
            return preloads | dict.fromkeys(others, NOTHING_PRELOADED)
        self._learn_children(read)
        return preloads | read

    async def _make_certain(self, certainty: Certainty) -> None:
        """Do it for what only reads: nothing is written, and no disk needs to hear of the locks."""
        async with self._writer.undone_on_failure():
            session = await self._writer.begun()
            await session.make_certain(certainty, writer=self._writer.id)
        await self.roll_back()

    async def _save_at_once(self, saving: Saving, certainty: Certainty) -> None:
        """Do it by one statement, which is a transaction by itself."""
        number = self._writer.next_number()
        asked_ns = self._clock.asks()
        try:
            session = await self._writer.current()
            database_ms = await session.save_if_certain(
                saving, certainty, writer=self._writer.id, number=number
            )
        except postgres_errors.FAILURES as error:
            if not postgres_errors.is_of_connection(error):
                raise postgres_errors.meaning_of(error) from error
            self._writer.drop()
            await self._writer.learn_outcome(number, error)
        except BaseException:
            self._writer.drop()
            raise
        else:
            self._writer.last_batch = number
            if certainty.at_ms is None:
                self._clock.hear(database_ms, asked_ns=asked_ns)

    async def roll_back(self) -> None:
        """Undo what was not committed."""
        self._recalled = None
        await self._writer.recover(None)
