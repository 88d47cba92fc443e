"""One connection's unit of work on PostgreSQL: lock, find, load, save, preload.

It runs within a transaction that its caller begins and ends; what an error means is decided there.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from holdfast.core.ids import end_of
from holdfast.core.records import Preload, Promise, PromiseState, Schedule
from holdfast.core.working_set import WorkingSet
from holdfast_store.db import rows, schedule_rows
from holdfast_store.db.postgres import reading
from holdfast_store.db.postgres.array_texts import array_text
from holdfast_store.db.postgres.known import Known, KnownPromises, working_set_of
from holdfast_store.db.postgres.saving import Part, Saving, joined
from holdfast_store.db.postgres.statements import LockingStatements
from holdfast_store.db.rows import Row
from holdfast_store.db.statements import Statements
from holdfast_store.preloads import first_within, fitting, rows_max
from holdfast_store.storage import Loaded, Plan, Turn, UnreadableSchedule

_FRONT = (-1, "")
"""A place before all others in a queue."""


@dataclass(frozen=True, slots=True)
class Certainty:
    """What must hold for something to be written that was decided without a look."""

    last_batch: int
    """The writer's: whatever it has sent since did not come so far, and must not any more."""
    revisions: Mapping[str, int]
    born: Collection[str]
    """New promises that nobody may have named beforehand."""
    at_ms: int | None
    """The instant up to which deadlines count; none: the database's own."""
    now_ms: int
    """The instant of the decision: no deadline may have passed since, and by the database's clock
    it must not be long ago."""

    def parameters(self, writer: str) -> list[object]:
        """Answer what the statement wants to know."""
        known, revisions = array_text([*self.revisions]), array_text([*self.revisions.values()])
        of_known = [len(self.revisions), self.now_ms, self.at_ms, known, revisions]
        decided_ms = self.now_ms if self.at_ms is None else None
        return [writer, self.last_batch, *of_known, array_text([*self.born]), decided_ms]


@dataclass(frozen=True, slots=True)
class Grown:
    """Rows that a batch turned out to need while somebody else has them."""

    ids: frozenset[str]


@dataclass(slots=True)
class Picked:
    """What the clock and the queues add to a batch; nobody else has it."""

    due_promises: list[str] = field(default_factory=list)
    awaited: list[str] = field(default_factory=list)
    due_tasks: list[str] = field(default_factory=list)
    queued: list[str] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    passed_by: frozenset[str] = frozenset()
    schedules: list[Schedule] = field(default_factory=list)

    def ids(self) -> set[str]:
        """List all promises that were picked."""
        in_turn = (turn.id for turn in self.turns if turn.id is not None)
        return {*self.due_promises, *self.due_tasks, *self.queued, *in_turn}


