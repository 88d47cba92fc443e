"""Records and outcomes to messages, built in place: an assigned message would be copied."""

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Final

from holdfast.core.brief import Told
from holdfast.core.membership import TaskOffer, TaskPush
from holdfast.core.records import (
    Preload,
    Promise,
    PromiseState,
    Schedule,
    Task,
    TaskState,
    Value,
)
from holdfast.core.requests import Done, Outcome, Refusal, Request
from holdfast.v1 import common_pb2, schedules_pb2, workers_pb2

_PROMISE_STATES: Final = {
    PromiseState.PENDING: common_pb2.PROMISE_STATE_PENDING,
    PromiseState.RESOLVED: common_pb2.PROMISE_STATE_RESOLVED,
    PromiseState.REJECTED: common_pb2.PROMISE_STATE_REJECTED,
    PromiseState.REJECTED_CANCELED: common_pb2.PROMISE_STATE_REJECTED_CANCELED,
    PromiseState.REJECTED_TIMEDOUT: common_pb2.PROMISE_STATE_REJECTED_TIMEDOUT,
}
_TASK_STATES: Final = {
    TaskState.PENDING: common_pb2.TASK_STATE_PENDING,
    TaskState.ACQUIRED: common_pb2.TASK_STATE_ACQUIRED,
    TaskState.SUSPENDED: common_pb2.TASK_STATE_SUSPENDED,
    TaskState.HALTED: common_pb2.TASK_STATE_HALTED,
    TaskState.FULFILLED: common_pb2.TASK_STATE_FULFILLED,
}
MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""gRPC's own default for what a receiver accepts; clients in any language keep it."""

_ANSWER_TOO_LARGE: Final = Refusal(
    status=500,
    code="answer_too_large",
    message=f"the answers to this chain exceed {MESSAGE_BYTES_MAX} bytes together; "
    "read the promises one by one",
)


def answer_bytes(
    correlation_id: int, outcomes: Sequence[Outcome], asked: Sequence[Request] = ()
) -> bytes:
    """Encode a whole `ConnectResponse` with one chain's results, in brief as far as it was `asked`.

    Messages of one kind may be joined byte by byte: repeated fields add up. One that would not
    fit into a message loses its preloads first, which are hints; then the results, whose
    operations took effect, are answered as failures whose effect is unknown.
    """
    data = _chain_result(correlation_id, outcomes, asked, with_preload=True)
    if len(data) > MESSAGE_BYTES_MAX:
        data = _chain_result(correlation_id, outcomes, asked, with_preload=False)
    if len(data) > MESSAGE_BYTES_MAX:
        data = _chain_result(
            correlation_id, [_ANSWER_TOO_LARGE] * len(outcomes), (), with_preload=False
        )
    return data


def _chain_result(
    correlation_id: int,
    outcomes: Sequence[Outcome],
    asked: Sequence[Request],
    *,
    with_preload: bool,
) -> bytes:
    message = workers_pb2.ConnectResponse()
    result = message.results.add()
    result.correlation_id = correlation_id
    add = result.results.add
    told = Told()
    for request, outcome in zip(asked, outcomes, strict=False):
        at_ms = told.instant_for(request, outcome)
        write_outcome(add(), outcome, with_preload=with_preload, as_asked_at_ms=at_ms)
    for outcome in outcomes[len(asked) :]:
        write_outcome(add(), outcome, with_preload=with_preload)
    return message.SerializeToString()


def push_bytes(push: TaskPush) -> bytes:
    """Encode a whole `ConnectResponse` with one task, less a preload that does not fit."""
    message = workers_pb2.ConnectResponse()
    target = message.tasks.add()
    write_task(target.task, push.task)
    write_promise(target.promise, push.promise)
    write_preload(target.preload, push.preload)
    data = message.SerializeToString()
    if len(data) > MESSAGE_BYTES_MAX:
        target.ClearField("preload")
        data = message.SerializeToString()
    return data


def offer_bytes(offer: TaskOffer) -> bytes:
    """Encode a whole `ConnectResponse` with one offer."""
    message = workers_pb2.ConnectResponse()
    target = message.offers.add()
    target.id = offer.id
    target.version = offer.version
    target.address = offer.address
    return message.SerializeToString()


