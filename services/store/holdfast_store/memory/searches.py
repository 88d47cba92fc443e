"""Listings of what is in memory.

They look at everything behind the cursor: what is kept in memory is small, and an index would cost
something whenever a promise is written.
"""

from collections.abc import Mapping
from heapq import nsmallest

from holdfast.core.limits import SEARCH_BYTES_MAX
from holdfast.core.records import Promise, Task
from holdfast.core.search import (
    PromisePage,
    PromiseSearch,
    TaskPage,
    TaskSearch,
    promise_shown,
    task_shown,
)
from holdfast_store.preloads import counted_bytes, first_within


def promises(table: Mapping[str, Promise], search: PromiseSearch, *, now_ms: int) -> PromisePage:
    """List promises."""
    matching = (
        promise_id
        for promise_id, promise in table.items()
        if search.is_about(promise_id) and promise_shown(search, promise, now_ms) is not None
    )
    ids = nsmallest(search.limit + 1, matching)
    sizes = [counted_bytes(table[promise_id]) for promise_id in ids[: search.limit]]
    within = ids[: first_within(sizes, SEARCH_BYTES_MAX)]
    shown = (promise_shown(search, table[promise_id], now_ms) for promise_id in within)
    return PromisePage(
        promises=tuple(each for each in shown if each is not None),
        cursor=within[-1] if len(ids) > len(within) else None,
    )


def tasks(
    table: Mapping[str, Task], fates: Mapping[str, Promise], search: TaskSearch, *, now_ms: int
) -> TaskPage:
    """List tasks, whose promises say how they read."""
    matching = (
        task_id
        for task_id, task in table.items()
        if search.is_about(task_id) and task_shown(search, task, fates[task_id], now_ms) is not None
    )
    ids = nsmallest(search.limit + 1, matching)
    within = ids[: search.limit]
    shown = (task_shown(search, table[task_id], fates[task_id], now_ms) for task_id in within)
    return TaskPage(
        tasks=tuple(each for each in shown if each is not None),
        cursor=within[-1] if len(ids) > len(within) else None,
    )
