"""Every statement of the store, written once in SQLAlchemy Core and compiled once per database.

A list of ids travels in one parameter, so the text of a statement, and the number of statements of
a batch, are the same for one operation and for a thousand.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from holdfast_store.db import rows, schedule_rows
from holdfast_store.db.dialects import Dialect, IdText
from holdfast_store.db.tables import (
    callbacks,
    is_leased,
    is_open,
    listeners,
    outbox,
    promises,
    resumes,
    schedules,
    schema_floors,
    schema_revisions,
    tasks,
    writers,
)

NOTHING: sa.ColumnElement[int] = sa.literal_column("0")
"""An offset, said in the text, because SQLAlchemy makes it one more parameter on SQLite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statements:
    """Texts for a driver, with the parameters named in each docstring, in that order."""

    ids_of_pids: str
    """pids → ids of the tasks that these processes hold."""
    due_promises: str
    """now_ms, limit → ids, earliest deadline first."""
    due_tasks: str
    """now_ms, limit → ids, earliest due first."""
    queued_tasks: str
    """groups, limit → group and id of so many queued tasks of each, oldest first."""
    queued_behind: str
    """group, queued_at_ms, queued_at_ms, id, limit → ids of queued tasks behind a place."""
    queued_turns: str
    """[group, after, limit]s → group, tree and the id of its oldest queued task."""
    callbacks: str
    """ids → callbacks of these awaited."""
    records: str
    """ids → promises, each with its task."""
    listeners: str
    """ids → promise id and address."""
    resumes: str
    """ids → task id and awaited id."""
    promise_insert: str
    promise_update: str
    task_insert: str
    task_update: str
    callback_save: str
    callback_delete: str
    listener_save: str
    listeners_delete: str
    resume_insert: str
    resumes_delete: str
    unblock_save: str
    children: str
    """ids, rows_max, rows_max → task id, id and size of each child, and of the task itself."""
    promises: str
    """ids → promises alone."""
    next_due: str
    """→ the earliest instant at which anything is due."""
    armed_promises: str
    """limit → instant and id of so many, earliest first."""
    armed_tasks: str
    """limit → instant and id of so many, earliest first."""
    queued_groups: str
    """→ groups with queued tasks."""
    unblock_addresses: str
    """addresses that it lies behind, and before; limit → addresses of messages, in order."""
    lease_holders: str
    """→ pid and instance of each process start that holds a lease."""
    queue_states: str
    """→ group, state, count of open tasks."""
    queue_due: str
    """now_ms → group, count, oldest of the tasks that wait to be run."""
    unblocks_find: str
    """addresses, limit → address, promise id and its size, oldest message first."""
    unblock_delete: str
    """address, promise id →"""
    unblocks_drop: str
    """before_ms →"""
    schedules: str
    """ids → schedules."""
    schedule_insert: str
    schedule_update: str
    schedule_delete: str
    """id →"""
    next_schedule: str
    """→ the earliest instant at which a schedule is due."""
    due_schedules: str
    """now_ms, limit → id and size of so many, earliest due first."""
    tables_named: str
    """name → how many tables have it."""
    revisions: str
    """→ revision and checksum of the migrations that ran, oldest first."""
    floor: str
    """→ the revision that a program must know to use the tables; nothing when any may."""
    newest: str
    """→ the newest instant that a writer has remembered."""
    newest_save: str
    """writer's id, number of a batch, instant → remembers it."""


