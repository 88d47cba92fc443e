"""Statements that only a database with row locks and arrays can be given.

A batch first locks every promise that it may change, in the order of ids; the lock of a promise
stands for its task, callbacks, listeners and resumes too. Whatever it picks by itself is locked
without waiting, so that a batch never waits out of order, and nobody for nobody in a circle. All
rows of a kind are written by one statement, out of one array per column, whose text it is given
(`array_texts`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from holdfast_store.db import archive_rows as archived
from holdfast_store.db import rows, schedule_rows
from holdfast_store.db.dialects import IdText, Postgres
from holdfast_store.db.statements import NOTHING, trees_in_turn
from holdfast_store.db.tables import (
    callbacks,
    listeners,
    outbox,
    promises,
    replicas,
    resumes,
    schedules,
    tasks,
    writers,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockingStatements:
    """Texts for the driver, with the parameters named in each docstring, in that order."""

    lock: str
    """ids → the ids among them, and of their callbacks' awaiters, whose promises exist; waits.
    Each with the clock, which is there when no promise is."""
    lock_free: str
    """ids → those whose promises exist and are locked by nobody else."""
    lock_awaiters: str
    """ids → the awaiters of these, of those that nobody has locked."""
    due_promises: str
    """now_ms or nothing, limit → ids that nobody has locked, earliest deadline first, and whether
    anybody awaits them."""
    due_tasks: str
    """now_ms or nothing, limit → ids that nobody has locked, earliest due first."""
    due: str
    """now_ms or nothing, limit → whether it is a task, the id, and the instant by which they
    are due: so many promises and so many tasks, which nobody locks, and the instant alone."""
    queued_tasks: str
    """groups, limit → group and id of queued tasks of each that nobody has locked, oldest first."""
    queued_behind: str
    """group, queued_at_ms, id, limit → ids that nobody has locked, behind a place."""
    queued_longer: str
    """groups, queued_at_ms, ids, bounds → groups with so many queued tasks behind a place at least,
    whoever has them locked."""
    queued_turns: str
    """[group, after, limit]s → group, tree and the id of its oldest task that nobody has locked."""
    records: str
    """ids → per promise of these and of their awaiters everything about it, its revision, whether
    it is one of these, and the clock."""
    certain: str
    """writer's id, its last batch, number of ids, the instant of the decision, now_ms or nothing,
    ids, revisions, new ids, the instant of the decision or nothing → the clock, if that was its
    last batch, the first all have their revisions and no deadline since the decision, none of the
    new ones has children, and it was decided a moment ago, unless nobody says when: waits, locks
    the writer and then the promises, and fails with `NOT_CERTAIN` otherwise."""
    clock: str
    """→ the clock."""
    promise_insert: str
    promise_update: str
    promise_revise: str
    task_insert: str
    task_update: str
    callback_save: str
    callback_delete: str
    listener_save: str
    listeners_delete: str
    resume_insert: str
    resumes_delete: str
    unblock_save: str
    callback_insert: str
    listener_insert: str
    unblock_insert: str
    schedule_insert: str
    schedule_update: str
    schedule_delete: str
    """ids →"""
    schedules_lock: str
    """ids → schedules, locked in the order of their ids; waits."""
    schedules_lock_free: str
    """ids → those schedules that nobody else has locked."""
    unblocks_lock: str
    """addresses, limit → address, promise id, instant and size of the promise; waits."""
    unblocks_delete: str
    """addresses, promise ids → nothing."""
    unblocks_drop: str
    """before_ms, limit → a row for each message that it deletes, the oldest first."""
    with_children: str
    """ids → those that a promise names as its branch or its parent."""
    mark: str
    """writer's id, number of the batch → the number; waits for a transaction that wrote one."""
    last_batch: str
    """writer's id, a number that stands for none → the number of its last batch; waits as well."""
    replica_save: str
    """store's id, groups → the clock."""
    replicas: str
    """store's id, span in ms → groups of the other stores that spoke within it."""
    replicas_forget: str
    """span of silence in ms → nothing."""
    replica_leave: str
    """store's id → nothing."""
    writers_forget: str
    """spans of silence in ms → nothing."""


