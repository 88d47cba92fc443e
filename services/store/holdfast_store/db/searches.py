"""Listings outside of batches: what to read, and a page of what was read; no connection here.

Two readings make a page. The first finds ids by an index; the second reads the records. A record
may change between the two, so that the rules judge what the second one answers.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from holdfast.core.limits import SEARCH_BYTES_MAX
from holdfast.core.records import Promise, PromiseState, Schedule
from holdfast.core.search import (
    PromisePage,
    PromiseSearch,
    SchedulePage,
    ScheduleSearch,
    TaskPage,
    TaskSearch,
    is_schedule_shown,
    promise_shown,
    task_shown,
)
from holdfast_store.db import rows
from holdfast_store.preloads import first_within

_PROMISE_STATES = {state.value: state for state in PromiseState}
_TASK_END = 1 + len(rows.TASK_COLUMNS)


def ids_on_page(found: Sequence[Sequence[Any]], limit: int) -> list[str]:
    """Choose from ids and sizes those that have room on a page, one in any case."""
    return [
        row[0] for row in found[: first_within([row[1] for row in found[:limit]], SEARCH_BYTES_MAX)]
    ]


def promise_page(
    search: PromiseSearch,
    ids: Sequence[str],
    records: Iterable[Promise],
    *,
    more: bool,
    now_ms: int,
) -> PromisePage:
    """Make a page of records that were found under these ids."""
    seen = (promise_shown(search, each, now_ms) for each in records)
    return PromisePage(
        promises=tuple(each for each in seen if each is not None),
        cursor=ids[-1] if more else None,
    )


def woken(resumes: Iterable[Sequence[str]]) -> dict[str, set[str]]:
    """Collect who woke which task."""
    woken_by: dict[str, set[str]] = {}
    for task_id, awaited in resumes:
        woken_by.setdefault(task_id, set()).add(awaited)
    return woken_by


def task_page(
    search: TaskSearch,
    found: Sequence[Sequence[Any]],
    woken_by: Mapping[str, set[str]],
    *,
    now_ms: int,
) -> TaskPage:
    """Make a page of rows that the statement `tasks` found."""
    shown = []
    for row in found[: search.limit]:
        task = rows.task_of(row[0], tuple(row[1:_TASK_END]), frozenset(woken_by.get(row[0], ())))
        # Only its fate matters for the view.
        promise = Promise(
            id=row[0],
            state=_PROMISE_STATES[row[_TASK_END]],
            timeout_at_ms=row[_TASK_END + 1],
            created_at_ms=0,
        )
        seen = task_shown(search, task, promise, now_ms)
        if seen is not None:
            shown.append(seen)
    cursor = found[search.limit - 1][0] if len(found) > search.limit else None
    return TaskPage(tasks=tuple(shown), cursor=cursor)


def schedule_page(
    search: ScheduleSearch, ids: Sequence[str], records: Iterable[Schedule], *, more: bool
) -> SchedulePage:
    """Make a page of schedules that were found under these ids, in their order."""
    by_id = {each.id: each for each in records}
    there = (by_id[each] for each in ids if each in by_id)
    return SchedulePage(
        schedules=tuple(each for each in there if is_schedule_shown(search, each)),
        cursor=ids[-1] if more else None,
    )


def within(found: Sequence[Sequence[Any]], bytes_max: int) -> list[str]:
    """Choose from ids and sizes those that are read together, one in any case."""
    return [row[0] for row in found[: first_within([row[1] for row in found], bytes_max)]]