def build(dialect: Dialect) -> Statements:
    """Compile all statements for one database."""

    def text(statement: sa.Executable, *parameters: str, columns: Sequence[str] = ()) -> str:
        compiled, names = dialect.compile(statement, columns)
        expected = tuple(dict.fromkeys(parameters)) if dialect.names_parameters else parameters
        assert names == expected, f"{names} are not {expected} in {compiled}"
        return compiled

    return Statements(
        ids_of_pids=text(
            sa.select(tasks.c.id).where(is_leased, dialect.among(tasks.c.pid, "pids")), "pids"
        ),
        due_promises=text(_due(promises, promises.c.armed_at_ms), "now_ms", "limit"),
        due_tasks=text(_due(tasks, tasks.c.due_at_ms), "now_ms", "limit"),
        queued_tasks=text(_queued_tasks(dialect), "groups", "limit"),
        queued_behind=text(
            _queued_behind(), "group", "queued_at_ms", "queued_at_ms", "id", "limit"
        ),
        queued_turns=text(_queued_turns(dialect), "turns"),
        callbacks=text(
            sa.select(callbacks.c.awaited, callbacks.c.awaiter, callbacks.c.wait_version).where(
                dialect.among(callbacks.c.awaited, "ids")
            ),
            "ids",
        ),
        records=text(
            sa.select(
                *(promises.c[name] for name in rows.PROMISE_COLUMNS),
                *(tasks.c[name] for name in rows.TASK_COLUMNS),
            )
            .select_from(promises.outerjoin(tasks, tasks.c.id == promises.c.id))
            .where(dialect.among(promises.c.id, "ids")),
            "ids",
        ),
        listeners=text(
            sa.select(listeners.c.promise_id, listeners.c.address).where(
                dialect.among(listeners.c.promise_id, "ids")
            ),
            "ids",
        ),
        resumes=text(
            sa.select(resumes.c.task_id, resumes.c.awaited).where(
                dialect.among(resumes.c.task_id, "ids")
            ),
            "ids",
        ),
        promise_insert=text(sa.insert(promises), *rows.PROMISE_INSERT, columns=rows.PROMISE_INSERT),
        promise_update=text(_update(promises, rows.PROMISE_UPDATE), *rows.PROMISE_UPDATE, "key"),
        task_insert=text(sa.insert(tasks), *rows.TASK_INSERT, columns=rows.TASK_INSERT),
        task_update=text(_update(tasks, rows.TASK_UPDATE), *rows.TASK_UPDATE, "key"),
        callback_save=text(
            dialect.upsert(callbacks, key=("awaited", "awaiter"), replace=("wait_version",)),
            *("awaited", "awaiter", "wait_version"),
            columns=("awaited", "awaiter", "wait_version"),
        ),
        callback_delete=text(_delete(callbacks, "awaited", "awaiter"), "awaited", "awaiter"),
        listener_save=text(
            dialect.upsert(listeners, key=("promise_id", "address"), replace=()),
            *("promise_id", "address"),
            columns=("promise_id", "address"),
        ),
        listeners_delete=text(_delete(listeners, "promise_id"), "promise_id"),
        resume_insert=text(
            sa.insert(resumes), "task_id", "awaited", columns=("task_id", "awaited")
        ),
        resumes_delete=text(_delete(resumes, "task_id"), "task_id"),
        unblock_save=text(
            dialect.upsert(outbox, key=("address", "promise_id"), replace=("enqueued_at_ms",)),
            *("address", "promise_id", "enqueued_at_ms"),
            columns=("address", "promise_id", "enqueued_at_ms"),
        ),
        children=text(_children(dialect), "ids", "rows_max", "rows_max"),
        promises=text(
            sa.select(*(promises.c[name] for name in rows.PROMISE_COLUMNS)).where(
                dialect.among(promises.c.id, "ids")
            ),
            "ids",
        ),
        next_due=text(_next_due()),
        armed_promises=text(_armed(promises, promises.c.armed_at_ms), "limit"),
        armed_tasks=text(_armed(tasks, tasks.c.due_at_ms), "limit"),
        queued_groups=text(_queued_groups()),
        unblock_addresses=text(
            sa.select(outbox.c.address)
            .where(
                outbox.c.address > sa.bindparam("behind"),
                outbox.c.address < sa.bindparam("before"),
            )
            .group_by(outbox.c.address)
            .order_by(outbox.c.address)
            .limit(sa.bindparam("limit"))
            .offset(NOTHING),
            *("behind", "before", "limit"),
        ),
        lease_holders=text(
            sa.select(tasks.c.pid, tasks.c.instance)
            .where(is_leased, tasks.c.instance.is_not(None))
            .distinct()
        ),
        queue_states=text(
            sa.select(tasks.c.group, tasks.c.state, sa.func.count())
            .where(is_open)
            .group_by(tasks.c.group, tasks.c.state)
        ),
        queue_due=text(_queue_due(), "now_ms"),
        unblocks_find=text(
            sa.select(outbox.c.address, outbox.c.promise_id, promises.c.counted_bytes)
            .select_from(outbox.outerjoin(promises, promises.c.id == outbox.c.promise_id))
            .where(
                dialect.among(outbox.c.address, "addresses"),
                outbox.c.promise_id >= sa.bindparam("first", type_=IdText),
                outbox.c.promise_id < sa.bindparam("end", type_=IdText),
            )
            .order_by(outbox.c.enqueued_at_ms, outbox.c.promise_id, outbox.c.address)
            .limit(sa.bindparam("limit"))
            .offset(NOTHING),
            *("addresses", "first", "end", "limit"),
        ),
        unblock_delete=text(_delete(outbox, "address", "promise_id"), *("address", "promise_id")),
        unblocks_drop=text(
            sa.delete(outbox).where(outbox.c.enqueued_at_ms < sa.bindparam("before_ms")),
            "before_ms",
        ),
        schedules=text(
            sa.select(*schedule_rows.columns()).where(dialect.among(schedules.c.id, "ids")), "ids"
        ),
        schedule_insert=text(
            sa.insert(schedules), *schedule_rows.SCHEDULE, columns=schedule_rows.SCHEDULE
        ),
        schedule_update=text(
            _update(schedules, schedule_rows.SCHEDULE_UPDATE),
            *(*schedule_rows.SCHEDULE_UPDATE, "key"),
        ),
        schedule_delete=text(_delete(schedules, "id"), "id"),
        next_schedule=text(
            sa.select(sa.func.min(schedules.c.due_at_ms)).where(schedules.c.due_at_ms.is_not(None))
        ),
        due_schedules=text(
            _due(schedules, schedules.c.due_at_ms).add_columns(schedule_rows.size()),
            *("now_ms", "limit"),
        ),
        tables_named=text(dialect.tables_named("name"), "name"),
        revisions=text(
            sa.select(schema_revisions.c.revision, schema_revisions.c.checksum).order_by(
                schema_revisions.c.revision
            )
        ),
        floor=text(sa.select(sa.func.max(schema_floors.c.needs))),
        newest=text(sa.select(sa.func.max(writers.c.seen_at_ms))),
        newest_save=text(
            dialect.upsert(writers, key=("id",), replace=("seen_at_ms",)),
            *("id", "batch", "seen_at_ms"),
            columns=("id", "batch", "seen_at_ms"),
        ),
    )


