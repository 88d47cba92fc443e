"""Records and outcomes as JSON has them (§1.6): integers, and no member that is null. Pure."""

from collections.abc import Iterable

from holdfast.core.records import BRANCH, Preload, Promise, Schedule, Task, Value

Json = dict[str, object]


def value_json(value: Value) -> Json:
    """Write a payload; what is absent stays so.

    Payloads of this protocol are text. One that another client wrote as other bytes cannot be
    told in JSON: what is no UTF-8 in it reads as U+FFFD.
    """
    written: Json = {}
    if value.headers is not None:
        written["headers"] = dict(value.headers)
    if value.data is not None:
        written["data"] = value.data.decode(errors="replace")
    return written


def promise_json(promise: Promise) -> Json:
    """Write a promise."""
    written: Json = {
        "id": promise.id,
        "state": promise.state.value,
        "param": value_json(promise.param),
        "value": value_json(promise.value),
        "tags": dict(promise.tags),
        "timeoutAt": promise.timeout_at_ms,
        "createdAt": promise.created_at_ms,
    }
    if promise.settled_at_ms is not None:
        written["settledAt"] = promise.settled_at_ms
    return written


def task_json(task: Task) -> Json:
    """Write a task; `resumes` is a number."""
    written: Json = {
        "id": task.id,
        "state": task.state.value,
        "version": task.version,
        "resumes": len(task.resumes),
    }
    if task.ttl_ms is not None:
        written["ttl"] = task.ttl_ms
    if task.pid is not None:
        written["pid"] = task.pid
    return written


def preload_json(preload: Preload | None, *, branch: str | None, task_id: str) -> list[Json]:
    """Write what a task's pass is likely to ask for: the promises of its own branch (§1.8).

    The store sends the children in other branches as well, for clients that know their use.
    """
    promises: Iterable[Promise] = () if preload is None or branch is None else preload.promises
    mates = (p for p in promises if p.tags.get(BRANCH) == branch and p.id != task_id)
    return [promise_json(p) for p in sorted(mates, key=lambda p: p.id.encode())]


def schedule_json(schedule: Schedule) -> Json:
    """Write a schedule; what it has beyond the protocol is not shown (§13)."""
    written: Json = {
        "id": schedule.id,
        "cron": schedule.cron,
        "promiseId": schedule.promise_id,
        "promiseTimeout": schedule.promise_timeout_ms,
        "promiseParam": value_json(schedule.promise_param),
        "promiseTags": dict(schedule.promise_tags),
        "createdAt": schedule.created_at_ms,
        "nextRunAt": schedule.next_run_at_ms,
    }
    if schedule.last_run_at_ms is not None:
        written["lastRunAt"] = schedule.last_run_at_ms
    return written
