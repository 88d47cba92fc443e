"""Listings of promises, tasks and schedules: filters, pages, and what belongs on them (§2.9, §3.6).

A listing changes nothing and locks nothing, so it is no operation of a chain. Its pages go on
behind an id, whatever was created, settled or deleted meanwhile: what exists all the time comes
exactly once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias, TypeVar

from holdfast.core.ids import bytes_of, end_of
from holdfast.core.limits import (
    SCHEDULE_SEARCH_LIMIT_DEFAULT,
    SEARCH_LIMIT_DEFAULT,
    SEARCH_LIMIT_MAX,
    TAGS_MAX,
)
from holdfast.core.records import Promise, PromiseState, Schedule, Task, TaskState, project, view
from holdfast.core.requests import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listing:
    """Which ids any listing may have, all of them compared in the byte order of UTF-8."""

    cursor: str = ""
    """Position after which to go on: any text."""
    id_prefix: str = ""
    """What ids must begin with."""

    @property
    def behind(self) -> str:
        """The position as a database takes it."""
        return self.cursor.partition("\0")[0]  # no id has a NUL: the same ones lie behind it

    @property
    def first(self) -> str:
        """The least id that there may be behind the position and with the prefix."""
        return max(self.id_prefix, f"{self.behind}\1" if self.behind else "")

    @property
    def end(self) -> str:
        """What every id with the prefix lies before."""
        return end_of(self.id_prefix)

    def is_about(self, id_: str) -> bool:
        """Whether an id lies behind the position and has the prefix."""
        return id_ > self.behind and id_.startswith(self.id_prefix)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseSearch(_Listing):
    """Filters of a listing of promises; all given ones must match, as the records read now."""

    state: PromiseState | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    limit: int = SEARCH_LIMIT_DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSearch(_Listing):
    """Filters of a listing of tasks; the state is that of the view, not the stored one."""

    state: TaskState | None = None
    limit: int = SEARCH_LIMIT_DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSearch(_Listing):
    """Filters of a listing of schedules; the tags are those of their promises."""

    tags: Mapping[str, str] = field(default_factory=dict)
    limit: int = SCHEDULE_SEARCH_LIMIT_DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class PromisePage:
    """Projected records in the byte order of their ids."""

    promises: Sequence[Promise] = ()
    cursor: str | None = None
    """Where to go on; only when more match."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPage:
    """Views in the byte order of their ids."""

    tasks: Sequence[Task] = ()
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulePage:
    """Records in the byte order of their ids."""

    schedules: Sequence[Schedule] = ()
    cursor: str | None = None


Search: TypeAlias = PromiseSearch | TaskSearch | ScheduleSearch
_S = TypeVar("_S", bound=Search)


def search_within(search: _S, prefix: str) -> _S | None:
    """Narrow a listing to ids that begin with a prefix; `None` for one of others only."""
    if search.id_prefix.startswith(prefix):
        return search
    return replace(search, id_prefix=prefix) if prefix.startswith(search.id_prefix) else None


def flaw_of_search(search: Search) -> Refusal | None:
    """Name the first flaw of a search, with its field and limit, or answer `None`."""
    if not 1 <= search.limit <= SEARCH_LIMIT_MAX:
        message = f"limit must be from 1 to {SEARCH_LIMIT_MAX}, it is {search.limit}"
        return Refusal(status=400, code="out_of_range", message=message)
    tags = {} if isinstance(search, TaskSearch) else search.tags
    if len(tags) > TAGS_MAX:
        message = f"tags must be at most {TAGS_MAX}, they are {len(tags)}"
        return Refusal(status=400, code="too_many_tags", message=message)
    flaw = _flaw_of(search, tags)
    return None if flaw is None else Refusal(status=400, code="invalid_text", message=flaw)


def _flaw_of(search: Search, tags: Mapping[str, str]) -> str | None:
    joined = "".join((*tags, *tags.values()))
    texts = {"cursor": search.cursor, "id_prefix": search.id_prefix, "tags": joined}
    for name, text in texts.items():
        try:
            bytes_of(text)
        except UnicodeEncodeError:
            return f"{name} must be valid Unicode: it contains a lone surrogate"
        if "\0" in text and name != "cursor":
            return f"{name} must not contain NUL"
    return None


def promise_shown(search: PromiseSearch, promise: Promise, now_ms: int) -> Promise | None:
    """Answer how a promise reads now if it belongs on the listing."""
    if not _has_tags(promise.tags, search.tags):
        return None
    seen = project(promise, now_ms)
    return seen if search.state in (None, seen.state) else None


def task_shown(search: TaskSearch, task: Task, promise: Promise, now_ms: int) -> Task | None:
    """Answer how a task reads now if it belongs on the listing."""
    seen = view(task, promise, now_ms)
    return seen if search.state in (None, seen.state) else None


def is_schedule_shown(search: ScheduleSearch, schedule: Schedule) -> bool:
    """Tell whether a schedule belongs on the listing."""
    return _has_tags(schedule.promise_tags, search.tags)


def _has_tags(tags: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(tags.get(name) == text for name, text in wanted.items())