def settled_bytes(promise: Promise) -> bytes:
    """Encode a whole `ConnectResponse` with one settled promise."""
    message = workers_pb2.ConnectResponse()
    write_promise(message.settled.add(), promise)
    return message.SerializeToString()


def unblock_bytes(address: str, promise: Promise) -> bytes:
    """Encode a whole `ConnectResponse` with one message to send on."""
    message = workers_pb2.ConnectResponse()
    target = message.unblocks.add()
    target.address = address
    write_promise(target.promise, promise)
    return message.SerializeToString()


def write_outcome(
    target: workers_pb2.OperationResult,
    outcome: Outcome,
    *,
    with_preload: bool = True,
    as_asked_at_ms: int | None = None,
) -> None:
    """Fill a result; a skipped operation leaves it as it is, with status 0."""
    if isinstance(outcome, Done):
        target.status = outcome.status
        if outcome.promise is not None:
            if as_asked_at_ms is None:
                write_promise(target.promise, outcome.promise)
            else:
                target.as_asked_at_ms = as_asked_at_ms
        if outcome.task is not None:
            write_task(target.task, outcome.task)
        if outcome.created:
            target.created = True
        if outcome.action is not None:
            write_outcome(target.action, outcome.action, as_asked_at_ms=as_asked_at_ms)
        if outcome.preload is not None and with_preload:
            write_preload(target.preload, outcome.preload)
        if outcome.schedule is not None:
            write_schedule(target.schedule, outcome.schedule)
    elif isinstance(outcome, Refusal):
        target.status = outcome.status
        target.code = outcome.code
        target.message = outcome.message


def write_promise(target: common_pb2.Promise, promise: Promise) -> None:
    """Fill a promise."""
    target.id = promise.id
    target.state = _PROMISE_STATES[promise.state]
    param = promise.param
    if param.data is not None or param.headers is not None:
        _write_value(target.param, param)
    value = promise.value
    if value.data is not None or value.headers is not None:
        _write_value(target.value, value)
    _write_map(target.tags, promise.tags)
    target.timeout_at_ms = promise.timeout_at_ms
    target.created_at_ms = promise.created_at_ms
    if promise.settled_at_ms is not None:
        target.settled_at_ms = promise.settled_at_ms


def _write_map(target: MutableMapping[str, str], source: Mapping[str, str]) -> None:
    # Faster than `update`, which asks first what kind of object it is given.
    for name, text in source.items():
        target[name] = text


def _write_value(target: common_pb2.Value, value: Value) -> None:
    if value.data is not None:
        target.data = value.data
    if value.headers is not None:
        target.headers.SetInParent()
        _write_map(target.headers.entries, value.headers)


def write_task(target: common_pb2.Task, task: Task) -> None:
    """Fill a task; what only the store may know stays behind."""
    target.id = task.id
    target.state = _TASK_STATES[task.state]
    target.version = task.version
    if task.resumes:
        target.resumes = len(task.resumes)
    if task.ttl_ms is not None:
        target.ttl_ms = task.ttl_ms
    if task.pid is not None:
        target.pid = task.pid


def write_schedule(target: schedules_pb2.Schedule, schedule: Schedule) -> None:
    """Fill a schedule."""
    target.id = schedule.id
    target.cron = schedule.cron
    target.promise_id = schedule.promise_id
    target.promise_timeout_ms = schedule.promise_timeout_ms
    param = schedule.promise_param
    if param.data is not None or param.headers is not None:
        _write_value(target.promise_param, param)
    _write_map(target.promise_tags, schedule.promise_tags)
    target.created_at_ms = schedule.created_at_ms
    target.next_run_at_ms = schedule.next_run_at_ms
    if schedule.last_run_at_ms is not None:
        target.last_run_at_ms = schedule.last_run_at_ms
    target.paused = schedule.paused
    target.time_zone = schedule.time_zone


def write_preload(target: common_pb2.Preload, preload: Preload) -> None:
    """Fill a preload, empty ones included: their `complete` says something."""
    target.complete = preload.complete
    for promise in preload.promises:
        write_promise(target.promises.add(), promise)
