"""Promises, tasks, schedules and groups as REST shows them, and nothing that they are not.

Instants are milliseconds since the epoch, as in the store: no calendar holds the largest of them.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from holdfast import DurablePromise, DurableSchedule
from holdfast.tasks import DurableTask

PromiseStateName = Literal[
    "pending", "resolved", "rejected", "rejected_canceled", "rejected_timedout"
]
TaskStateName = Literal["pending", "acquired", "suspended", "halted", "fulfilled"]


class PayloadBody(msgspec.Struct, rename="camel"):
    """A payload: `data` if it is JSON as this library writes it, `text` if it is anything else."""

    data: Any | UnsetType = UNSET
    text: str | UnsetType = UNSET


class PromiseBody(msgspec.Struct, rename="camel"):
    """A promise as it reads now."""

    id: str
    state: PromiseStateName
    param: PayloadBody
    value: PayloadBody
    tags: dict[str, str]
    timeout_at_ms: int
    created_at_ms: int
    settled_at_ms: int | UnsetType = UNSET


class PromisePageBody(msgspec.Struct, rename="camel"):
    """Promises in the byte order of their ids; `cursor` only when there are more."""

    promises: list[PromiseBody]
    cursor: str | UnsetType = UNSET


class TaskBody(msgspec.Struct, rename="camel"):
    """A task as it reads now; `pid` and `ttlMs` only while a process holds it."""

    id: str
    state: TaskStateName
    version: int
    resumes: int
    pid: str | UnsetType = UNSET
    ttl_ms: int | UnsetType = UNSET


class TaskPageBody(msgspec.Struct, rename="camel"):
    """Tasks in the byte order of their ids; `cursor` only when there are more."""

    tasks: list[TaskBody]
    cursor: str | UnsetType = UNSET


class ScheduleBody(msgspec.Struct, rename="camel"):
    """A schedule; `lastRunAtMs` only once it has run."""

    id: str
    cron: str
    time_zone: str
    promise_id: str
    promise_timeout_ms: int
    promise_param: PayloadBody
    promise_tags: dict[str, str]
    created_at_ms: int
    next_run_at_ms: int
    paused: bool
    last_run_at_ms: int | UnsetType = UNSET


class SchedulePageBody(msgspec.Struct, rename="camel"):
    """Schedules in the byte order of their ids; `cursor` only when there are more."""

    schedules: list[ScheduleBody]
    cursor: str | UnsetType = UNSET


def promise_body(promise: DurablePromise) -> PromiseBody:
    """Show a promise that was read with `raw=True`."""
    return PromiseBody(
        id=promise.id,
        state=promise.state,  # type: ignore[arg-type] # the store knows no others
        param=payload_body(promise.param),
        value=payload_body(promise.value),
        tags=dict(promise.tags),
        timeout_at_ms=promise.timeout_at_ms,
        created_at_ms=promise.created_at_ms,
        settled_at_ms=UNSET if promise.settled_at_ms is None else promise.settled_at_ms,
    )


def task_body(task: DurableTask) -> TaskBody:
    """Show a task."""
    return TaskBody(
        id=task.id,
        state=task.state,  # type: ignore[arg-type] # the store knows no others
        version=task.version,
        resumes=task.resumes,
        pid=UNSET if task.pid is None else task.pid,
        ttl_ms=UNSET if task.ttl_ms is None else task.ttl_ms,
    )


def schedule_body(schedule: DurableSchedule) -> ScheduleBody:
    """Show a schedule that was read with `raw=True`."""
    return ScheduleBody(
        id=schedule.id,
        cron=schedule.cron,
        time_zone=schedule.tz,
        promise_id=schedule.promise_id,
        promise_timeout_ms=schedule.promise_timeout_ms,
        promise_param=payload_body(schedule.param),
        promise_tags=dict(schedule.tags),
        created_at_ms=schedule.created_at_ms,
        next_run_at_ms=schedule.next_run_at_ms,
        paused=schedule.paused,
        last_run_at_ms=UNSET if schedule.last_run_at_ms is None else schedule.last_run_at_ms,
    )


def payload_body(text: str | None) -> PayloadBody:
    """Show a payload by the text that is stored: base64 of JSON, unless another client wrote it."""
    if text is None:
        return PayloadBody()
    try:
        return PayloadBody(data=msgspec.json.decode(base64.b64decode(text, validate=True)))
    except (binascii.Error, ValueError, RecursionError):
        return PayloadBody(text=text)


def payload_text(data: object) -> str | None:
    """Write a payload as it is stored; nothing, like `null`, is no payload."""
    return None if data is None else base64.b64encode(msgspec.json.encode(data)).decode()


def cursor_of(cursor: str | None) -> str | UnsetType:
    """Leave out what is absent."""
    return UNSET if cursor is None else cursor


def location_of(path: str, *, quoted: str) -> Mapping[str, str]:
    """Tell where a record is."""
    return {"Location": f"{path}/{quoted}"}