def _due(table: sa.Table, instant: sa.Column[Any]) -> sa.Select[Any]:
    return (
        sa.select(table.c.id)
        .where(instant <= sa.bindparam("now_ms"))
        .order_by(instant, table.c.id)
        .limit(sa.bindparam("limit"))
        .offset(NOTHING)
    )


def _armed(table: sa.Table, instant: sa.Column[Any]) -> sa.Select[Any]:
    return (
        sa.select(instant, table.c.id)
        .where(instant.is_not(None))
        .order_by(instant, table.c.id)
        .limit(sa.bindparam("limit"))
        .offset(NOTHING)
    )


def _update(table: sa.Table, columns: Sequence[str]) -> sa.Update:
    return (
        sa.update(table)
        .where(table.c.id == sa.bindparam("key"))
        .values({name: sa.bindparam(name) for name in columns})
    )


def _delete(table: sa.Table, *columns: str) -> sa.Delete:
    return sa.delete(table).where(*(table.c[name] == sa.bindparam(name) for name in columns))


def _queued_tasks(dialect: Dialect) -> sa.Select[Any]:
    """Find the oldest of each group by the index alone, however long its queue is."""
    groups = dialect.unpacked("groups")
    other = tasks.alias("other")
    oldest = (
        sa.select(other.c.id)
        .where(other.c.group == groups.c.value, other.c.queued_at_ms.is_not(None))
        .order_by(other.c.queued_at_ms, other.c.id)
        .limit(sa.bindparam("limit"))
        .offset(NOTHING)
    )
    return (
        sa.select(tasks.c.group, tasks.c.id)
        .select_from(dialect.with_first(groups, tasks, key=tasks.c.id, first=oldest))
        .order_by(tasks.c.queued_at_ms, tasks.c.id)
    )


def _queued_behind() -> sa.Select[Any]:
    """Go on in one group's queue from a place, which need not exist any more.

    Said twice, so that the index is entered at the instant: not every database does that for a
    comparison of pairs.
    """
    queued_at_ms = sa.bindparam("queued_at_ms", type_=sa.BigInteger)
    return (
        sa.select(tasks.c.id)
        .where(
            tasks.c.group == sa.bindparam("group"),
            tasks.c.queued_at_ms >= queued_at_ms,
            sa.or_(
                tasks.c.queued_at_ms > queued_at_ms,
                tasks.c.id > sa.bindparam("id", type_=IdText),
            ),
        )
        .order_by(tasks.c.queued_at_ms, tasks.c.id)
        .limit(sa.bindparam("limit"))
        .offset(NOTHING)
    )


def trees_in_turn(dialect: Dialect) -> sa.CTE:
    """Find so many trees behind one by a look into the index for each, however long the queue is.

    A row with no tree is the end of the circle.
    """
    turns = dialect.unpacked_rows(
        "turns", {"group": sa.Text(), "after": sa.BigInteger(), "limit": sa.BigInteger()}
    )
    first = sa.select(
        turns.c.group, _next_tree(turns.c.group, turns.c.after).label("tree"), turns.c.limit
    )
    trees = first.cte("trees", recursive=True)
    one: sa.ColumnElement[int] = sa.literal_column("1")
    next_one = _next_tree(trees.c.group, trees.c.tree)
    return trees.union_all(
        sa.select(trees.c.group, next_one, trees.c.limit - one).where(
            trees.c.limit > one, trees.c.tree.is_not(None)
        )
    )


