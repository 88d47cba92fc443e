"""Schedules in memory: a table of few rows, and an agenda of those that fire."""

from collections.abc import Collection, Iterable, Sequence
from heapq import nsmallest

from holdfast.core.limits import SEARCH_BYTES_MAX
from holdfast.core.records import Schedule
from holdfast.core.search import SchedulePage, ScheduleSearch, is_schedule_shown
from holdfast.core.working_set import Changes
from holdfast_store.agenda import Agenda
from holdfast_store.preloads import first_within
from holdfast_store.sizes import schedule_bytes
from holdfast_store.storage import InsertConflict


class MemorySchedules:
    """What a database keeps in a table and two indexes."""

    def __init__(self) -> None:
        self._rows: dict[str, Schedule] = {}
        self._due = Agenda()

    def present(self, ids: Iterable[str]) -> list[Schedule]:
        """Answer those that exist."""
        return [row for row in map(self._rows.get, ids) if row is not None]

    def all(self) -> list[Schedule]:
        """Answer all of them."""
        return list(self._rows.values())

    def check(self, changes: Changes) -> None:
        """Raise for what a database would refuse."""
        for schedule in changes.schedules_created:
            if schedule.id in self._rows:
                raise InsertConflict(f"schedule {schedule.id} exists already")

    def save(self, changes: Changes) -> None:
        """Write what a batch has changed."""
        for schedule in (*changes.schedules_created, *changes.schedules_updated):
            self._rows[schedule.id] = schedule
            self._due.put(schedule.id, schedule.due_at_ms)
        for schedule_id in changes.schedules_deleted:
            del self._rows[schedule_id]
            self._due.put(schedule_id, None)

    def next_at_ms(self) -> int | None:
        """Answer when the next one is due."""
        return self._due.next_at_ms()

    def due(
        self, *, now_ms: int, limit: int, bytes_max: int, skip: Collection[str]
    ) -> Sequence[Schedule]:
        """Read so many that are due, the earliest first."""
        found = self._due.first(limit + len(skip), until_ms=now_ms)
        wanted = [self._rows[key] for key in found if key not in skip][:limit]
        return wanted[: first_within([schedule_bytes(each) for each in wanted], bytes_max)]

    def search(self, search: ScheduleSearch) -> SchedulePage:
        """List them."""
        matching = (
            key
            for key, row in self._rows.items()
            if search.is_about(key) and is_schedule_shown(search, row)
        )
        ids = nsmallest(search.limit + 1, matching)
        sizes = [schedule_bytes(self._rows[key]) for key in ids[: search.limit]]
        within = ids[: first_within(sizes, SEARCH_BYTES_MAX)]
        return SchedulePage(
            schedules=tuple(self._rows[key] for key in within),
            cursor=within[-1] if len(ids) > len(within) else None,
        )