def build(dialect: Postgres) -> LockingStatements:
    """Compile all of them."""

    def text(statement: sa.Executable, *parameters: str) -> str:
        compiled, names = dialect.compile(statement)
        assert names == parameters, f"{names} are not {parameters} in {compiled}"
        return compiled

    def insert(table: sa.Table, *columns: str, same: Sequence[str] = ()) -> str:
        new = dialect.written_rows(table.name, _types(table, columns))
        values = [*_values(table, new), *_same(table, same).values()]
        statement = sa.insert(table).from_select([*columns, *same], sa.select(*values))
        return text(statement, *_names(same, columns))

    def update(table: sa.Table, columns: Sequence[str], *, same: Sequence[str] = ()) -> str:
        new = dialect.written_rows(table.name, {**_types(table, columns), "key": sa.Text()})
        values = dict(zip(columns, _values(table, new), strict=False)) | _same(table, same)
        statement = sa.update(table).where(table.c.id == new.c.key).values(values)
        return text(statement, *_names(same, [*columns, "key"]))

    def delete(table: sa.Table, *columns: str) -> str:
        gone = dialect.written_rows(table.name, _types(table, columns))
        conditions = (table.c[name] == gone.c[name] for name in columns)
        return text(sa.delete(table).where(*conditions), *_names((), columns))

    def upsert(table: sa.Table, *columns: str, replace: Sequence[str] = ()) -> str:
        new = dialect.written_rows(table.name, _types(table, columns))
        return text(
            dialect.upsert_rows(table, sa.select(*new.c), columns=columns, replace=replace),
            *_names((), columns),
        )

    return LockingStatements(
        lock=text(_lock(dialect), "ids"),
        lock_free=text(
            sa.select(promises.c.id)
            .where(dialect.among(promises.c.id, "ids"))
            .order_by(promises.c.id)
            .with_for_update(skip_locked=True),
            "ids",
        ),
        lock_awaiters=text(_lock_awaiters(dialect), "ids"),
        due_promises=text(_due(promises.c.armed_at_ms, _awaited_or_not()), "now", "limit"),
        due_tasks=text(_due(tasks.c.due_at_ms, _of_tasks(tasks)), "now", "limit"),
        due=text(_due_unlocked(), "now", "limit"),
        queued_tasks=text(_queued_tasks(dialect), "groups", "limit"),
        queued_behind=text(_queued_behind(), "group", "queued_at_ms", "id", "limit"),
        queued_longer=text(
            _queued_longer(dialect), "at_group", "at_queued_at_ms", "at_id", "at_bound"
        ),
        queued_turns=text(_queued_turns(dialect), "turns"),
        records=text(_records(dialect), "ids"),
        clock=text(sa.select(_clock(sa.func.clock_timestamp()))),
        certain=text(_certain(dialect), *_CERTAIN_PARAMETERS),
        promise_insert=insert(promises, *rows.PROMISE_INSERT, same=[rows.REVISION]),
        promise_update=update(promises, rows.PROMISE_UPDATE, same=[rows.REVISION]),
        promise_revise=update(promises, (), same=[rows.REVISION]),
        task_insert=insert(tasks, *rows.TASK_INSERT),
        task_update=update(tasks, rows.TASK_UPDATE),
        callback_save=upsert(
            callbacks, "awaited", "awaiter", "wait_version", replace=["wait_version"]
        ),
        callback_delete=delete(callbacks, "awaited", "awaiter"),
        listener_save=upsert(listeners, "promise_id", "address"),
        listeners_delete=delete(listeners, "promise_id"),
        resume_insert=insert(resumes, "task_id", "awaited"),
        resumes_delete=delete(resumes, "task_id"),
        unblock_save=upsert(
            outbox, "address", "promise_id", "enqueued_at_ms", replace=["enqueued_at_ms"]
        ),
        callback_insert=insert(callbacks, *archived.CALLBACK),
        listener_insert=insert(listeners, *archived.LISTENER),
        unblock_insert=insert(outbox, *archived.UNBLOCK),
        schedule_insert=insert(schedules, *schedule_rows.SCHEDULE),
        schedule_update=update(schedules, schedule_rows.SCHEDULE_UPDATE),
        schedule_delete=delete(schedules, "id"),
        schedules_lock=text(_schedules(dialect).with_for_update(), "ids"),
        schedules_lock_free=text(_schedules(dialect).with_for_update(skip_locked=True), "ids"),
        unblocks_lock=text(_unblocks_to(dialect), "addresses", "first", "end", "limit"),
        unblocks_delete=delete(outbox, "address", "promise_id"),
        unblocks_drop=text(_unblocks_delete(_unblocks_before()), "before_ms", "limit"),
        with_children=text(_with_children(dialect), "ids"),
        mark=text(_mark(dialect, replace=["batch", "seen_at_ms"]), "id", "batch"),
        last_batch=text(_mark(dialect, replace=["seen_at_ms"]), "id", "batch"),
        replica_save=text(_replica_save(dialect), "id", "groups"),
        replicas=text(
            sa.select(replicas.c.groups)
            .where(replicas.c.id != sa.bindparam("id", type_=sa.Text), _away(replicas) <= _span())
            .order_by(replicas.c.id),
            *("id", "span_ms"),
        ),
        replicas_forget=text(sa.delete(replicas).where(_away(replicas) > _span()), "span_ms"),
        replica_leave=text(sa.delete(replicas).where(replicas.c.id == sa.bindparam("id")), "id"),
        writers_forget=text(
            sa.delete(writers).where(
                writers.c.seen_at_ms
                < _clock(sa.func.clock_timestamp()) - sa.bindparam("silent_ms", type_=sa.BigInteger)
            ),
            "silent_ms",
        ),
    )


