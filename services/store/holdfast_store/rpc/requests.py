"""Messages to requests.

Runs once for every operation, so each kind has a function of its own that reads every field once.
Only what the records cannot express is refused here; the rules are checked behind it.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from holdfast.core.membership import DeliveryMode, Member
from holdfast.core.records import PromiseState, ReleaseReason, Value, WaitMode
from holdfast.core.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseRecord,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Refusal,
    Request,
    ScheduleCreate,
    ScheduleDelete,
    ScheduleGet,
    SchedulePause,
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
from holdfast.v1 import common_pb2, promises_pb2, schedules_pb2, tasks_pb2, workers_pb2

# Anything else, "unspecified" included, becomes pending: the rules refuse a settlement as
# pending, and a fence answers that refusal as its inner outcome, which a refusal here could not.
_PROMISE_STATES: Final[dict[int, PromiseState]] = {
    common_pb2.PROMISE_STATE_RESOLVED: PromiseState.RESOLVED,
    common_pb2.PROMISE_STATE_REJECTED: PromiseState.REJECTED,
    common_pb2.PROMISE_STATE_REJECTED_CANCELED: PromiseState.REJECTED_CANCELED,
    common_pb2.PROMISE_STATE_REJECTED_TIMEDOUT: PromiseState.REJECTED_TIMEDOUT,
}
_RELEASE_REASONS: Final[dict[int, ReleaseReason | None]] = {
    tasks_pb2.RELEASE_REASON_UNSPECIFIED: None,
    tasks_pb2.RELEASE_REASON_UNKNOWN_FUNCTION: ReleaseReason.UNKNOWN_FUNCTION,
    tasks_pb2.RELEASE_REASON_OVERLOADED: ReleaseReason.OVERLOADED,
    tasks_pb2.RELEASE_REASON_SHUTDOWN: ReleaseReason.SHUTDOWN,
    tasks_pb2.RELEASE_REASON_CRASHED: ReleaseReason.CRASHED,
}
_WAIT_MODES: Final[dict[int, WaitMode]] = {
    tasks_pb2.WAIT_MODE_UNSPECIFIED: WaitMode.ANY,
    tasks_pb2.WAIT_MODE_ANY: WaitMode.ANY,
    tasks_pb2.WAIT_MODE_ALL_SETTLED: WaitMode.ALL_SETTLED,
    tasks_pb2.WAIT_MODE_ALL_RESOLVED: WaitMode.ALL_RESOLVED,
}
_DELIVERY_MODES: Final[dict[int, DeliveryMode]] = {
    workers_pb2.DELIVERY_MODE_UNSPECIFIED: DeliveryMode.ACQUIRED,
    workers_pb2.DELIVERY_MODE_ACQUIRED: DeliveryMode.ACQUIRED,
    workers_pb2.DELIVERY_MODE_OFFERED: DeliveryMode.OFFERED,
}


_UNKNOWN_OPERATION: Final = Refusal(
    status=400,
    code="unknown_operation",
    message="operation must hold a kind that this version knows",
)


class Malformed(Exception):
    """A message says something that no request can express."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.refusal = Refusal(status=400, code=code, message=message)


def chain_of(
    operations: Sequence[workers_pb2.Operation],
) -> tuple[list[Request], Refusal | None]:
    """Read a chain up to its end, or up to the first operation that is malformed."""
    chain: list[Request] = []
    try:
        for operation in operations[:]:  # a list, which ends without an exception
            kind = operation.WhichOneof("kind")
            if kind is None:
                return chain, _UNKNOWN_OPERATION
            chain.append(_READERS[kind](getattr(operation, kind)))
    except Malformed as flaw:
        return chain, flaw.refusal
    return chain, None


