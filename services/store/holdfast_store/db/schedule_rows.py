"""Schedules to rows and back; they are few, so that an update writes every column."""

from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec.structs import asdict

from holdfast.core.records import Schedule
from holdfast_store.db import rows, tables
from holdfast_store.db.rows import Row
from holdfast_store.storage import UnreadableSchedule

SCHEDULE = tuple(column.name for column in tables.schedules.columns)
SCHEDULE_UPDATE = SCHEDULE[1:]


def schedule_of(row: Row) -> Schedule:
    """Read a schedule."""
    cells: dict[str, Any] = dict(zip(SCHEDULE, row, strict=True))
    return Schedule(
        id=cells["id"],
        cron=cells["cron"],
        promise_id=cells["promise_id"],
        promise_timeout_ms=cells["promise_timeout_ms"],
        promise_param=rows.value_of(cells["promise_param_data"], cells["promise_param_headers"]),
        promise_tags=rows.texts_of(cells["promise_tags"]),
        created_at_ms=cells["created_at_ms"],
        next_run_at_ms=cells["next_run_at_ms"],
        last_run_at_ms=cells["last_run_at_ms"],
        paused=bool(cells["paused"]),
        time_zone=cells["time_zone"],
    )


def found_due(row: Row) -> Schedule | UnreadableSchedule:
    """Read a schedule to be fired, or say why it cannot be one: the row has been damaged."""
    try:
        # An SQLite file takes text for a number, and JSON may hold anything.
        return msgspec.convert(asdict(schedule_of(row)), Schedule)
    except rows.DAMAGE as error:
        cells = dict(zip(SCHEDULE, row, strict=True))
        return unreadable(cells["id"], at_ms=cells["due_at_ms"], error=error)


def unreadable(schedule_id: str, *, at_ms: int, error: Exception) -> UnreadableSchedule:
    """Tell of a row that is no schedule."""
    reason = f"the row in the table `schedules` is damaged: {error}"
    return UnreadableSchedule(id=schedule_id, next_run_at_ms=at_ms, reason=reason)


def schedule_inserted(schedule: Schedule) -> Row:
    """Answer the values of `SCHEDULE`."""
    cells = {
        "id": schedule.id,
        "cron": schedule.cron,
        "promise_id": schedule.promise_id,
        "promise_timeout_ms": schedule.promise_timeout_ms,
        "promise_param_data": schedule.promise_param.data,
        "promise_param_headers": rows.headers_text(schedule.promise_param),
        "promise_tags": rows.json_text(schedule.promise_tags),
        "created_at_ms": schedule.created_at_ms,
        "next_run_at_ms": schedule.next_run_at_ms,
        "last_run_at_ms": schedule.last_run_at_ms,
        "paused": 1 if schedule.paused else 0,
        "time_zone": schedule.time_zone,
        "due_at_ms": schedule.due_at_ms,
    }
    return tuple(cells[name] for name in SCHEDULE)


def schedule_updated(schedule: Schedule) -> Row:
    """Answer the values of `SCHEDULE_UPDATE`, and the id."""
    return (*schedule_inserted(schedule)[1:], schedule.id)


def columns() -> list[sa.Column[Any]]:
    """List the columns in the order of `SCHEDULE`."""
    return [tables.schedules.c[name] for name in SCHEDULE]


def size() -> sa.ColumnElement[int]:
    """Count what a record carries, about as `schedule_bytes` does."""
    nothing: sa.ColumnElement[int] = sa.literal_column("0")
    table = tables.schedules.c
    return (
        sa.func.coalesce(sa.func.length(table.promise_param_data), nothing)
        + sa.func.coalesce(sa.func.length(table.promise_param_headers), nothing)
        + sa.func.length(table.promise_tags)
    )
