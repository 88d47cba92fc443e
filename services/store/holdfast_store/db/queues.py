"""Reads outside of batches: what is due next, and how much work each group has."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core.records import Schedule, TaskState
from holdfast_store.db.searches import within
from holdfast_store.db.session import Session
from holdfast_store.db.statements import Statements
from holdfast_store.storage import Armed, QueueCounts, UnreadableSchedule


def next_due_at_ms(session: Session, statements: Statements) -> int | None:
    """Answer when the next promise or task is due; `None` when nothing is armed."""
    [(at_ms,)] = session.fetch(statements.next_due)
    return None if at_ms is None else int(at_ms)


def armed(session: Session, statements: Statements, *, limit: int) -> Armed:
    """List what the clock has something to do for, by the indexes alone."""
    return Armed(
        promises=[
            (at_ms, key) for at_ms, key in session.fetch(statements.armed_promises, (limit,))
        ],
        tasks=[(at_ms, key) for at_ms, key in session.fetch(statements.armed_tasks, (limit,))],
    )


def next_schedule_at_ms(session: Session, statements: Statements) -> int | None:
    """Answer when the next schedule is due."""
    [(at_ms,)] = session.fetch(statements.next_schedule)
    return None if at_ms is None else int(at_ms)


def due_schedules(
    session: Session,
    statements: Statements,
    *,
    now_ms: int,
    limit: int,
    bytes_max: int,
    skip: Collection[str],
) -> list[Schedule | UnreadableSchedule]:
    """Read so many schedules that are due, the earliest first."""
    found = session.fetch(statements.due_schedules, (now_ms, limit + len(skip)))
    ids = chosen(found, limit=limit, bytes_max=bytes_max, skip=skip)
    by_id = {each.id: each for each in session.due_schedules(ids)}
    return [by_id[each] for each in ids if each in by_id]


def chosen(
    found: Iterable[Sequence[Any]], *, limit: int, bytes_max: int, skip: Collection[str]
) -> list[str]:
    """Choose, of ids and sizes of what is due, so many that are not to be skipped."""
    wanted = [row for row in found if row[0] not in skip][:limit]
    return within(wanted, bytes_max)


def queued_groups(session: Session, statements: Statements) -> frozenset[str]:
    """List groups with waiting execute messages; the empty one is of targets that name none."""
    return frozenset(row[0] for row in session.fetch(statements.queued_groups))


def lease_holders(session: Session, statements: Statements) -> frozenset[tuple[str, str]]:
    """List the process starts, as pid and instance, that hold leases now."""
    return frozenset((row[0], row[1]) for row in session.fetch(statements.lease_holders))


@dataclass(slots=True)
class _Tally:
    due: int = 0
    running: int = 0
    suspended: int = 0
    halted: int = 0
    oldest_due_at_ms: int | None = None


def queue_counts(session: Session, statements: Statements, *, now_ms: int) -> list[QueueCounts]:
    """Count open tasks per group; those that wait for a later instant are counted nowhere."""
    states = session.fetch(statements.queue_states)
    return counted(states, session.fetch(statements.queue_due, (now_ms,)))


def counted(states: Iterable[Sequence[Any]], due: Iterable[Sequence[Any]]) -> list[QueueCounts]:
    """Put together what the statements `queue_states` and `queue_due` found."""
    tallies: dict[str, _Tally] = {}
    for group, state, count in states:
        tally = tallies.setdefault(group, _Tally())
        if state == TaskState.ACQUIRED:
            tally.running = count
        elif state == TaskState.SUSPENDED:
            tally.suspended = count
        elif state == TaskState.HALTED:
            tally.halted = count
    for group, count, oldest_ms in due:
        tally = tallies.setdefault(group, _Tally())
        tally.due += count
        if tally.oldest_due_at_ms is None or oldest_ms < tally.oldest_due_at_ms:
            tally.oldest_due_at_ms = oldest_ms
    return [
        QueueCounts(
            group=group,
            due=tally.due,
            running=tally.running,
            suspended=tally.suspended,
            halted=tally.halted,
            oldest_due_at_ms=tally.oldest_due_at_ms,
        )
        for group, tally in sorted(tallies.items())
    ]