def member_of(hello: workers_pb2.Hello) -> Member:
    """Read an introduction; raise `Malformed`."""
    mode = _DELIVERY_MODES.get(hello.delivery_mode)
    if mode is None:
        message = f"hello.delivery_mode must be known, it is {hello.delivery_mode}"
        raise Malformed("invalid_delivery_mode", message)
    return Member(
        pid=hello.pid,
        instance=hello.instance_id,
        groups=tuple(hello.groups),
        credits=hello.credits,
        lease_ttl_ms=hello.lease_ttl_ms,
        delivery_mode=mode,
        functions=frozenset(hello.functions.names) if hello.HasField("functions") else None,
        name=hello.name,
        prefix=hello.id_prefix,
        held=(
            frozenset((ref.id, ref.version) for ref in hello.held.tasks)
            if hello.HasField("held")
            else None
        ),
    )


def value_of(message: common_pb2.Value) -> Value:
    """Read a payload; absent stays different from empty, and none at all reads as `EMPTY`."""
    data = message.data
    return Value(
        data=data if data or message.HasField("data") else None,
        headers=dict(message.headers.entries) if message.HasField("headers") else None,
    )


def promise_create_of(message: promises_pb2.PromisesCreateRequest) -> PromiseCreate:
    """Read a promise.create."""
    tags = message.tags  # read key by key: a third faster than by its items
    return PromiseCreate(
        id=message.id,
        timeout_at_ms=message.timeout_at_ms,
        param=value_of(message.param),
        tags={name: tags[name] for name in tags},
    )


def promise_settle_of(message: promises_pb2.PromisesSettleRequest) -> PromiseSettle:
    """Read a promise.settle."""
    return PromiseSettle(
        id=message.id,
        state=_PROMISE_STATES.get(message.state, PromiseState.PENDING),
        value=value_of(message.value),
    )


def promise_record_of(message: tasks_pb2.PromiseRecord) -> PromiseRecord:
    """Read a create together with its settle."""
    return PromiseRecord(
        create=promise_create_of(message.create),
        state=_PROMISE_STATES.get(message.state, PromiseState.PENDING),
        value=value_of(message.value),
    )


def register_callback_of(
    message: promises_pb2.PromisesRegisterCallbackRequest,
) -> PromiseRegisterCallback:
    """Read a promise.register_callback."""
    return PromiseRegisterCallback(awaited=message.awaited, awaiter=message.awaiter)


def register_listener_of(
    message: promises_pb2.PromisesRegisterListenerRequest,
) -> PromiseRegisterListener:
    """Read a promise.register_listener."""
    return PromiseRegisterListener(awaited=message.awaited, address=message.address)


def task_create_of(message: tasks_pb2.TasksCreateRequest) -> TaskCreate:
    """Read a task.create."""
    return TaskCreate(
        pid=message.pid,
        ttl_ms=message.ttl_ms,
        action=promise_create_of(message.action),
        skip_preload=message.skip_preload,
    )


def task_acquire_of(message: tasks_pb2.TasksAcquireRequest) -> TaskAcquire:
    """Read a task.acquire."""
    return TaskAcquire(
        id=message.id,
        version=message.version,
        pid=message.pid,
        ttl_ms=message.ttl_ms,
        skip_preload=message.skip_preload,
    )


def task_release_of(message: tasks_pb2.TasksReleaseRequest) -> TaskRelease:
    """Read a task.release."""
    number = message.reason
    if number not in _RELEASE_REASONS:
        raise Malformed("invalid_reason", f"reason must be known, it is {number}")
    return TaskRelease(
        id=message.id,
        version=message.version,
        not_before_ms=message.not_before_ms if message.HasField("not_before_ms") else None,
        reason=_RELEASE_REASONS[number],
    )


def task_fulfill_of(message: tasks_pb2.TasksFulfillRequest) -> TaskFulfill:
    """Read a task.fulfill."""
    return TaskFulfill(
        id=message.id, version=message.version, action=promise_settle_of(message.action)
    )


