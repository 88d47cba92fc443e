"""Records to rows and back, by hand: this runs for every promise and task of every batch.

Rows are plain tuples in the order of the column lists below; the statements are compiled from the
same lists. Columns that a record never changes after its birth are absent from the updates.
"""

from typing import Any

import msgspec

from holdfast.core.ids import parse_address
from holdfast.core.records import (
    BRANCH,
    EMPTY,
    PARENT,
    Promise,
    PromiseState,
    Task,
    TaskState,
    Value,
    WaitMode,
)
from holdfast_store.preloads import counted_bytes

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
PROMISE_DERIVED = ("branch", "parent", "armed_at_ms")
"""Columns for indexes, which follow from the others; so does the size, from the payloads too."""
PROMISE_INSERT = (*PROMISE_COLUMNS, *PROMISE_DERIVED, "counted_bytes")
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
)
TASK_DERIVED = ("group", "due_at_ms")
TASK_INSERT = ("id", *TASK_COLUMNS, *TASK_DERIVED)
TASK_UPDATE = (*(name for name in TASK_COLUMNS if name != "target"), "due_at_ms")

Row = tuple[Any, ...]

PROMISE_WIDTH = len(PROMISE_COLUMNS)

_PROMISE_STATES = {state.value: state for state in PromiseState}
_TASK_STATES = {state.value: state for state in TaskState}
_WAIT_MODES = {mode.value: mode for mode in WaitMode}
_encode = msgspec.json.Encoder().encode
texts_of = msgspec.json.Decoder(dict[str, str]).decode
"""Read what `json_text` wrote of tags or headers."""


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
    )


def promise_derived(promise: Promise) -> Row:
    """Answer the values of `PROMISE_DERIVED`."""
    return (promise.tags.get(BRANCH), promise.tags.get(PARENT), _armed_at_ms(promise))


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


def task_inserted(task: Task) -> Row:
    """Answer the values of `TASK_INSERT`."""
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
    )


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
        task.id,
    )


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
