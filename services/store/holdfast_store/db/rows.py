"""Records to rows and back, by hand: this runs for every promise and task of every batch.

Rows are plain tuples in the order of the column lists below; the statements are compiled from the
same lists. Columns that a record never changes after its birth are absent from the updates.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import msgspec

from holdfast.core.ids import parse_address
from holdfast.core.records import (
    BRANCH,
    EMPTY,
    ORIGIN,
    PARENT,
    Promise,
    PromiseState,
    Task,
    TaskState,
    Value,
    WaitMode,
)
from holdfast.core.working_set import Changes
from holdfast_store.preloads import counted_bytes
from holdfast_store.storage import Turn, Turns
from holdfast_store.trees import tree_of

PROMISE_COLUMNS = (
    "id",
    "state",
    "param_data",
    "param_headers",
    "value_data",
    "value_headers",
    "tags",
    "timeout_at_ms",
    "created_at_ms",
    "settled_at_ms",
    "armed",
)
PROMISE_DERIVED = ("branch", "parent", "armed_at_ms", "origin")
"""Columns for indexes, which follow from the others; so does the size, from the payloads too."""
REVISION = "revision"
"""A column that only databases have which several stores may write to; no record shows it."""
PROMISE_INSERT = (*PROMISE_COLUMNS, "branch", "parent", "armed_at_ms", "counted_bytes", "origin")
PROMISE_UPDATE = (
    "state",
    "value_data",
    "value_headers",
    "settled_at_ms",
    "armed",
    "armed_at_ms",
    "counted_bytes",
)
TASK_COLUMNS = (
    "state",
    "version",
    "ttl_ms",
    "pid",
    "target",
    "lease_at_ms",
    "dispatch_at_ms",
    "queued_at_ms",
    "paced_until_ms",
    "instance",
    "wait_mode",
    "waiting_on",
    "unknown_releases",
    "deliveries",
    "reason",
    "seat",
)
TASK_DERIVED = ("group", "due_at_ms")
TASK_ROW = ("id", *TASK_COLUMNS, *TASK_DERIVED)
TASK_INSERT = ("id", *TASK_COLUMNS[:-1], *TASK_DERIVED, "seat", "tree")
TASK_UPDATE = (*(name for name in TASK_COLUMNS[:-1] if name != "target"), "due_at_ms", "seat")

Row = tuple[Any, ...]

PROMISE_WIDTH = len(PROMISE_COLUMNS)

_NO_TAGS: Final[Mapping[str, str]] = {}

_PROMISE_STATES = {state.value: state for state in PromiseState}
_TASK_STATES = {state.value: state for state in TaskState}
_WAIT_MODES = {mode.value: mode for mode in WaitMode}
_encode = msgspec.json.Encoder().encode
texts_of = msgspec.json.Decoder(dict[str, str]).decode
"""Read what `json_text` wrote of tags or headers."""

DAMAGE: Final = (KeyError, TypeError, ValueError)
"""What reading a record raises whose row holds what nobody wrote."""


def promise_of(row: Row) -> Promise:
    """Read the promise in the first columns of a row."""
    (
        promise_id,
        state,
        param_data,
        param_headers,
        value_data,
        value_headers,
        tags,
        timeout_at_ms,
        created_at_ms,
        settled_at_ms,
        armed,
    ) = row
    return Promise(
        id=promise_id,
        state=_PROMISE_STATES[state],
        param=value_of(param_data, param_headers),
        value=value_of(value_data, value_headers),
        tags=texts_of(tags),
        timeout_at_ms=timeout_at_ms,
        created_at_ms=created_at_ms,
        settled_at_ms=settled_at_ms,
        armed=armed != 0,
    )


def value_of(data: bytes | None, headers: str | None) -> Value:
    """Read a payload from its two columns."""
    if headers is None:
        return EMPTY if data is None else Value(data=data)
    return Value(data=data, headers=texts_of(headers))


def task_of(task_id: str, row: Row, resumes: frozenset[str]) -> Task:
    """Read the task whose columns these are."""
    (
        state,
        version,
        ttl_ms,
        pid,
        target,
        lease_at_ms,
        dispatch_at_ms,
        queued_at_ms,
        paced_until_ms,
        instance,
        wait_mode,
        waiting_on,
        unknown_releases,
        deliveries,
        reason,
        seat,
    ) = row
    return Task(
        id=task_id,
        state=_TASK_STATES[state],
        version=version,
        resumes=resumes,
        ttl_ms=ttl_ms,
        pid=pid,
        target=target,
        lease_at_ms=lease_at_ms,
        dispatch_at_ms=dispatch_at_ms,
        queued_at_ms=queued_at_ms,
        paced_until_ms=paced_until_ms,
        instance=instance,
        seat=seat,
        wait_mode=_WAIT_MODES[wait_mode],
        waiting_on=waiting_on,
        unknown_releases=unknown_releases,
        deliveries=deliveries,
        reason=reason,
    )


def promise_inserted(promise: Promise) -> Row:
    """Answer the values of `PROMISE_INSERT`."""
    tags = promise.tags
    param, value = promise.param, promise.value
    return (
        promise.id,
        promise.state.value,
        param.data,
        headers_text(param),
        value.data,
        headers_text(value),
        json_text(tags),
        promise.timeout_at_ms,
        promise.created_at_ms,
        promise.settled_at_ms,
        1 if promise.armed else 0,
        tags.get(BRANCH),
        tags.get(PARENT),
        _armed_at_ms(promise),
        counted_bytes(promise),
        tags.get(ORIGIN, promise.id),
    )


def promise_derived(promise: Promise) -> Row:
    """Answer the values of `PROMISE_DERIVED`."""
    tags = promise.tags
    origin = tags.get(ORIGIN, promise.id)
    return (tags.get(BRANCH), tags.get(PARENT), _armed_at_ms(promise), origin)


def promise_updated(promise: Promise) -> Row:
    """Answer the values of `PROMISE_UPDATE`, and the id."""
    value = promise.value
    return (
        promise.state.value,
        value.data,
        headers_text(value),
        promise.settled_at_ms,
        1 if promise.armed else 0,
        _armed_at_ms(promise),
        counted_bytes(promise),
        promise.id,
    )


def tasks_inserted(changes: Changes) -> list[Row]:
    """Answer the rows of the tasks that a batch creates, nearly always with their promises."""
    created = changes.tasks_created
    if not created:
        return []
    tags = {promise.id: promise.tags for promise in changes.promises_created}
    return [task_inserted(task, tags.get(task.id, _NO_TAGS)) for task in created]


def task_inserted(task: Task, tags: Mapping[str, str] = _NO_TAGS) -> Row:
    """Answer the values of `TASK_INSERT`; the tags are those of the promise."""
    return (
        task.id,
        task.state.value,
        task.version,
        task.ttl_ms,
        task.pid,
        task.target,
        task.lease_at_ms,
        task.dispatch_at_ms,
        task.queued_at_ms,
        task.paced_until_ms,
        task.instance,
        task.wait_mode.value,
        task.waiting_on,
        task.unknown_releases,
        task.deliveries,
        task.reason,
        parse_address(task.target).group,
        task.due_at_ms,
        task.seat,
        tree_of(task.id, tags),
    )


def turns_text(turns: Mapping[str, Turns]) -> str:
    """Write whose turn it is as one parameter."""
    return json_text([(group, turn.after, turn.limit) for group, turn in turns.items()])


def turns_of(found: Iterable[Row], skip: Collection[str]) -> list[Turn]:
    """Read whose turn it is from groups, trees and ids."""
    return [
        Turn(group=group, tree=tree, id=None if task_id in skip else task_id)
        for group, tree, task_id in found
    ]


def task_derived(task: Task) -> Row:
    """Answer the values of `TASK_DERIVED`."""
    return (parse_address(task.target).group, task.due_at_ms)


def task_updated(task: Task) -> Row:
    """Answer the values of `TASK_UPDATE`, and the id."""
    return (
        task.state.value,
        task.version,
        task.ttl_ms,
        task.pid,
        task.lease_at_ms,
        task.dispatch_at_ms,
        task.queued_at_ms,
        task.paced_until_ms,
        task.instance,
        task.wait_mode.value,
        task.waiting_on,
        task.unknown_releases,
        task.deliveries,
        task.reason,
        task.due_at_ms,
        task.seat,
        task.id,
    )


def origin_of(promise_id: str, tags: str) -> str:
    """Answer the root of a promise's tree by the text of its tags, which may be damaged."""
    try:
        return texts_of(tags).get(ORIGIN, promise_id)
    except msgspec.DecodeError:
        return promise_id


def json_text(value: object) -> str:
    """Write a value as JSON text."""
    return _encode(value).decode()


def headers_text(value: Value) -> str | None:
    """Write the headers of a payload as JSON text."""
    return None if value.headers is None else json_text(value.headers)


def _armed_at_ms(promise: Promise) -> int | None:
    if promise.armed and promise.state is PromiseState.PENDING:
        return promise.timeout_at_ms
    return None
