"""Whole rows to records, with everything wrong that a damaged row may hold, and back.

Batches trust their rows, as nothing but the store writes them. Whoever looks at a database as a
whole may meet one that somebody has edited, and must say so instead of breaking.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from holdfast.core.checks.snapshot import Violation
from holdfast.core.records import Callback, Promise, Schedule, Task, Unblock
from holdfast_store.archives.port import (
    CONTRADICTED,
    UNREADABLE,
    Chunk,
    Listener,
    Record,
)
from holdfast_store.db import rows, tables
from holdfast_store.db.rows import Row
from holdfast_store.db.schedule_rows import SCHEDULE

R = TypeVar("R")

PROMISE = (*rows.PROMISE_COLUMNS, *rows.PROMISE_DERIVED)
TASK = rows.TASK_ROW
CALLBACK = ("awaited", "awaiter", "wait_version")
LISTENER = ("promise_id", "address")
UNBLOCK = ("address", "promise_id", "enqueued_at_ms")


class _Unreadable(Exception):
    """A sentence about a cell."""


class Shape(Generic[R]):
    """What the rows of one kind look like: types of their cells, and which of them are derived.

    `derived` answers, for a record, the cells at the end of its row that follow from the others.
    """

    def __init__(
        self,
        table: sa.Table,
        columns: Sequence[str],
        *,
        derived: Callable[[R], Row] = lambda _record: (),
        filled_in_later: frozenset[str] = frozenset(),
    ) -> None:
        self._table = table.name
        self._columns = [table.c[name] for name in columns]
        self._key = [columns.index(column.name) for column in table.primary_key.columns]
        self._derived = derived
        self._filled_in_later = filled_in_later

    def chunk(self, found: Iterable[Row], record_of: Callable[[Row], R]) -> Chunk[R]:
        """Turn rows into records; what cannot be one, or contradicts itself, is a violation."""
        records: list[R] = []
        flaws: list[Violation] = []
        for row in found:
            try:
                self._check_types(row)
                record = record_of(row)
            except (_Unreadable, KeyError, ValueError, TypeError) as error:
                flaws.append(self._violation(row, UNREADABLE, "a row can be read", str(error)))
                continue
            records.append(record)
            for column, right in self._contradictions(row, record):
                found_ = f"{column} should be {right!r}"
                flaws.append(
                    self._violation(row, CONTRADICTED, "the indexes agree with the rows", found_)
                )
        return Chunk(records=records, flaws=flaws)

    def _check_types(self, row: Row) -> None:
        for column, cell in zip(self._columns, row, strict=True):
            if cell is None:
                if not column.nullable:
                    raise _Unreadable(f"{column.name} is empty")
            elif isinstance(column.type, sa.Boolean):
                if cell not in (0, 1):
                    raise _Unreadable(f"{column.name} is neither true nor false")
            elif type(cell) is not column.type.python_type:
                raise _Unreadable(f"{column.name} holds {type(cell).__name__}")

    def _contradictions(self, row: Row, record: R) -> Iterable[tuple[str, object]]:
        derived = self._derived(record)
        stored = row[len(row) - len(derived) :]
        if stored != derived:
            names = [column.name for column in self._columns[len(row) - len(derived) :]]
            for name, cell, right in zip(names, stored, derived, strict=True):
                if cell != right and not (cell is None and name in self._filled_in_later):
                    yield name, right

    def _violation(self, row: Row, rule: str, meaning: str, found: str) -> Violation:
        key = " ".join(str(row[index]) for index in self._key)
        return Violation(rule=rule, meaning=meaning, subject=key, found=f"{self._table}: {found}")


PROMISES: Shape[Promise] = Shape(
    tables.promises,
    PROMISE,
    derived=rows.promise_derived,
    filled_in_later=frozenset({"origin"}),  # by retention, where an older store wrote the row
)
TASKS: Shape[Task] = Shape(tables.tasks, TASK, derived=rows.task_derived)
CALLBACKS: Shape[Callback] = Shape(tables.callbacks, CALLBACK)
LISTENERS: Shape[Listener] = Shape(tables.listeners, LISTENER)
UNBLOCKS: Shape[Unblock] = Shape(tables.outbox, UNBLOCK)
SCHEDULES: Shape[Schedule] = Shape(
    tables.schedules, SCHEDULE, derived=lambda schedule: (schedule.due_at_ms,)
)


# Rows to records


def promise_of(row: Row) -> Promise:
    """Read a promise."""
    return rows.promise_of(row[: rows.PROMISE_WIDTH])


def task_reader(woken_by: Mapping[str, Collection[str]]) -> Callable[[Row], Task]:
    """Make what reads a task, with the resumes that each has."""
    end = 1 + len(rows.TASK_COLUMNS)
    return lambda row: rows.task_of(row[0], row[1:end], frozenset(woken_by.get(row[0], ())))


def callback_of(row: Row) -> Callback:
    """Read an obligation to a task."""
    awaited, awaiter, wait_version = row
    return Callback(awaited=awaited, awaiter=awaiter, wait_version=wait_version)


def listener_of(row: Row) -> Listener:
    """Read an obligation to an address."""
    promise_id, address = row
    return Listener(promise_id=promise_id, address=address)


def unblock_of(row: Row) -> Unblock:
    """Read a message."""
    address, promise_id, enqueued_at_ms = row
    return Unblock(promise_id=promise_id, address=address, enqueued_at_ms=enqueued_at_ms)


# Records to rows


def tasks_inserted(alike: Sequence[Record], tags: Iterable[Sequence[Any]]) -> list[Row]:
    """Answer the values of `TASK_INSERT`; the tags come by the ids of the tasks' promises."""
    texts = {promise_id: rows.texts_of(text) for promise_id, text in tags}
    return [rows.task_inserted(t, texts.get(t.id, {})) for t in alike if isinstance(t, Task)]


def callback_inserted(callback: Callback) -> Row:
    """Answer the values of `CALLBACK`."""
    return (callback.awaited, callback.awaiter, callback.wait_version)


def listener_inserted(listener: Listener) -> Row:
    """Answer the values of `LISTENER`."""
    return (listener.promise_id, listener.address)


def unblock_inserted(unblock: Unblock) -> Row:
    """Answer the values of `UNBLOCK`."""
    return (unblock.address, unblock.promise_id, unblock.enqueued_at_ms)
