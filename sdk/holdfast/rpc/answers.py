"""Messages to records and outcomes: the other direction of `requests`, as often run."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from holdfast.core.brief import Told
from holdfast.core.membership import TaskOffer, TaskPush
from holdfast.core.records import (
    EMPTY,
    Preload,
    Promise,
    PromiseState,
    Schedule,
    Task,
    TaskState,
    Value,
)
from holdfast.core.requests import SKIPPED, Done, Outcome, Refusal, Request
from holdfast.v1 import common_pb2, schedules_pb2, workers_pb2

_PROMISE_STATES: Final[dict[int, PromiseState]] = {
    common_pb2.PROMISE_STATE_PENDING: PromiseState.PENDING,
    common_pb2.PROMISE_STATE_RESOLVED: PromiseState.RESOLVED,
    common_pb2.PROMISE_STATE_REJECTED: PromiseState.REJECTED,
    common_pb2.PROMISE_STATE_REJECTED_CANCELED: PromiseState.REJECTED_CANCELED,
    common_pb2.PROMISE_STATE_REJECTED_TIMEDOUT: PromiseState.REJECTED_TIMEDOUT,
}
_TASK_STATES: Final[dict[int, TaskState]] = {
    common_pb2.TASK_STATE_PENDING: TaskState.PENDING,
    common_pb2.TASK_STATE_ACQUIRED: TaskState.ACQUIRED,
    common_pb2.TASK_STATE_SUSPENDED: TaskState.SUSPENDED,
    common_pb2.TASK_STATE_HALTED: TaskState.HALTED,
    common_pb2.TASK_STATE_FULFILLED: TaskState.FULFILLED,
}
_STATUS_SKIPPED: Final = 0
_STATUS_REDIRECT: Final = 300


def outcomes_of(
    results: Sequence[workers_pb2.OperationResult], chain: Sequence[Request]
) -> list[Outcome]:
    """Read what a chain was answered; an unknown state raises `KeyError`."""
    told = Told()
    if len(results) != len(chain):
        raise ValueError(f"{len(results)} results of a chain of {len(chain)}")
    # By index: a repeated field ends its iteration by an exception, which costs more than a result.
    return [_outcome_of(results[i], request, told) for i, request in enumerate(chain)]


def _outcome_of(result: workers_pb2.OperationResult, request: Request, told: Told) -> Outcome:
    status = result.status
    if status == _STATUS_SKIPPED:
        return SKIPPED
    if status > _STATUS_REDIRECT:
        return Refusal(status=status, code=result.code, message=result.message)
    preload = preload_of(result.preload) if result.HasField("preload") else None
    if result.HasField("action"):
        action = _action_of(result.action, request, told)
        return Done(status=status, action=action, preload=preload)
    promise = _promise_in(result, request, told)
    return Done(
        status=status,
        promise=promise,
        task=task_of(result.task, promise) if result.HasField("task") else None,
        created=result.created,
        preload=preload,
        schedule=schedule_of(result.schedule) if result.HasField("schedule") else None,
    )


def _action_of(result: workers_pb2.OperationResult, request: Request, told: Told) -> Done | Refusal:
    """Read what is inside a fence: a promise, or its refusal, and nothing else."""
    status = result.status
    assert status != _STATUS_SKIPPED, "the inside of a fence is never skipped alone"
    if status > _STATUS_REDIRECT:
        return Refusal(status=status, code=result.code, message=result.message)
    promise = _promise_in(result, request, told)
    return Done(status=status, promise=promise, created=result.created)


def _promise_in(
    result: workers_pb2.OperationResult, request: Request, told: Told
) -> Promise | None:
    if result.HasField("as_asked_at_ms"):
        promise = told.promise_at(request, result.as_asked_at_ms)
        assert promise is not None, "left out is only what the answers before it and we can say"
    elif result.HasField("promise"):
        promise = promise_of(result.promise)
    else:
        return None
    told.tell(promise)
    return promise


def schedule_of(message: schedules_pb2.Schedule) -> Schedule:
    """Read a schedule."""
    has_param, has_run = message.HasField("promise_param"), message.HasField("last_run_at_ms")
    return Schedule(
        id=message.id,
        cron=message.cron,
        promise_id=message.promise_id,
        promise_timeout_ms=message.promise_timeout_ms,
        promise_param=value_of(message.promise_param) if has_param else EMPTY,
        promise_tags=dict(message.promise_tags),
        created_at_ms=message.created_at_ms,
        next_run_at_ms=message.next_run_at_ms,
        last_run_at_ms=message.last_run_at_ms if has_run else None,
        paused=message.paused,
        time_zone=message.time_zone,
    )


def promise_of(message: common_pb2.Promise) -> Promise:
    """Read a promise as a client knows it: `armed` stays the store's business."""
    settled_at_ms = message.settled_at_ms
    return Promise(
        id=message.id,
        state=_PROMISE_STATES[message.state],
        param=value_of(message.param) if message.HasField("param") else EMPTY,
        value=value_of(message.value) if message.HasField("value") else EMPTY,
        tags=_dict_of(message.tags),
        timeout_at_ms=message.timeout_at_ms,
        created_at_ms=message.created_at_ms,
        settled_at_ms=(
            settled_at_ms if settled_at_ms or message.HasField("settled_at_ms") else None
        ),
    )


def value_of(message: common_pb2.Value) -> Value:
    """Read a payload; absent stays different from empty."""
    data = message.data
    return Value(
        data=data if data or message.HasField("data") else None,
        headers=_dict_of(message.headers.entries) if message.HasField("headers") else None,
    )


def _dict_of(entries: Mapping[str, str]) -> dict[str, str]:
    # Key by key: twice as fast as `dict`, which asks a message's map for its keys first.
    return {name: entries[name] for name in entries}


def task_of(message: common_pb2.Task, promise: Promise | None) -> Task:
    """Read a task as a client knows it.

    The wire carries the number of resumes and not their ids, so that the set holds placeholders:
    only its size means something. The target is known when the promise came along.
    """
    resumes = message.resumes
    return Task(
        id=message.id,
        state=_TASK_STATES[message.state],
        version=message.version,
        resumes=_placeholders(resumes) if resumes else frozenset(),
        ttl_ms=message.ttl_ms if message.HasField("ttl_ms") else None,
        pid=message.pid if message.HasField("pid") else None,
        target="" if promise is None else promise.target or "",
    )


@lru_cache(maxsize=128)
def _placeholders(number: int) -> frozenset[str]:
    return frozenset(f"#{index}" for index in range(number))


def preload_of(message: common_pb2.Preload) -> Preload:
    """Read the children of a task's promise."""
    return Preload(
        promises=tuple([promise_of(promise) for promise in message.promises or ()]),
        complete=message.complete,
    )


def push_of(message: workers_pb2.TaskPush) -> TaskPush:
    """Read a task that was acquired for this process."""
    promise = promise_of(message.promise)
    return TaskPush(
        task=task_of(message.task, promise),
        promise=promise,
        preload=preload_of(message.preload),
    )


def offer_of(message: workers_pb2.TaskOffer) -> TaskOffer:
    """Read a task that this process may acquire."""
    return TaskOffer(id=message.id, version=message.version, address=message.address)
