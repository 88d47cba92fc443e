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
from holdfast_store.db.drafts import PromiseDraft, TaskDraft, promise_from, task_from
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
PROMISE_INSERT = (*PROMISE_COLUMNS, "branch", "parent", "armed_at_ms", "counted_bytes")
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
TASK_INSERT = ("id", *TASK_COLUMNS, "group", "due_at_ms")
TASK_UPDATE = (*(name for name in TASK_COLUMNS if name != "target"), "due_at_ms")

Row = tuple[Any, ...]

PROMISE_WIDTH = len(PROMISE_COLUMNS)

_PROMISE_STATES = {state.value: state for state in PromiseState}
_TASK_STATES = {state.value: state for state in TaskState}
_WAIT_MODES = {mode.value: mode for mode in WaitMode}
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, str]).decode


def promise_of(row: Row) -> Promise:
    """Read the promise in the first columns of a row."""
    draft = PromiseDraft()
    (
        draft.id,
        state,
        param_data,
        param_headers,
        value_data,
        value_headers,
        tags,
        draft.timeout_at_ms,
        draft.created_at_ms,
        draft.settled_at_ms,
        armed,
    ) = row
    draft.state = _PROMISE_STATES[state]
    draft.param = _value_of(param_data, param_headers)
    draft.value = _value_of(value_data, value_headers)
    draft.tags = _decode(tags)
    draft.armed = armed != 0
    return promise_from(draft)


def _value_of(data: bytes | None, headers: str | None) -> Value:
    if headers is None:
        return EMPTY if data is None else Value(data=data)
    return Value(data=data, headers=_decode(headers))


def task_of(task_id: str, row: Row, resumes: frozenset[str]) -> Task:
    """Read the task whose columns these are."""
    draft = TaskDraft()
    (
        state,
        draft.version,
        draft.ttl_ms,
        draft.pid,
        draft.target,
        draft.lease_at_ms,
        draft.dispatch_at_ms,
        draft.queued_at_ms,
        draft.paced_until_ms,
        draft.instance,
        wait_mode,
        draft.waiting_on,
        draft.unknown_releases,
        draft.deliveries,
        draft.reason,
    ) = row
    draft.id = task_id
    draft.state = _TASK_STATES[state]
    draft.resumes = resumes
    draft.wait_mode = _WAIT_MODES[wait_mode]
    return task_from(draft)


def promise_inserted(promise: Promise) -> Row:
    """Answer the values of `PROMISE_INSERT`."""
    tags = promise.tags
    param, value = promise.param, promise.value
    return (
        promise.id,
        promise.state.value,
        param.data,
        _headers(param),
        value.data,
        _headers(value),
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


def promise_updated(promise: Promise) -> Row:
    """Answer the values of `PROMISE_UPDATE`, and the id."""
    value = promise.value
    return (
        promise.state.value,
        value.data,
        _headers(value),
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


def _headers(value: Value) -> str | None:
    return None if value.headers is None else json_text(value.headers)


def _armed_at_ms(promise: Promise) -> int | None:
    if promise.armed and promise.state is PromiseState.PENDING:
        return promise.timeout_at_ms
    return None
