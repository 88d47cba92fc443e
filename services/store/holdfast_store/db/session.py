"""One connection's unit of work: find, load, save, preload; synchronous, for the writer's thread.

It speaks the DB-API through `Statements`; what an error means is decided by its caller.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence

from holdfast.core.records import Callback, Preload, Promise, Schedule, Task
from holdfast.core.working_set import Changes, WorkingSet
from holdfast_store.db import rows, schedule_rows
from holdfast_store.db.revisions import History
from holdfast_store.db.rows import Row, json_text
from holdfast_store.db.sqlite.errors import is_damage
from holdfast_store.db.statements import Statements
from holdfast_store.preloads import fitting, rows_max
from holdfast_store.storage import Behind, Loaded, Plan, RowUnreadable, Turn, UnreadableSchedule

_NO_RESUMES: frozenset[str] = frozenset()


class Session:
    """Reads and writes records on one connection, within whatever transaction it is in."""

    __slots__ = ("_connection", "_on_statement", "_statements")

    def __init__(
        self,
        connection: sqlite3.Connection,
        statements: Statements,
        on_statement: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._statements = statements
        self._on_statement = on_statement

    def fetch(self, text: str, parameters: Row = ()) -> list[Row]:
        """Run one statement and answer its rows."""
        self._on_statement(text)
        return self._connection.execute(text, parameters).fetchall()

    def run(self, text: str, parameters: Row = ()) -> int:
        """Run one statement and answer how many rows it changed."""
        self._on_statement(text)
        return self._connection.execute(text, parameters).rowcount

    def run_each(self, text: str, parameters: Sequence[Row]) -> None:
        """Run one statement for each row of parameters; with none, do nothing."""
        if parameters:
            self._on_statement(text)
            self._connection.executemany(text, parameters)

    def applied_revisions(self) -> dict[str, str]:
        """List the migrations that ran, oldest first, each with the checksum of its file."""
        [(tables,)] = self.fetch(self._statements.tables_named, ("schema_revisions",))
        return dict(self.fetch(self._statements.revisions)) if tables else {}

    def history(self) -> History:
        """Tell which migrations ran, and which programs may use the tables since."""
        [(floors,)] = self.fetch(self._statements.tables_named, ("schema_floors",))
        floor = self.fetch(self._statements.floor)[0][0] if floors else None
        return History(applied=self.applied_revisions(), floor=floor)

    # Loading

    def load(self, plan: Plan, *, now_ms: int) -> Loaded:
        """Load what a plan names: always the same four statements, after those that find ids.

        Schedules take one more, where there are any in the plan.
        """
        statements = self._statements
        ids = set(plan.ids)
        if plan.pids:
            held = self._column(statements.ids_of_pids, _list(plan.pids))
            ids.update(set(held).difference(plan.skip))
        due_promises: list[str] = []
        due_tasks: list[str] = []
        if plan.due_max:
            due_promises = self._due(statements.due_promises, plan, now_ms)
            due_tasks = self._due(statements.due_tasks, plan, now_ms)
            ids.update(due_promises, due_tasks)
        queued: list[str] = []
        if plan.queued:
            queued = self._queued(plan)
        if plan.behind is not None:
            queued += self._behind(plan.behind, plan.skip)
        ids.update(queued)
        turns = self._turns(plan) if plan.turns else []
        ids.update(turn.id for turn in turns if turn.id is not None)
        return Loaded(
            working_set=self._working_set(ids, [*plan.schedules, *plan.firing]),
            now_ms=now_ms,
            due_promises=due_promises,
            due_tasks=due_tasks,
            queued=queued,
            turns=turns,
        )

    def _due(self, text: str, plan: Plan, now_ms: int) -> list[str]:
        found = self._column(text, now_ms, plan.due_max + len(plan.due_skip))
        if not plan.due_skip:
            return found
        skip = frozenset(plan.due_skip)
        return [each for each in found if each not in skip][: plan.due_max]

    def _behind(self, behind: Behind, skip: Collection[str]) -> list[str]:
        at_ms = behind.queued_at_ms
        parameters = (behind.group, at_ms, at_ms, behind.id, behind.limit + len(skip))
        found = self._column(self._statements.queued_behind, *parameters)
        return [each for each in found if each not in skip][: behind.limit]

    def _queued(self, plan: Plan) -> list[str]:
        limits = dict(plan.queued)
        most = max(limits.values()) + len(plan.skip)
        found = self.fetch(self._statements.queued_tasks, (_list(limits), most))
        queued = []
        for group, task_id in found:
            if limits[group] > 0 and task_id not in plan.skip:
                limits[group] -= 1
                queued.append(task_id)
        return queued

    def _turns(self, plan: Plan) -> list[Turn]:
        found = self.fetch(self._statements.queued_turns, (rows.turns_text(plan.turns),))
        return rows.turns_of(found, plan.skip)

    def schedules(self, ids: Sequence[str]) -> list[Schedule]:
        """Read the schedules with these ids; with none, do nothing."""
        return [schedule_rows.schedule_of(row) for row in self._schedule_rows(ids)]

    def due_schedules(self, ids: Sequence[str]) -> list[Schedule | UnreadableSchedule]:
        """Read the same; a row that is damaged must not keep the others from being read."""
        try:
            return [schedule_rows.found_due(row) for row in self._schedule_rows(ids)]
        except sqlite3.OperationalError as error:  # of text that is none, which fails them all
            if not is_damage(error):
                raise
            if len(ids) == 1:
                return [schedule_rows.unreadable(ids[0], at_ms=0, error=error)]
            return [found for each in ids for found in self.due_schedules([each])]

    def _schedule_rows(self, ids: Sequence[str]) -> Sequence[rows.Row]:
        return self.fetch(self._statements.schedules, (_list(ids),)) if ids else []

    def _working_set(self, ids: set[str], schedule_ids: Sequence[str]) -> WorkingSet:
        statements = self._statements
        of_ids = _list(ids)
        callbacks = [
            Callback(awaited=awaited, awaiter=awaiter, wait_version=wait_version)
            for awaited, awaiter, wait_version in self.fetch(statements.callbacks, (of_ids,))
        ]
        everyone = ids.union(callback.awaiter for callback in callbacks) if callbacks else ids
        try:
            promises, tasks = self._records(everyone)
        except (sqlite3.OperationalError, *rows.DAMAGE) as error:
            if not is_damage(error):
                raise
            culprit = self._unreadable(list(everyone))
            awaited = (c.awaited for c in callbacks if c.awaiter == culprit)
            raise RowUnreadable(culprit, needed_by={culprit, *awaited}, error=error) from error
        return WorkingSet(
            promises=promises,
            tasks=tasks,
            callbacks=callbacks,
            listeners=self.fetch(statements.listeners, (of_ids,)),
            schedules=self.schedules(schedule_ids),
        )

    def _records(self, ids: Collection[str]) -> tuple[list[Promise], list[Task]]:
        """Read promises and their tasks."""
        of_ids = _list(ids)
        woken_by: dict[str, set[str]] = {}
        for task_id, awaited in self.fetch(self._statements.resumes, (of_ids,)):
            woken_by.setdefault(task_id, set()).add(awaited)
        promises: list[Promise] = []
        tasks: list[Task] = []
        width = rows.PROMISE_WIDTH
        for row in self.fetch(self._statements.records, (of_ids,)):
            promises.append(rows.promise_of(row[:width]))
            if row[width] is not None:
                resumes = woken_by.get(row[0])
                tasks.append(
                    rows.task_of(
                        row[0],
                        row[width:],
                        _NO_RESUMES if resumes is None else frozenset(resumes),
                    )
                )
        return promises, tasks

    def _unreadable(self, ids: Sequence[str]) -> str:
        """Find one of several rows that cannot be read, by halves: the driver does not name it."""
        while len(ids) > 1:
            half = ids[: len(ids) // 2]
            try:
                self._records(half)
            except (sqlite3.OperationalError, *rows.DAMAGE):
                ids = half
            else:
                ids = ids[len(half) :]
        return ids[0]

    def promises_in_order(self, ids: Sequence[str]) -> list[Promise]:
        """Read the promises with these ids, in their order; one that does not exist is left out."""
        found = self._promises(ids)
        return [found[promise_id] for promise_id in ids if promise_id in found]

    def _column(self, text: str, *parameters: object) -> list[str]:
        return [row[0] for row in self.fetch(text, parameters)]

    # Saving

    def insert(self, changes: Changes) -> None:
        """Write the promises, tasks and schedules that the batch found absent."""
        statements = self._statements
        self.run_each(
            statements.promise_insert, [rows.promise_inserted(p) for p in changes.promises_created]
        )
        self.run_each(statements.task_insert, rows.tasks_inserted(changes))
        self.run_each(
            statements.schedule_insert,
            [schedule_rows.schedule_inserted(s) for s in changes.schedules_created],
        )

    def save(self, changes: Changes) -> None:
        """Write everything else; rows that others refer to come before those that refer."""
        statements = self._statements
        run_each = self.run_each
        run_each(
            statements.promise_update, [rows.promise_updated(p) for p in changes.promises_updated]
        )
        run_each(statements.task_update, [rows.task_updated(t) for t in changes.tasks_updated])
        run_each(statements.callback_delete, changes.callbacks_removed)
        run_each(
            statements.callback_save,
            [(c.awaited, c.awaiter, c.wait_version) for c in changes.callbacks_saved],
        )
        run_each(statements.listeners_delete, [(key,) for key in changes.listeners_cleared])
        run_each(statements.listener_save, changes.listeners_added)
        run_each(statements.resumes_delete, [(key,) for key in changes.resumes_cleared])
        run_each(statements.resume_insert, changes.resumes_added)
        run_each(
            statements.unblock_save,
            [(u.address, u.promise_id, u.enqueued_at_ms) for u in changes.unblocks],
        )
        run_each(
            statements.schedule_update,
            [schedule_rows.schedule_updated(s) for s in changes.schedules_updated],
        )
        run_each(statements.schedule_delete, [(key,) for key in changes.schedules_deleted])

    def preload(self, task_ids: Sequence[str], *, bytes_max: int) -> dict[str, Preload]:
        """Read the children of tasks, as far as the byte bound goes.

        Two statements: sizes first, so that no payload beyond the bound is ever read. One that
        does both costs ten times as much for a small tree.
        """
        if not task_ids:
            return {}
        bound = rows_max(bytes_max)
        sizes: dict[str, dict[str, int]] = {task_id: {} for task_id in task_ids}
        parameters = (_list(sizes), bound, bound)
        for task_id, child, counted_bytes in self.fetch(self._statements.children, parameters):
            sizes[task_id][child] = counted_bytes
        for task_id, children in sizes.items():
            children.pop(task_id, None)
        within = {task_id: fitting(children, bytes_max) for task_id, children in sizes.items()}
        wanted = {child for children in within.values() for child in children}
        promises = self._promises(wanted) if wanted else {}
        return {
            task_id: Preload(
                promises=tuple(promises[child] for child in children),
                complete=len(children) == len(sizes[task_id]),
            )
            for task_id, children in within.items()
        }

    def _promises(self, ids: Iterable[str]) -> dict[str, Promise]:
        found = self.fetch(self._statements.promises, (_list(ids),))
        return {row[0]: rows.promise_of(row) for row in found}


def _list(ids: Iterable[str]) -> str:
    """Many ids as one parameter."""
    return json_text(list(ids))