def task_suspend_of(message: tasks_pb2.TasksSuspendRequest) -> TaskSuspend:
    """Read a task.suspend."""
    mode = _WAIT_MODES.get(message.wait_mode)
    if mode is None:
        raise Malformed("invalid_wait_mode", f"wait_mode must be known, it is {message.wait_mode}")
    return TaskSuspend(
        id=message.id,
        version=message.version,
        actions=tuple([register_callback_of(action) for action in message.actions]),
        wait_mode=mode,
    )


def task_fence_of(message: tasks_pb2.TasksFenceRequest) -> TaskFence:
    """Read a task.fence."""
    action: PromiseCreate | PromiseSettle | PromiseRecord
    match message.WhichOneof("action"):
        case "record":
            action = promise_record_of(message.record)
        case "create":
            action = promise_create_of(message.create)
        case "settle":
            action = promise_settle_of(message.settle)
        case _:
            raise Malformed(
                "action_required", "action must be set to a create, a settle or a record"
            )
    return TaskFence(
        id=message.id,
        version=message.version,
        action=action,
        skip_preload=message.skip_preload,
        required=message.required,
    )


def task_heartbeat_of(message: tasks_pb2.TasksHeartbeatRequest) -> TaskHeartbeat:
    """Read a task.heartbeat."""
    return TaskHeartbeat(
        pid=message.pid,
        tasks=tuple([TaskRef(id=ref.id, version=ref.version) for ref in message.tasks]),
        prefix=message.id_prefix,
    )


def task_halt_of(message: tasks_pb2.TasksHaltRequest) -> TaskHalt:
    """Read a task.halt."""
    return TaskHalt(
        id=message.id,
        reason=message.reason or None,
        version=message.version if message.HasField("version") else None,
    )


def promise_get_of(message: promises_pb2.PromisesGetRequest) -> PromiseGet:
    """Read a promise.get."""
    return PromiseGet(id=message.id)


def task_get_of(message: tasks_pb2.TasksGetRequest) -> TaskGet:
    """Read a task.get."""
    return TaskGet(id=message.id)


def task_continue_of(message: tasks_pb2.TasksContinueRequest) -> TaskContinue:
    """Read a task.continue."""
    return TaskContinue(id=message.id)


def schedule_get_of(message: schedules_pb2.SchedulesGetRequest) -> ScheduleGet:
    """Read a schedule.get."""
    return ScheduleGet(id=message.id)


def schedule_create_of(message: schedules_pb2.SchedulesCreateRequest) -> ScheduleCreate:
    """Read a schedule.create."""
    return ScheduleCreate(
        id=message.id,
        cron=message.cron,
        promise_id=message.promise_id,
        promise_timeout_ms=message.promise_timeout_ms,
        promise_param=value_of(message.promise_param),
        promise_tags=dict(message.promise_tags),
        paused=message.paused,
        time_zone=message.time_zone,
    )


def schedule_delete_of(message: schedules_pb2.SchedulesDeleteRequest) -> ScheduleDelete:
    """Read a schedule.delete."""
    return ScheduleDelete(id=message.id)


def schedule_pause_of(message: schedules_pb2.SchedulesPauseRequest) -> SchedulePause:
    """Read what stops or resumes a schedule."""
    return SchedulePause(id=message.id, paused=message.paused)


_READERS: Final[dict[str, Callable[[Any], Request]]] = {
    "promise_get": promise_get_of,
    "promise_create": promise_create_of,
    "promise_settle": promise_settle_of,
    "promise_register_callback": register_callback_of,
    "promise_register_listener": register_listener_of,
    "task_get": task_get_of,
    "task_create": task_create_of,
    "task_acquire": task_acquire_of,
    "task_release": task_release_of,
    "task_fulfill": task_fulfill_of,
    "task_suspend": task_suspend_of,
    "task_fence": task_fence_of,
    "task_heartbeat": task_heartbeat_of,
    "task_halt": task_halt_of,
    "task_continue": task_continue_of,
    "schedule_get": schedule_get_of,
    "schedule_create": schedule_create_of,
    "schedule_delete": schedule_delete_of,
    "schedule_pause": schedule_pause_of,
}
