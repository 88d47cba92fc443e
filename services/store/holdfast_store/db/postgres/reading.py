"""From the rows that a batch reads to what is known of their promises."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from holdfast.core.records import Callback
from holdfast_store.db import rows
from holdfast_store.db.postgres.known import Known
from holdfast_store.db.rows import Row
from holdfast_store.storage import RowUnreadable

_NO_RESUMES: frozenset[str] = frozenset()
_TASK_END: Final = rows.PROMISE_WIDTH + len(rows.TASK_COLUMNS)
_AWAITERS: Final = _TASK_END + 2
_IS_NAMED: Final = -2


def read(found: Iterable[Row]) -> list[tuple[Known, bool]]:
    """Read each promise, and whether all is there that its lock stands for.

    Of awaiters only the promise and the task are. The row of the clock stands alone when nothing
    else was found. Raises `RowUnreadable`.
    """
    there = [row for row in found if row[0] is not None]
    read_: list[tuple[Known, bool]] = []
    for row in there:
        try:
            read_.append((_known_of(row), row[_IS_NAMED]))
        except rows.DAMAGE as error:
            needed_by = _needed_by(row[0], there)
            raise RowUnreadable(row[0], needed_by=needed_by, error=error) from error
    return read_


def _known_of(row: Row) -> Known:
    width = rows.PROMISE_WIDTH
    promise = rows.promise_of(row[:width])
    woken_by, addresses, awaiters, versions, revision = row[_TASK_END : _TASK_END + 5]
    task = None
    if row[width] is not None:
        resumes = _NO_RESUMES if woken_by is None else frozenset(woken_by)
        task = rows.task_of(promise.id, row[width:_TASK_END], resumes)
    callbacks = zip(awaiters or (), versions or (), strict=True)
    return Known(
        promise=promise,
        revision=revision,
        task=task,
        callbacks={
            awaiter: Callback(awaited=promise.id, awaiter=awaiter, wait_version=version)
            for awaiter, version in callbacks
        },
        addresses=dict.fromkeys(addresses or ()),
    )


def _needed_by(promise_id: str, found: Sequence[Any]) -> set[str]:
    """List the ids that cannot be loaded without a row: its own, and those that it awaits."""
    return {promise_id, *(row[0] for row in found if promise_id in (row[_AWAITERS] or ()))}