def _next_tree(group: sa.ColumnElement[Any], tree: sa.ColumnElement[Any]) -> sa.ScalarSelect[Any]:
    later = tasks.alias("later")
    return (
        sa.select(sa.func.min(later.c.tree))
        .where(later.c.group == group, later.c.queued_at_ms.is_not(None), later.c.tree > tree)
        .correlate(group.table, tree.table)
        .scalar_subquery()
    )


def _queued_turns(dialect: Dialect) -> sa.Select[Any]:
    trees = trees_in_turn(dialect)
    other = tasks.alias("other")
    oldest = (
        sa.select(other.c.id)
        .where(
            other.c.group == trees.c.group,
            other.c.tree == trees.c.tree,
            other.c.queued_at_ms.is_not(None),
        )
        .order_by(other.c.queued_at_ms, other.c.id)
        .limit(sa.literal_column("1"))
        .offset(NOTHING)
        .correlate(trees)
        .scalar_subquery()
    )
    return (
        sa.select(trees.c.group, trees.c.tree, oldest)
        .where(trees.c.tree.is_not(None))
        .order_by(trees.c.group, trees.c.tree)
    )


def _children(dialect: Dialect) -> sa.CompoundSelect[Any]:
    """Find promises of each task's branch, and those whose parent is the task or in the branch.

    A promise may come twice. Each list is cut where the byte bound is certainly passed, so that
    the work has a limit even in a tree of a million.
    """
    wanted = (
        sa.select(promises.c.id.label("task_id"), promises.c.branch)
        .where(dialect.among(promises.c.id, "ids"))
        .cte("wanted")
    )
    member, child = promises.alias("member"), promises.alias("child")
    in_branch, with_parent = promises.alias("in_branch"), promises.alias("with_parent")
    members = (
        sa.select(wanted.c.task_id, member.c.id, member.c.counted_bytes)
        .select_from(
            dialect.with_first(
                wanted,
                member,
                key=member.c.id,
                first=_first(in_branch, in_branch.c.branch == wanted.c.branch),
            )
        )
        .cte("members")
    )
    parents = (
        sa.select(members.c.task_id, members.c.id)
        .union_all(sa.select(wanted.c.task_id, wanted.c.task_id))
        .cte("parents")
    )
    children = sa.select(parents.c.task_id, child.c.id, child.c.counted_bytes).select_from(
        dialect.with_first(
            parents,
            child,
            key=child.c.id,
            first=_first(with_parent, with_parent.c.parent == parents.c.id),
        )
    )
    return sa.select(members.c.task_id, members.c.id, members.c.counted_bytes).union_all(children)


def _first(table: sa.FromClause, condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return (
        sa.select(table.c.id)
        .where(condition)
        .order_by(table.c.id)
        .limit(sa.bindparam("rows_max"))
        .offset(NOTHING)
    )


def _next_due() -> sa.Select[Any]:
    instants = sa.union_all(
        sa.select(sa.func.min(promises.c.armed_at_ms).label("at_ms")).where(
            promises.c.armed_at_ms.is_not(None)
        ),
        sa.select(sa.func.min(tasks.c.due_at_ms)).where(tasks.c.due_at_ms.is_not(None)),
    ).subquery("instants")
    return sa.select(sa.func.min(instants.c.at_ms))


def addresses_of_scheme(scheme: str, *, behind: str) -> tuple[str, str]:
    """Answer between which texts the addresses of a scheme lie that are behind one of them."""
    return max(behind, f"{scheme}:"), f"{scheme};"  # a semicolon comes right behind a colon


def _queued_groups() -> sa.Select[Any]:
    """Find each group by one look into the index, however many tasks are queued in it."""
    smallest = sa.select(sa.func.min(tasks.c.group).label("name")).where(
        tasks.c.queued_at_ms.is_not(None)
    )
    groups = smallest.cte("groups", recursive=True)
    later = tasks.alias("later")
    next_one = (
        sa.select(sa.func.min(later.c.group))
        .where(later.c.queued_at_ms.is_not(None), later.c.group > groups.c.name)
        .correlate(groups)
        .scalar_subquery()
    )
    groups = groups.union_all(sa.select(next_one).where(groups.c.name.is_not(None)))
    return sa.select(groups.c.name).where(groups.c.name.is_not(None))


def _queue_due() -> sa.CompoundSelect[Any]:
    """Count tasks whose execute message waits, and pending ones that are due to get one."""
    queued, due = tasks.c.queued_at_ms, tasks.c.due_at_ms
    return sa.union_all(
        sa.select(tasks.c.group, sa.func.count(), sa.func.min(queued))
        .where(queued.is_not(None))
        .group_by(tasks.c.group),
        sa.select(tasks.c.group, sa.func.count(), sa.func.min(due))
        .where(due <= sa.bindparam("now_ms"), tasks.c.state == sa.literal_column("'pending'"))
        .group_by(tasks.c.group),
    )
