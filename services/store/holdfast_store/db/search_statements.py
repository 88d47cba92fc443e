"""Statements that list promises, tasks and schedules in the order of their ids.

A statement is put together for the filters that are given, so that each reads by the index that
fits them: that of the tree, the branch or the parent, that of the states that few records have,
or the primary key. What a state means while deadlines pass is said here once more, so that the
database can pass over the others; the rules judge each record again.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import sqlalchemy as sa

from holdfast.core.records import BRANCH, ORIGIN, PARENT, PromiseState, TaskState
from holdfast.core.search import PromiseSearch, ScheduleSearch, Search, TaskSearch
from holdfast_store.db import rows, schedule_rows
from holdfast_store.db.dialects import Dialect, IdText
from holdfast_store.db.rows import json_text
from holdfast_store.db.statements import NOTHING
from holdfast_store.db.tables import is_open, is_uncommon, promises, schedules, tasks

_BY_DEADLINE: Final = (PromiseState.RESOLVED, PromiseState.REJECTED_TIMEDOUT)
"""What a pending promise may read as once its deadline has passed."""

_OPEN: Final = tuple(state for state in TaskState if state is not TaskState.FULFILLED)

_COLUMNS_OF_TAGS: Final = {
    PARENT: promises.c.parent,
    BRANCH: promises.c.branch,
    ORIGIN: promises.c.origin,
}
"""Tags that have a column and an index, in the order in which one of several is taken."""

_Bounds: TypeAlias = Mapping[str, Callable[[Any, Any], Any]]
"""Between which texts the ids of a listing are: names of parameters, and how to compare."""

_ALL: Final[_Bounds] = {"behind": operator.gt}
_WITH_PREFIX: Final[_Bounds] = {"first": operator.ge, "end": operator.lt}

_TIMER_TEXT: Final = ',"resonate:timer":"true"'


@dataclass(frozen=True, slots=True)
class Question:
    """A statement, and the values of its parameters in their order."""

    text: str
    parameters: tuple[object, ...]


class SearchStatements:
    """Makes the statements for one database, each kind once."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._made: dict[object, tuple[str, tuple[str, ...]]] = {}

    def promises(self, search: PromiseSearch, *, now_ms: int) -> Question:
        """Find id and size of the promises of a page, and of one more if there is one."""
        key = next((tag for tag in _COLUMNS_OF_TAGS if tag in search.tags), None)
        rest = [_tag_text(name, text) for name, text in search.tags.items() if name != key]
        if key == ORIGIN:
            # Its column is also that of the root, which need not carry the tag.
            rest.append(_tag_text(ORIGIN, search.tags[ORIGIN]))
        bounds = _bounds(search)
        kind = (key, search.state, len(rest), len(bounds))
        if kind not in self._made:
            self._made[kind] = self._dialect.compile(
                self._promises(key, search.state, len(rest), bounds)
            )
        values = _values(search) | {
            "now_ms": now_ms,
            "key": None if key is None else search.tags[key],
        }
        return self._question(kind, values | {f"tag_{i}": text for i, text in enumerate(rest)})

    def tasks(self, search: TaskSearch, *, now_ms: int) -> Question:
        """Find the tasks of a page, and one more if there is one, each with its promise's fate."""
        bounds = _bounds(search)
        kind = ("tasks", search.state, len(bounds))
        if kind not in self._made:
            self._made[kind] = self._dialect.compile(self._tasks(search.state, bounds))
        return self._question(kind, _values(search) | {"now_ms": now_ms})

    def schedules(self, search: ScheduleSearch) -> Question:
        """Find id and size of the schedules of a page, and of one more if there is one."""
        bounds = _bounds(search)
        kind = ("schedules", len(search.tags), len(bounds))
        if kind not in self._made:
            self._made[kind] = self._dialect.compile(self._schedules(len(search.tags), bounds))
        tags = {f"tag_{i}": _tag_text(*tag) for i, tag in enumerate(search.tags.items())}
        return self._question(kind, _values(search) | tags)

    def _question(self, kind: object, values: dict[str, object]) -> Question:
        text, names = self._made[kind]
        return Question(text, tuple(values[name] for name in names))

    # Promises

    def _promises(
        self, key: str | None, state: PromiseState | None, tag_texts: int, bounds: _Bounds
    ) -> sa.Select[Any]:
        found = (promises.c.id, promises.c.counted_bytes)
        has_tags = self._has_tags(promises.c.tags, tag_texts)
        if key is None:
            ways = _ways_by_state(state, self._is_timer())
        else:
            is_key = [_COLUMNS_OF_TAGS[key] == sa.bindparam("key", type_=IdText)]
            if key == ORIGIN:
                is_key.append(promises.c.origin.is_(None))
            in_state = _in_state(state, self._is_timer())
            ways = [[one, *in_state] for one in is_key]
        return _merged([_way(found, promises, [*way, *has_tags], bounds) for way in ways])

    def _is_timer(self) -> sa.ColumnElement[bool]:
        return self._has_tag(promises.c.tags, sa.literal_column(f"'{_TIMER_TEXT}'"))

    def _has_tags(self, tags: sa.Column[Any], count: int) -> list[sa.ColumnElement[bool]]:
        return [self._has_tag(tags, sa.bindparam(f"tag_{i}")) for i in range(count)]

    def _has_tag(self, tags: sa.Column[Any], text: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
        """Whether the tags have a pair, by their text: a comma goes before each pair but the first.

        Quotation marks inside of texts have a backslash before them, so that nothing else looks
        like a comma and a pair.
        """
        pairs = sa.literal_column("','").op("||")(sa.func.substr(tags, _SECOND))
        return self._dialect.contains(pairs, text)

    # Schedules

    def _schedules(self, tag_texts: int, bounds: _Bounds) -> sa.Select[Any]:
        found = (schedules.c.id, schedule_rows.size())
        has_tags = self._has_tags(schedules.c.promise_tags, tag_texts)
        return _merged([_way(found, schedules, has_tags, bounds)])

    # Tasks

    def _tasks(self, state: TaskState | None, bounds: _Bounds) -> sa.Select[Any]:
        found = (
            tasks.c.id,
            *(tasks.c[name] for name in rows.TASK_COLUMNS),
            promises.c.state.label("promise_state"),
            promises.c.timeout_at_ms,
        )
        both = tasks.join(promises, promises.c.id == tasks.c.id)
        now_ms = sa.bindparam("now_ms", type_=sa.BigInteger)
        is_live = sa.and_(
            promises.c.state == sa.literal_column("'pending'"), promises.c.timeout_at_ms > now_ms
        )
        ways: list[list[sa.ColumnElement[bool]]]
        if state is None:
            ways = [[]]
        elif state is TaskState.FULFILLED:
            ways = [
                [tasks.c.state == _literal(state)],
                *([tasks.c.state == _literal(each), is_open, sa.not_(is_live)] for each in _OPEN),
            ]
        else:
            ways = [[tasks.c.state == _literal(state), is_open, is_live]]
        return _merged([_way(found, both, way, bounds) for way in ways])


_SECOND: sa.ColumnElement[int] = sa.literal_column("2")


def _bounds(search: Search) -> _Bounds:
    # One bound below in any case: of two, a database may take the one that lies far before.
    return _WITH_PREFIX if search.id_prefix else _ALL


def _values(search: Search) -> dict[str, object]:
    return {
        "behind": search.behind,
        "first": search.first,
        "end": search.end,
        "limit": search.limit + 1,
    }


def _tag_text(name: str, text: str) -> str:
    return f",{json_text(name)}:{json_text(text)}"


def _literal(state: PromiseState | TaskState) -> sa.ColumnElement[str]:
    # In the text, not as a parameter: the index of few states serves only who names his.
    return sa.literal_column(f"'{state.value}'")


def _way(
    found: tuple[sa.ColumnElement[Any], ...],
    table: sa.FromClause,
    conditions: list[sa.ColumnElement[bool]],
    bounds: _Bounds,
) -> sa.Select[Any]:
    key = found[0]
    between = (compare(key, sa.bindparam(name, type_=IdText)) for name, compare in bounds.items())
    return (
        sa.select(*found)
        .select_from(table)
        .where(*between, *conditions)
        .order_by(key)
        .limit(sa.bindparam("limit"))
        .offset(NOTHING)
    )


def _merged(ways: list[sa.Select[Any]]) -> sa.Select[Any]:
    """Take the first of all ways, each of which finds its own by an index, in order."""
    if len(ways) == 1:
        return ways[0]
    parts = [sa.select(way.subquery(f"way_{index}")) for index, way in enumerate(ways)]
    every = sa.union_all(*parts).subquery("every")
    return sa.select(every).order_by(every.c.id).limit(sa.bindparam("limit")).offset(NOTHING)


def _ways_by_state(
    state: PromiseState | None, is_timer: sa.ColumnElement[bool]
) -> list[list[sa.ColumnElement[bool]]]:
    if state is None:
        return [[]]
    stored = promises.c.state == _literal(state)
    now_ms = sa.bindparam("now_ms", type_=sa.BigInteger)
    pending = [promises.c.state == _literal(PromiseState.PENDING), is_uncommon]
    if state is PromiseState.PENDING:
        return [[*pending, promises.c.timeout_at_ms > now_ms]]
    ways = [[stored] if state is PromiseState.RESOLVED else [stored, is_uncommon]]
    if state in _BY_DEADLINE:
        verdict = is_timer if state is PromiseState.RESOLVED else sa.not_(is_timer)
        ways.append([*pending, promises.c.timeout_at_ms <= now_ms, verdict])
    return ways


def _in_state(
    state: PromiseState | None, is_timer: sa.ColumnElement[bool]
) -> list[sa.ColumnElement[bool]]:
    """Say the same as conditions of records that are found by a tag.

    Of an expression of the state, lest a database take the index of states instead.
    """
    if state is None:
        return []
    now_ms = sa.bindparam("now_ms", type_=sa.BigInteger)
    seen = promises.c.state.op("||")(sa.literal_column("''"))
    pending = seen == _literal(PromiseState.PENDING)
    if state is PromiseState.PENDING:
        return [pending, promises.c.timeout_at_ms > now_ms]
    stored = seen == _literal(state)
    if state not in _BY_DEADLINE:
        return [stored]
    verdict = is_timer if state is PromiseState.RESOLVED else sa.not_(is_timer)
    return [sa.or_(stored, sa.and_(pending, promises.c.timeout_at_ms <= now_ms, verdict))]