class PostgresSession:
    """Reads and writes records on one connection."""

    __slots__ = ("_connection", "_known", "_locking", "_report", "_statements")

    def __init__(
        self,
        connection: asyncpg.Connection,
        statements: Statements,
        locking: LockingStatements,
        report: Callable[[str], None],
        *,
        known: KnownPromises | None = None,
    ) -> None:
        self._connection = connection
        self._known = known
        self._statements = statements
        self._locking = locking
        self._report = report

    async def fetch(self, text: str, *parameters: object) -> list[Any]:
        """Run one statement and answer its rows."""
        self._report(text)
        found: list[Any] = await self._connection.fetch(text, *parameters)
        return found

    async def execute(self, text: str) -> str:
        """Run one statement without parameters and answer what the server calls it."""
        self._report(text)
        tag: str = await self._connection.execute(text)
        return tag

    async def run_each(self, text: str, parameters: Sequence[Row]) -> None:
        """Run one statement for all rows of parameters at once; with none, do nothing."""
        if parameters:
            await self.fetch(text, *Part(text, parameters).parameters)

    async def _column(self, text: str, *parameters: object) -> list[str]:
        return [row[0] for row in await self.fetch(text, *parameters)]

    # Loading

    async def load(
        self, plan: Plan, *, at_ms: int | None, also: Collection[str], now: Callable[[int], int]
    ) -> Loaded | Grown:
        """Lock what a plan names, then read it; `also` are awaiters that are known to be needed.

        `at_ms` is the instant by which things are due, or `None` for the database's own; `now`
        turns the database's clock into the instant of the transaction.
        """
        ids = set(plan.ids)
        if plan.pids:
            held = await self._column(self._statements.ids_of_pids, list(plan.pids))
            ids.update(set(held).difference(plan.skip))
        locked: set[str] = set()
        locked_at_ms: int | None = None
        if ids or also:
            found = await self.fetch(self._locking.lock, list(ids.union(also)))
            locked_at_ms = found[0][1]
            locked.update(row[0] for row in found if row[0] is not None)
        picked = await self._pick(plan, at_ms)
        locked |= picked.ids()
        if plan.schedules or plan.firing:
            # Behind the promises, wherever both are locked, so that nobody waits in a circle.
            picked.schedules = await self._lock_schedules(plan)
            locked_at_ms = None  # what was created meanwhile must not lie in the future
        if locked_at_ms is not None and not locked:
            # Nothing of what is asked for exists, so there is nothing that anybody could have
            # changed between the locks and the clock: whoever creates it meanwhile is in our way.
            return loaded((), picked, now_ms=now(locked_at_ms))
        ids |= picked.ids()
        if picked.awaited:
            locked.update(await self._column(self._locking.lock_awaiters, picked.awaited))
        found = await self.fetch(self._locking.records, list(ids))
        open_ = _unlocked(found, locked)
        if open_ and not picked.awaited:
            # Awaiters of what was picked, or of a callback younger than the locks. They are not
            # waited for: whoever has them may wait for what is locked here.
            locked.update(await self._column(self._locking.lock_free, list(open_)))
            found = await self.fetch(self._locking.records, list(ids))
            open_ = _unlocked(found, locked)
        if open_:
            return Grown(frozenset(open_))
        return loaded(self._read(found), picked, now_ms=now(found[0][-1]))

    def _read(self, found: Sequence[Any]) -> list[Known]:
        """Read the rows, and learn what they say of those that were asked for."""
        read = reading.read(found)
        if self._known is not None:
            for known, is_whole in read:
                if is_whole:
                    self._known.learn(known)
                else:
                    self._known.compare(known)
        return [known for known, _ in read]

    async def due(self, plan: Plan, *, at_ms: int | None) -> tuple[Picked, int]:
        """Find what is due, as in `load`, and answer by which instant; what is found is not locked.

        Whether it is somebody else's already the end of the transaction says.
        """
        most, skip = plan.due_max, frozenset(plan.due_skip)
        found = await self.fetch(self._locking.due, at_ms, most + len(skip))
        there = [row for row in found if row[1] is not None and row[1] not in skip]
        promises = [promise_id for is_task, promise_id, _ in there if not is_task]
        tasks = [task_id for is_task, task_id, _ in there if is_task]
        return Picked(due_promises=promises[:most], due_tasks=tasks[:most]), found[0][-1]

    async def _due(self, text: str, plan: Plan, at_ms: int | None) -> list[Any]:
        skip = frozenset(plan.due_skip)
        found = await self.fetch(text, at_ms, plan.due_max + len(skip))
        return [row for row in found if row[0] not in skip][: plan.due_max]

    async def _pick(self, plan: Plan, at_ms: int | None) -> Picked:
        locking = self._locking
        picked = Picked()
        if plan.due_max:
            promises = await self._due(locking.due_promises, plan, at_ms)
            picked.due_promises = [row[0] for row in promises]
            picked.awaited = [promise_id for promise_id, is_awaited in promises if is_awaited]
            picked.due_tasks = [row[0] for row in await self._due(locking.due_tasks, plan, at_ms)]
        ends: list[tuple[str, int, str, int]] = []
        if plan.queued:
            limits = dict(plan.queued)
            most = max(limits.values()) + len(plan.skip)
            found = await self.fetch(locking.queued_tasks, list(limits), most)
            skipped = Counter(group for group, task_id in found if task_id in plan.skip)
            for group, task_id in found:
                if limits[group] > 0 and task_id not in plan.skip:
                    limits[group] -= 1
                    picked.queued.append(task_id)
            ends += [
                (group, *_FRONT, plan.queued[group] - left + skipped[group] + 1)
                for group, left in limits.items()
                if left > 0
            ]
        if plan.behind is not None:
            behind = plan.behind
            place, most = (behind.group, behind.queued_at_ms, behind.id), behind.limit
            further = await self._column(locking.queued_behind, *place, most + len(plan.skip))
            wanted = [each for each in further if each not in plan.skip][:most]
            picked.queued += wanted
            if len(wanted) < most:
                ends.append((*place, len(further) + 1))
        if ends:
            # It looks like the end of a queue. What another replica has locked looks the same.
            longer = await self._column(locking.queued_longer, *zip(*ends, strict=True))
            picked.passed_by = frozenset(longer)
        if plan.turns:
            found = await self.fetch(locking.queued_turns, rows.turns_text(plan.turns))
            picked.turns = rows.turns_of(found, plan.skip)
        return picked

    async def _lock_schedules(self, plan: Plan) -> list[Schedule]:
        """Wait for those that somebody asks for; of those that are due, leave others theirs."""
        found = []
        if plan.schedules:
            found += await self.fetch(self._locking.schedules_lock, sorted(plan.schedules))
        if plan.firing:
            found += await self.fetch(self._locking.schedules_lock_free, sorted(plan.firing))
        return [schedule_rows.schedule_of(row) for row in found]

    async def schedules(self, ids: Sequence[str]) -> list[Schedule]:
        """Read the schedules with these ids."""
        found = await self.fetch(self._statements.schedules, list(ids))
        return [schedule_rows.schedule_of(row) for row in found]

    async def due_schedules(self, ids: Sequence[str]) -> list[Schedule | UnreadableSchedule]:
        """Read the same; a row that is damaged must not keep the others from being read."""
        found = await self.fetch(self._statements.schedules, list(ids))
        return [schedule_rows.found_due(row) for row in found]

    async def promises_in_order(self, ids: Sequence[str]) -> list[Promise]:
        """Read the promises with these ids, in their order; one that does not exist is left out."""
        found = await self._promises(ids)
        return [found[promise_id] for promise_id in ids if promise_id in found]

    async def take_unblocks(
        self, addresses: list[str], *, limit: int, bytes_max: int, prefix: str
    ) -> list[tuple[str, Promise]]:
        """Delete messages, and answer their addresses and promises; until there are none."""
        bounds = (prefix, end_of(prefix))
        while found := await self.fetch(self._locking.unblocks_lock, addresses, *bounds, limit):
            taken = found[: first_within([row[3] or 0 for row in found], bytes_max)]
            keys = [(row[0], row[1]) for row in taken]
            await self.run_each(self._locking.unblocks_delete, keys)
            promises = await self._promises({key for _, key in keys})
            by_age = sorted(taken, key=lambda row: (row[2], row[1], row[0]))
            there = [(row[0], promises[row[1]]) for row in by_age if row[1] in promises]
            if there:
                return there
        return []

    async def _promises(self, ids: Iterable[str]) -> dict[str, Promise]:
        found = await self.fetch(self._statements.promises, list(ids))
        return {row[0]: rows.promise_of(row) for row in found}

    # Saving

    async def save(
        self, saving: Saving, *, writer: str, number: int, born: Collection[str]
    ) -> frozenset[str]:
        """Write all, and the writer's mark; answer which of those `born` in it have children."""
        for part in saving.before:
            await self.fetch(part.text, *part.parameters)
        written = [*saving.texts, self._locking.mark]
        parameters = [*saving.parameters, writer, number]
        if not born:
            await self.fetch(joined(tuple(written)), *parameters)
            return frozenset()
        text = joined((*written, self._locking.with_children))
        return frozenset(await self._column(text, *parameters, array_text([*born])))

    async def save_if_certain(
        self, saving: Saving, certainty: Certainty, *, writer: str, number: int
    ) -> int:
        """Write the same if that holds, by one statement, and answer the database's clock.

        Otherwise the statement fails with `NOT_CERTAIN`. Nothing may have to be deleted before.
        """
        text = joined((*saving.texts, self._locking.mark, self._locking.certain))
        parameters = [*saving.parameters, writer, number, *certainty.parameters(writer)]
        [(_, database_ms)] = await self.fetch(text, *parameters)
        return int(database_ms)

    async def make_certain(self, certainty: Certainty, *, writer: str) -> None:
        """Fail with `NOT_CERTAIN` unless that holds, and keep it so until the transaction ends."""
        await self.fetch(self._locking.certain, *certainty.parameters(writer))

    async def preload(self, task_ids: Sequence[str], *, bytes_max: int) -> dict[str, Preload]:
        """Read the children of tasks, as far as the byte bound goes: sizes first."""
        if not task_ids:
            return {}
        sizes: dict[str, dict[str, int]] = {task_id: {} for task_id in task_ids}
        children = await self.fetch(self._statements.children, list(sizes), rows_max(bytes_max))
        for task_id, child, counted_bytes in children:
            sizes[task_id][child] = counted_bytes
        for task_id, of_task in sizes.items():
            of_task.pop(task_id, None)
        within = {task_id: fitting(of_task, bytes_max) for task_id, of_task in sizes.items()}
        wanted = {child for of_task in within.values() for child in of_task}
        promises = await self._promises(wanted) if wanted else {}
        return {
            task_id: Preload(
                promises=tuple(promises[child] for child in of_task),
                complete=len(of_task) == len(sizes[task_id]),
            )
            for task_id, of_task in within.items()
        }


