"""From the protocol's JSON to the product's requests, and from its outcomes back."""

from collections.abc import Sequence
from typing import Any

from holdfast.core.records import (
    EMPTY,
    Promise,
    PromiseState,
    ReleaseReason,
    Schedule,
    Task,
    TaskState,
    Value,
    WaitMode,
)
from holdfast.core.requests import (
    Done,
    Outcome,
    PromiseCreate,
    PromiseGet,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Refusal,
    Request,
    ScheduleCreate,
    ScheduleDelete,
    ScheduleGet,
    SchedulePause,
    Skipped,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskRef,
    TaskRelease,
    TaskSuspend,
)
from holdfast.core.search import (
    PromisePage,
    PromiseSearch,
    SchedulePage,
    ScheduleSearch,
    Search,
    TaskPage,
    TaskSearch,
)
from tests.differential.plays import Json, Step
from tests.model.model import Answer


def request_of(kind: str, data: Json) -> Request:  # noqa: C901, PLR0911, PLR0912 - one arm each
    """Read an operation that is well formed: what JSON allows beyond it, edges refuse."""
    match kind:
        case "promise.get":
            return PromiseGet(id=data["id"])
        case "promise.create":
            return _create(data)
        case "promise.settle":
            return _settle(data)
        case "promise.register_callback":
            return PromiseRegisterCallback(awaited=data["awaited"], awaiter=data["awaiter"])
        case "promise.register_listener":
            return PromiseRegisterListener(awaited=data["awaited"], address=data["address"])
        case "task.get":
            return TaskGet(id=data["id"])
        case "task.create":
            action = _create(data["action"]["data"])
            return TaskCreate(pid=data["pid"], ttl_ms=data["ttl"], action=action)
        case "task.acquire":
            return TaskAcquire(
                id=data["id"], version=data["version"], pid=data["pid"], ttl_ms=data["ttl"]
            )
        case "task.release":
            return TaskRelease(
                id=data["id"],
                version=data["version"],
                not_before_ms=data.get("notBefore"),
                reason=ReleaseReason(data["reason"]) if data.get("reason") else None,
            )
        case "task.fulfill":
            action_ = _settle(data["action"]["data"])
            return TaskFulfill(id=data["id"], version=data["version"], action=action_)
        case "task.suspend":
            return TaskSuspend(
                id=data["id"],
                version=data["version"],
                actions=tuple(
                    PromiseRegisterCallback(
                        awaited=each["data"]["awaited"], awaiter=each["data"]["awaiter"]
                    )
                    for each in data["actions"]
                ),
                wait_mode=WaitMode(data.get("waitMode", WaitMode.ANY)),
            )
        case "task.fence":
            inner = data["action"]["data"]
            is_create = data["action"]["kind"] == "promise.create"
            return TaskFence(
                id=data["id"],
                version=data["version"],
                action=_create(inner) if is_create else _settle(inner),
                required=data.get("required", False),
            )
        case "task.heartbeat":
            refs = data.get("tasks") or []
            return TaskHeartbeat(
                pid=data["pid"],
                tasks=tuple(TaskRef(id=ref["id"], version=ref["version"]) for ref in refs),
            )
        case "task.halt":
            return TaskHalt(id=data["id"], version=data.get("version"))
        case "task.continue":
            return TaskContinue(id=data["id"])
        case "schedule.get":
            return ScheduleGet(id=data["id"])
        case "schedule.delete":
            return ScheduleDelete(id=data["id"])
        case "schedule.pause":
            return SchedulePause(id=data["id"], paused=data["paused"])
        case "schedule.create":
            return ScheduleCreate(
                id=data["id"],
                cron=data["cron"],
                promise_id=data["promiseId"],
                promise_timeout_ms=data["promiseTimeout"],
                promise_param=_value(data.get("promiseParam")),
                promise_tags=data.get("promiseTags") or {},
                paused=data.get("paused", False),
                time_zone=data.get("timeZone", ""),
            )
    raise AssertionError(kind)


def chain_of(data: Json) -> list[Request]:
    """Read the operations of a chain."""
    return [request_of(each["kind"], each["data"]) for each in data["operations"]]


def _create(data: Json) -> PromiseCreate:
    return PromiseCreate(
        id=data["id"],
        timeout_at_ms=data["timeoutAt"],
        param=_value(data.get("param")),
        tags=data.get("tags") or {},
    )