# Columns as arrays


def _types(table: sa.Table, columns: Sequence[str]) -> Mapping[str, sa.types.TypeEngine[Any]]:
    """Say what each array holds: a boolean travels as the number that every row has for it."""
    return {name: _type(table.c[name]) for name in columns}


def _type(column: sa.Column[Any]) -> sa.types.TypeEngine[Any]:
    match column.type:
        case sa.Boolean():
            return sa.BigInteger()
        case sa.Text():
            return sa.Text()  # the rows need no collation, only the columns do
        case other:
            return other


def _values(table: sa.Table, new: sa.FromClause) -> list[sa.ColumnElement[Any]]:
    return [
        value != NOTHING
        if value.name in table.c and isinstance(table.c[value.name].type, sa.Boolean)
        else value
        for value in new.c
    ]


def _same(table: sa.Table, columns: Sequence[str]) -> dict[str, sa.ColumnElement[Any]]:
    """Take what is the same in all rows from a parameter for one value."""
    return {name: sa.bindparam(f"same_{name}", type_=table.c[name].type) for name in columns}


def _names(same: Sequence[str], columns: Sequence[str]) -> list[str]:
    return [*(f"same_{name}" for name in same), *(f"new_{name}" for name in columns)]


# Locks


def _clock(timestamp: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    seconds = sa.extract("epoch", timestamp)
    return sa.cast(seconds * sa.literal_column("1000"), sa.BigInteger)


def _lock(dialect: Postgres) -> sa.Select[Any]:
    awaiters = sa.select(callbacks.c.awaiter).where(dialect.among(callbacks.c.awaited, "ids"))
    everyone = sa.union(sa.select(dialect.unpacked("ids").c.value), awaiters)
    locked = (
        sa.select(promises.c.id)
        .where(promises.c.id.in_(everyone))
        .order_by(promises.c.id)
        .with_for_update(of=promises)
        .subquery("locked")
    )
    clock = sa.select(_clock(sa.func.clock_timestamp()).label("now_ms")).subquery("clock")
    return sa.select(locked.c.id, clock.c.now_ms).select_from(clock.outerjoin(locked, sa.true()))


def _lock_awaiters(dialect: Postgres) -> sa.Select[Any]:
    awaiters = sa.select(callbacks.c.awaiter).where(dialect.among(callbacks.c.awaited, "ids"))
    return (
        sa.select(promises.c.id)
        .where(promises.c.id.in_(awaiters))
        .order_by(promises.c.id)
        .with_for_update(of=promises, skip_locked=True)
    )


def _schedules(dialect: Postgres) -> sa.Select[Any]:
    return (
        sa.select(*schedule_rows.columns())
        .where(dialect.among(schedules.c.id, "ids"))
        .order_by(schedules.c.id)
    )


def _awaited_or_not() -> sa.Select[Any]:
    one: sa.ColumnElement[int] = sa.literal_column("1")
    awaiters = sa.select(one).where(callbacks.c.awaited == promises.c.id).correlate(promises)
    return sa.select(promises.c.id, awaiters.exists())


def _of_tasks(table: sa.FromClause) -> sa.Select[Any]:
    """Select tasks by the promises that stand for them."""
    return sa.select(table.c.id).select_from(table.join(promises, promises.c.id == table.c.id))


def _due(instant: sa.Column[Any], ids: sa.Select[Any]) -> sa.Select[Any]:
    # The clock as of the statement's beginning, which an index can be searched by.
    database_now = _clock(sa.func.statement_timestamp())
    now = sa.func.coalesce(sa.bindparam("now", type_=sa.BigInteger), database_now)
    return (
        ids.where(instant <= now)
        .order_by(instant, ids.selected_columns[0])
        .limit(sa.bindparam("limit"))
        .with_for_update(of=promises, skip_locked=True)
    )


def _due_unlocked() -> sa.CompoundSelect[Any]:
    database_now = _clock(sa.func.statement_timestamp())
    given = sa.bindparam("now", type_=sa.BigInteger)
    clock = sa.select(sa.func.coalesce(given, database_now).label("now_ms")).cte("clock")
    now = sa.select(clock.c.now_ms).scalar_subquery()

    def found(kind: str, table: sa.Table, instant: sa.Column[Any]) -> sa.Select[Any]:
        each = (
            sa.select(table.c.id)
            .where(instant <= now)
            .order_by(instant, table.c.id)
            .limit(sa.bindparam("limit"))
            .subquery(f"due_{table.name}")
        )
        return sa.select(sa.literal_column(kind).label("is_task"), each.c.id, now)

    alone = sa.select(sa.literal_column("false"), sa.null(), clock.c.now_ms)
    return sa.union_all(
        found("false", promises, promises.c.armed_at_ms),
        found("true", tasks, tasks.c.due_at_ms),
        alone,
    )


def _queued_tasks(dialect: Postgres) -> sa.Select[Any]:
    """Find the oldest of each group that nobody has locked, by the index alone."""
    groups = dialect.unpacked("groups")
    other = tasks.alias("other")
    oldest = (
        sa.select(other.c.group, other.c.queued_at_ms, other.c.id)
        .select_from(other.join(promises, promises.c.id == other.c.id))
        .where(other.c.group == groups.c.value, other.c.queued_at_ms.is_not(None))
        .order_by(other.c.queued_at_ms, other.c.id)
        .limit(sa.bindparam("limit"))
        .with_for_update(of=promises, skip_locked=True)
        .correlate(groups)
        .lateral("oldest")
    )
    return (
        sa.select(oldest.c.group, oldest.c.id)
        .select_from(groups.join(oldest, sa.true()))
        .order_by(oldest.c.queued_at_ms, oldest.c.id)
    )


def _queued_behind() -> sa.Select[Any]:
    queued_at_ms = sa.bindparam("queued_at_ms", type_=sa.BigInteger)
    return (
        _of_tasks(tasks)
        .where(
            tasks.c.group == sa.bindparam("group"),
            tasks.c.queued_at_ms >= queued_at_ms,
            sa.or_(
                tasks.c.queued_at_ms > queued_at_ms,
                tasks.c.id > sa.bindparam("id", type_=sa.Text),
            ),
        )
        .order_by(tasks.c.queued_at_ms, tasks.c.id)
        .limit(sa.bindparam("limit"))
        .with_for_update(of=promises, skip_locked=True)
    )


def _queued_longer(dialect: Postgres) -> sa.Select[Any]:
    """Count as far as it takes to know; what is locked is counted too."""
    columns: Mapping[str, sa.types.TypeEngine[Any]] = {
        "group": sa.Text(),
        "queued_at_ms": sa.BigInteger(),
        "id": sa.Text(),
        "bound": sa.BigInteger(),
    }
    place = dialect.rows("place", columns, prefix="at_")
    other = tasks.alias("other")
    some = (
        sa.select(sa.literal_column("1").label("one"))
        .where(
            other.c.group == place.c.group,
            other.c.queued_at_ms >= place.c.queued_at_ms,
            sa.or_(other.c.queued_at_ms > place.c.queued_at_ms, other.c.id > place.c.id),
        )
        .order_by(other.c.queued_at_ms, other.c.id)
        .limit(place.c.bound)
        .correlate(place)
        .subquery("some")
    )
    count = sa.select(sa.func.count()).select_from(some).correlate(place).scalar_subquery()
    return sa.select(place.c.group).where(count >= place.c.bound)


def _queued_turns(dialect: Postgres) -> sa.Select[Any]:
    trees = trees_in_turn(dialect)
    other = tasks.alias("other")
    oldest = (
        _of_tasks(other)
        .where(
            other.c.group == trees.c.group,
            other.c.tree == trees.c.tree,
            other.c.queued_at_ms.is_not(None),
        )
        .order_by(other.c.queued_at_ms, other.c.id)
        .limit(sa.literal_column("1"))
        .with_for_update(of=promises, skip_locked=True)
        .correlate(trees)
        .lateral("oldest")
    )
    return (
        sa.select(trees.c.group, trees.c.tree, oldest.c.id)
        .select_from(trees.outerjoin(oldest, sa.true()))
        .where(trees.c.tree.is_not(None))
        .order_by(trees.c.group, trees.c.tree)
    )


# Reading


def _records(dialect: Postgres) -> sa.Select[Any]:
    """Read the clock behind the locks, so that no time before another's commit is told."""
    clock = sa.select(_clock(sa.func.clock_timestamp()).label("now_ms")).cte("clock")
    named = (
        sa.select(dialect.unpacked("ids").c.value.label("id"), sa.true().label("is_named"))
        .union_all(
            sa.select(callbacks.c.awaiter, sa.false()).where(
                dialect.among(callbacks.c.awaited, "ids")
            )
        )
        .subquery("named")
    )
    wanted = (
        sa.select(named.c.id, sa.func.bool_or(named.c.is_named).label("is_named"))
        .group_by(named.c.id)
        .cte("wanted")
    )
    waiting = (
        sa.select(
            sa.func.array_agg(callbacks.c.awaiter).label("awaiters"),
            sa.func.array_agg(callbacks.c.wait_version).label("wait_versions"),
        )
        .where(callbacks.c.awaited == wanted.c.id, wanted.c.is_named)
        .correlate(wanted)
        .lateral("waiting")
    )
    addresses = (
        sa.select(sa.func.array_agg(listeners.c.address))
        .where(listeners.c.promise_id == promises.c.id)
        .correlate(promises)
        .scalar_subquery()
    )
    woken_by = (
        sa.select(sa.func.array_agg(resumes.c.awaited))
        .where(resumes.c.task_id == promises.c.id)
        .correlate(promises)
        .scalar_subquery()
    )
    found = (
        wanted.join(promises, promises.c.id == wanted.c.id)
        .outerjoin(tasks, tasks.c.id == promises.c.id)
        .join(waiting, sa.true())
    )
    return sa.select(
        *(promises.c[name] for name in rows.PROMISE_COLUMNS),
        *(tasks.c[name] for name in rows.TASK_COLUMNS),
        woken_by,
        addresses,
        waiting.c.awaiters,
        waiting.c.wait_versions,
        promises.c.revision,
        wanted.c.is_named,
        clock.c.now_ms,
    ).select_from(clock.outerjoin(found, sa.true()))


_CERTAIN_PARAMETERS: Final = (
    *("writer", "batch", "count", "passed", "now"),
    *("certain_id", "certain_revision", "ids", "decided"),
)

STALE_MS: Final = 1_000
"""A decision that took longer to arrive was made by a process that stood still."""


def _certain(dialect: Postgres) -> sa.Select[Any]:
    """Lock what was decided by, and divide by zero unless it is what it was taken for.

    The writer's own row comes first: whoever asks there how a statement ended waits for its end.
    """
    own = (
        sa.select(writers.c.id)
        .where(
            writers.c.id == sa.bindparam("writer", type_=sa.Text),
            writers.c.batch == sa.bindparam("batch", type_=sa.BigInteger),
        )
        .with_for_update()
        .subquery("own")
    )
    columns: Mapping[str, sa.types.TypeEngine[Any]] = {
        "id": sa.Text(),
        "revision": sa.BigInteger(),
    }
    known = dialect.written_rows("known", columns, prefix="certain_")
    locked = (
        sa.select(promises.c.id, promises.c.timeout_at_ms)
        .select_from(known.join(promises, promises.c.id == known.c.id))
        .where(promises.c.revision == known.c.revision)
        .order_by(promises.c.id)
        .with_for_update(of=promises)
        .subquery("locked")
    )
    # Of all together, behind the last lock: a deadline may have passed while it was waited for.
    passed = sa.bindparam("passed", type_=sa.BigInteger)
    ahead = sa.func.min(locked.c.timeout_at_ms).filter(locked.c.timeout_at_ms > passed)
    now = sa.func.coalesce(
        sa.bindparam("now", type_=sa.BigInteger), _clock(sa.func.clock_timestamp())
    )
    are_all = sa.select(
        sa.and_(
            sa.func.count() == sa.bindparam("count", type_=sa.BigInteger),
            sa.func.coalesce(ahead > now, sa.true()),
        )
    ).select_from(locked)
    is_next = sa.exists(own.select())
    decided = sa.bindparam("decided", type_=sa.BigInteger)
    age = _clock(sa.func.clock_timestamp()) - decided
    is_fresh = sa.func.coalesce(age, NOTHING) <= sa.literal_column(str(STALE_MS))
    is_so = sa.and_(is_next, are_all.scalar_subquery(), ~_with_children(dialect).exists(), is_fresh)
    one: sa.ColumnElement[int] = sa.literal_column("1")
    # The clock behind the locks, as with records.
    return sa.select(
        one.op("/")(sa.cast(is_so, sa.Integer)), _clock(sa.func.clock_timestamp()).label("now_ms")
    )


def _with_children(dialect: Postgres) -> sa.Select[Any]:
    new = dialect.written_rows("ids", {"value": sa.Text()}, prefix="")
    one: sa.ColumnElement[int] = sa.literal_column("1")
    of_branch = sa.select(one).where(promises.c.branch == new.c.value).correlate(new)
    of_parent = sa.select(one).where(promises.c.parent == new.c.value).correlate(new)
    return sa.select(new.c.value).where(sa.or_(of_branch.exists(), of_parent.exists()))


# Messages and writers

_UNBLOCK_KEY = (outbox.c.address, outbox.c.promise_id)


def _unblocks_to(dialect: Postgres) -> sa.Select[Any]:
    """Lock in the order of keys, as batches write, so that nobody waits in a circle."""
    return (
        sa.select(*_UNBLOCK_KEY, outbox.c.enqueued_at_ms, promises.c.counted_bytes)
        .select_from(outbox.outerjoin(promises, promises.c.id == outbox.c.promise_id))
        .where(
            dialect.among(outbox.c.address, "addresses"),
            outbox.c.promise_id >= sa.bindparam("first", type_=IdText),
            outbox.c.promise_id < sa.bindparam("end", type_=IdText),
        )
        .order_by(*_UNBLOCK_KEY)
        .limit(sa.bindparam("limit"))
        .with_for_update(of=outbox)
    )


def _unblocks_before() -> sa.Select[Any]:
    return (
        sa.select(*_UNBLOCK_KEY)
        .where(outbox.c.enqueued_at_ms < sa.bindparam("before_ms"))
        .order_by(outbox.c.enqueued_at_ms)
        .limit(sa.bindparam("limit"))
        .with_for_update(skip_locked=True)
    )


def _unblocks_delete(locked: sa.Select[Any]) -> sa.Executable:
    taken = locked.cte("taken")
    return (
        sa.delete(outbox)
        .where(*(column == taken.c[column.name] for column in _UNBLOCK_KEY))
        .returning(outbox.c.enqueued_at_ms, outbox.c.promise_id)
    )


def _replica_save(dialect: Postgres) -> sa.Executable:
    row = sa.select(
        sa.bindparam("id", type_=sa.Text),
        _clock(sa.func.clock_timestamp()),
        sa.bindparam("groups", type_=sa.Text),
    )
    columns = ["id", "seen_at_ms", "groups"]
    saved = dialect.upsert_rows(replicas, row, columns=columns, replace=columns[1:])
    return saved.returning(replicas.c.seen_at_ms)


def _away(table: sa.Table) -> sa.ColumnElement[int]:
    """Measure from now to when a store has spoken, in either direction.

    Whoever spoke in the future did so before the clock was set back; if it lives, it does again.
    """
    return sa.func.abs(_silent(table), type_=sa.BigInteger)


def _silent(table: sa.Table) -> sa.ColumnElement[int]:
    return _clock(sa.func.clock_timestamp()) - table.c.seen_at_ms


def _span() -> sa.ColumnElement[int]:
    return sa.bindparam("span_ms", type_=sa.BigInteger)


def _mark(dialect: Postgres, *, replace: Sequence[str]) -> sa.Insert:
    """Write a writer's row whether it is there or not: two that write it wait for each other."""
    now_ms = _clock(sa.func.clock_timestamp())
    row = sa.select(
        sa.bindparam("id", type_=sa.Text), sa.bindparam("batch", type_=sa.BigInteger), now_ms
    )
    return dialect.upsert_rows(
        writers, row, columns=["id", "batch", "seen_at_ms"], replace=replace
    ).returning(writers.c.batch)