# From rows to a working set


def _unlocked(found: Sequence[Any], locked: Collection[str]) -> set[str]:
    return {row[0] for row in found if row[0] is not None and row[0] not in locked}


def loaded(found: Iterable[Known], picked: Picked, *, now_ms: int) -> Loaded:
    """Answer a plan by what is known of the promises that it names, and by what was picked."""
    working_set = working_set_of(found, schedules=picked.schedules)
    return Loaded(
        working_set=working_set,
        now_ms=now_ms,
        due_promises=[i for i in picked.due_promises if _is_due_promise(working_set, i, now_ms)],
        due_tasks=[i for i in picked.due_tasks if _is_due_task(working_set, i, now_ms)],
        queued=[i for i in picked.queued if _is_queued(working_set, i)],
        turns=picked.turns,
        passed_by=picked.passed_by,
    )


# What was picked was locked a moment after it was found: another batch may have been quicker.


def _is_due_promise(working_set: WorkingSet, promise_id: str, now_ms: int) -> bool:
    promise = working_set.promise(promise_id)
    return (
        promise is not None
        and promise.armed
        and promise.state is PromiseState.PENDING
        and promise.timeout_at_ms <= now_ms
    )


def _is_due_task(working_set: WorkingSet, task_id: str, now_ms: int) -> bool:
    task = working_set.task(task_id)
    return task is not None and task.due_at_ms is not None and task.due_at_ms <= now_ms


def _is_queued(working_set: WorkingSet, task_id: str) -> bool:
    task = working_set.task(task_id)
    return task is not None and task.queued_at_ms is not None
