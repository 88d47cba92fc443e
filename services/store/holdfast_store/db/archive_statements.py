"""Statements over whole tables, portable like those of batches, which they are kept apart from.

Each reads its table from end to end in the order of its key, by the key's own index, so that no
database sorts or holds more than it hands out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from holdfast_store.db import archive_rows as archived
from holdfast_store.db.dialects import Dialect
from holdfast_store.db.schedule_rows import SCHEDULE
from holdfast_store.db.statements import NOTHING
from holdfast_store.db.tables import (
    callbacks,
    listeners,
    outbox,
    promises,
    resumes,
    schedules,
    tasks,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveStatements:
    """Texts for a driver; columns as `archive_rows` names them, parameters as said here."""

    promises: str
    promises_lean: str
    """The same with the first byte of each payload at most."""
    tasks: str
    callbacks: str
    listeners: str
    unblocks: str
    schedules: str
    find_promises: str
    """ids → promises with the first byte of each payload at most, and empty headers."""
    find_tasks: str
    """ids → tasks."""
    find_tags: str
    """ids → id and tags of promises."""
    find_carriers: str
    """ids → those with a callback or a listener."""
    find_waits: str
    """ids → callbacks of these awaiters."""
    callback_insert: str
    listener_insert: str
    unblock_insert: str
    schedule_insert: str
    lost_resumes: str
    """limit → task id and awaited id of so many whose task is not there."""
    any_row: str
    """→ 1 for each table that holds anything."""


def build(dialect: Dialect) -> ArchiveStatements:
    """Compile all statements for one database."""

    def text(statement: sa.Executable, *parameters: str, columns: Sequence[str] = ()) -> str:
        compiled, names = dialect.compile(statement, columns)
        expected = tuple(dict.fromkeys(parameters)) if dialect.names_parameters else parameters
        assert names == expected, f"{names} are not {expected} in {compiled}"
        return compiled

    def insert(table: sa.Table, columns: Sequence[str]) -> str:
        return text(sa.insert(table), *columns, columns=columns)

    return ArchiveStatements(
        promises=text(_whole(promises, archived.PROMISE)),
        promises_lean=text(_lean(_first_bytes()).order_by(promises.c.id)),
        tasks=text(_whole(tasks, archived.TASK)),
        callbacks=text(_whole(callbacks, archived.CALLBACK)),
        listeners=text(_whole(listeners, archived.LISTENER)),
        unblocks=text(_whole(outbox, archived.UNBLOCK)),
        schedules=text(_whole(schedules, SCHEDULE)),
        find_promises=text(
            _lean(_first_bytes() | _no_headers()).where(dialect.among(promises.c.id, "ids")), "ids"
        ),
        find_tasks=text(
            _columns(tasks, archived.TASK).where(dialect.among(tasks.c.id, "ids")), "ids"
        ),
        find_tags=text(
            sa.select(promises.c.id, promises.c.tags).where(dialect.among(promises.c.id, "ids")),
            "ids",
        ),
        find_carriers=text(_carriers().where(dialect.among(promises.c.id, "ids")), "ids"),
        find_waits=text(
            _columns(callbacks, archived.CALLBACK).where(dialect.among(callbacks.c.awaiter, "ids")),
            "ids",
        ),
        callback_insert=insert(callbacks, archived.CALLBACK),
        listener_insert=insert(listeners, archived.LISTENER),
        unblock_insert=insert(outbox, archived.UNBLOCK),
        schedule_insert=insert(schedules, SCHEDULE),
        lost_resumes=text(_lost_resumes(), "limit"),
        any_row=text(_any_row()),
    )


def _columns(table: sa.Table, names: Sequence[str]) -> sa.Select[Any]:
    return sa.select(*(table.c[name] for name in names))


def _whole(table: sa.Table, names: Sequence[str]) -> sa.Select[Any]:
    return _columns(table, names).order_by(*table.primary_key.columns)


def _lean(instead: Mapping[str, sa.ColumnElement[Any]]) -> sa.Select[Any]:
    return sa.select(
        *(
            instead[name].label(name) if name in instead else promises.c[name]
            for name in archived.PROMISE
        )
    )


def _first_bytes() -> dict[str, sa.ColumnElement[Any]]:
    one: sa.ColumnElement[int] = sa.literal_column("1")
    # SQLite makes nothing of a part of an empty payload, and nothing is not the same.
    return {
        name: sa.case(
            (sa.func.length(promises.c[name]) == NOTHING, promises.c[name]),
            else_=sa.func.substr(promises.c[name], one, one),
        )
        for name in ("param_data", "value_data")
    }


def _no_headers() -> dict[str, sa.ColumnElement[Any]]:
    none: sa.ColumnElement[str] = sa.literal_column("'{}'")
    return {
        name: sa.case((promises.c[name].is_not(None), none))
        for name in ("param_headers", "value_headers")
    }


def _carriers() -> sa.Select[Any]:
    """Ask for each promise by itself: one may have a million obligations."""
    has_callback = sa.exists().where(callbacks.c.awaited == promises.c.id)
    has_listener = sa.exists().where(listeners.c.promise_id == promises.c.id)
    return sa.select(promises.c.id).where(sa.or_(has_callback, has_listener))


def _lost_resumes() -> sa.Select[Any]:
    return (
        sa.select(resumes.c.task_id, resumes.c.awaited)
        .where(~sa.exists().where(tasks.c.id == resumes.c.task_id))
        .order_by(resumes.c.task_id, resumes.c.awaited)
        .limit(sa.bindparam("limit"))
        .offset(NOTHING)
    )


def _any_row() -> sa.CompoundSelect[Any]:
    one: sa.ColumnElement[int] = sa.literal_column("1")
    return sa.union_all(
        *(
            sa.select(one).where(sa.exists(sa.select(one).select_from(table)))
            for table in (promises, tasks, callbacks, listeners, resumes, outbox, schedules)
        )
    )