def _settle(data: Json) -> PromiseSettle:
    return PromiseSettle(
        id=data["id"], state=PromiseState(data["state"]), value=_value(data.get("value"))
    )


def _value(value: Json | None) -> Value:
    if not value:
        return EMPTY
    data = value.get("data")
    return Value(data=None if data is None else data.encode(), headers=value.get("headers"))


def search_of(kind: str, data: Json) -> Search:
    """Read a search."""
    page = {name: data[name] for name in ("limit", "cursor") if data.get(name) is not None}
    state, tags = data.get("state"), data.get("tags") or {}
    if kind == "promise.search":
        return PromiseSearch(
            state=None if state is None else PromiseState(state), tags=tags, **page
        )
    if kind == "task.search":
        return TaskSearch(state=None if state is None else TaskState(state), **page)
    return ScheduleSearch(tags=tags, **page)


def answer_of(step: Step, outcome: Outcome) -> Answer:
    """Show an outcome as the protocol does."""
    if isinstance(outcome, Refusal):
        return outcome.status, outcome.message
    assert isinstance(outcome, Done)
    data: Json = {}
    if isinstance(outcome.action, Done | Refusal):
        status, inner = answer_of(step, outcome.action)
        kind = step.data["action"]["kind"]
        data["action"] = {"kind": kind, "head": {"status": status}, "data": inner}
    if outcome.promise is not None:
        data["promise"] = promise_record(outcome.promise)
    if outcome.task is not None:
        data["task"] = task_record(outcome.task)
    if outcome.schedule is not None:
        data["schedule"] = schedule_record(outcome.schedule)
    if outcome.preload is not None:
        data["preload"] = [promise_record(promise) for promise in outcome.preload.promises]
    return outcome.status, data


def chain_answer_of(step: Step, outcomes: Sequence[Outcome]) -> Answer:
    """Show the outcomes of a chain, one by one."""
    results: list[Json] = []
    for operation, outcome in zip(step.data["operations"], outcomes, strict=True):
        if isinstance(outcome, Skipped):
            results.append({"status": 0})
            continue
        inner = Step(operation["kind"], operation["data"], step.now)
        status, data = answer_of(inner, outcome)
        results.append({"status": status, "data": data})
    return 200, {"results": results}


def page_of(page: PromisePage | TaskPage | SchedulePage | Refusal) -> Answer:
    """Show a page of a search."""
    if isinstance(page, Refusal):
        return page.status, page.message
    cursor = {} if page.cursor is None else {"cursor": page.cursor}
    match page:
        case PromisePage():
            return 200, {"promises": [promise_record(each) for each in page.promises], **cursor}
        case TaskPage():
            return 200, {"tasks": [task_record(each) for each in page.tasks], **cursor}
        case SchedulePage():
            found = [schedule_record(each) for each in page.schedules]
            return 200, {"schedules": found, **cursor}


def promise_record(promise: Promise) -> Json:
    return _present(
        id=promise.id,
        state=promise.state.value,
        param=_value_record(promise.param),
        value=_value_record(promise.value),
        tags=dict(promise.tags),
        timeoutAt=promise.timeout_at_ms,
        createdAt=promise.created_at_ms,
        settledAt=promise.settled_at_ms,
    )


def _value_record(value: Value) -> Json:
    data = None if value.data is None else value.data.decode()
    return _present(data=data, headers=None if value.headers is None else dict(value.headers))


def task_record(task: Task) -> Json:
    return _present(
        id=task.id,
        state=task.state.value,
        version=task.version,
        resumes=len(task.resumes),
        ttl=task.ttl_ms,
        pid=task.pid,
    )


def schedule_record(schedule: Schedule) -> Json:
    return _present(
        id=schedule.id,
        cron=schedule.cron,
        promiseId=schedule.promise_id,
        promiseTimeout=schedule.promise_timeout_ms,
        promiseParam=_value_record(schedule.promise_param),
        promiseTags=dict(schedule.promise_tags),
        createdAt=schedule.created_at_ms,
        nextRunAt=schedule.next_run_at_ms,
        lastRunAt=schedule.last_run_at_ms,
        paused=schedule.paused or None,
        timeZone=schedule.time_zone or None,
    )


def _present(**members: Any) -> Json:
    return {name: member for name, member in members.items() if member is not None}
