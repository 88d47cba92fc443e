"""Requests to messages, built in place: a nested message that is assigned would be copied.

This runs once for every operation that a process sends, so it trades elegance for attribute
writes; what it may not do is decide anything.
"""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
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
    TaskRelease,
    TaskSuspend,
)
from holdfast.v1 import common_pb2, promises_pb2, tasks_pb2, workers_pb2

PROMISE_STATES: Final = {
    PromiseState.PENDING: common_pb2.PROMISE_STATE_PENDING,
    PromiseState.RESOLVED: common_pb2.PROMISE_STATE_RESOLVED,
    PromiseState.REJECTED: common_pb2.PROMISE_STATE_REJECTED,
    PromiseState.REJECTED_CANCELED: common_pb2.PROMISE_STATE_REJECTED_CANCELED,
    PromiseState.REJECTED_TIMEDOUT: common_pb2.PROMISE_STATE_REJECTED_TIMEDOUT,
}
RELEASE_REASONS: Final = {
    ReleaseReason.UNKNOWN_FUNCTION: tasks_pb2.RELEASE_REASON_UNKNOWN_FUNCTION,
    ReleaseReason.OVERLOADED: tasks_pb2.RELEASE_REASON_OVERLOADED,
    ReleaseReason.SHUTDOWN: tasks_pb2.RELEASE_REASON_SHUTDOWN,
    ReleaseReason.CRASHED: tasks_pb2.RELEASE_REASON_CRASHED,
}
WAIT_MODES: Final = {
    WaitMode.ANY: tasks_pb2.WAIT_MODE_ANY,
    WaitMode.ALL_SETTLED: tasks_pb2.WAIT_MODE_ALL_SETTLED,
    WaitMode.ALL_RESOLVED: tasks_pb2.WAIT_MODE_ALL_RESOLVED,
}
DELIVERY_MODES: Final = {
    DeliveryMode.ACQUIRED: workers_pb2.DELIVERY_MODE_ACQUIRED,
    DeliveryMode.OFFERED: workers_pb2.DELIVERY_MODE_OFFERED,
}


def write_chain(
    message: workers_pb2.ConnectRequest, chain: Sequence[Request], *, correlation_id: int
) -> None:
    """Add a chain to a message.

    Raises `ValueError` (of which `UnicodeEncodeError` is one) for text and numbers that the wire
    cannot carry; such requests are refused by the rules as well.
    """
    target = message.chains.add()
    target.correlation_id = correlation_id
    operations = target.operations
    for request in chain:
        _WRITERS[type(request)](operations.add(), request)


def write_operation(operation: workers_pb2.Operation, request: Request) -> None:
    """Fill an operation; raises as `write_chain`."""
    _WRITERS[type(request)](operation, request)


def write_hello(message: workers_pb2.ConnectRequest, member: Member) -> None:
    """Add the introduction of a member to a message."""
    hello = message.hello
    hello.pid = member.pid
    hello.instance_id = member.instance
    hello.groups.extend(member.groups)
    hello.credits = member.credits
    hello.lease_ttl_ms = member.lease_ttl_ms
    hello.delivery_mode = DELIVERY_MODES[member.delivery_mode]
    if member.functions is not None:
        # A list without names differs from no list: such a member gets only tasks that name none.
        hello.functions.SetInParent()
        hello.functions.names.extend(sorted(member.functions))
    hello.brief = True  # `answers` reads both forms
    hello.name = member.name
    hello.id_prefix = member.prefix
    if member.held is not None:
        hello.held.SetInParent()
        for task_id, version in sorted(member.held):
            hello.held.tasks.add(id=task_id, version=version)


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


def _write_create(target: promises_pb2.PromisesCreateRequest, request: PromiseCreate) -> None:
    target.id = request.id
    target.timeout_at_ms = request.timeout_at_ms
    param = request.param
    if param.data is not None or param.headers is not None:
        _write_value(target.param, param)
    _write_map(target.tags, request.tags)


def _write_settle(target: promises_pb2.PromisesSettleRequest, request: PromiseSettle) -> None:
    target.id = request.id
    target.state = PROMISE_STATES[request.state]
    value = request.value
    if value.data is not None or value.headers is not None:
        _write_value(target.value, value)


def _write_record(target: tasks_pb2.PromiseRecord, request: PromiseRecord) -> None:
    _write_create(target.create, request.create)
    target.state = PROMISE_STATES[request.state]
    value = request.value
    if value.data is not None or value.headers is not None:
        _write_value(target.value, value)


def _promise_get(operation: workers_pb2.Operation, request: PromiseGet) -> None:
    operation.promise_get.id = request.id


def _promise_create(operation: workers_pb2.Operation, request: PromiseCreate) -> None:
    _write_create(operation.promise_create, request)


def _promise_settle(operation: workers_pb2.Operation, request: PromiseSettle) -> None:
    _write_settle(operation.promise_settle, request)


def _register_callback(operation: workers_pb2.Operation, request: PromiseRegisterCallback) -> None:
    target = operation.promise_register_callback
    target.awaited = request.awaited
    target.awaiter = request.awaiter


def _register_listener(operation: workers_pb2.Operation, request: PromiseRegisterListener) -> None:
    target = operation.promise_register_listener
    target.awaited = request.awaited
    target.address = request.address


def _task_get(operation: workers_pb2.Operation, request: TaskGet) -> None:
    operation.task_get.id = request.id


def _task_create(operation: workers_pb2.Operation, request: TaskCreate) -> None:
    target = operation.task_create
    target.pid = request.pid
    target.ttl_ms = request.ttl_ms
    target.skip_preload = request.skip_preload
    _write_create(target.action, request.action)


def _task_acquire(operation: workers_pb2.Operation, request: TaskAcquire) -> None:
    target = operation.task_acquire
    target.id = request.id
    target.version = request.version
    target.pid = request.pid
    target.ttl_ms = request.ttl_ms
    target.skip_preload = request.skip_preload


def _task_release(operation: workers_pb2.Operation, request: TaskRelease) -> None:
    target = operation.task_release
    target.id = request.id
    target.version = request.version
    if request.not_before_ms is not None:
        target.not_before_ms = request.not_before_ms
    if request.reason is not None:
        target.reason = RELEASE_REASONS[request.reason]


def _task_fulfill(operation: workers_pb2.Operation, request: TaskFulfill) -> None:
    target = operation.task_fulfill
    target.id = request.id
    target.version = request.version
    _write_settle(target.action, request.action)


def _task_suspend(operation: workers_pb2.Operation, request: TaskSuspend) -> None:
    target = operation.task_suspend
    target.id = request.id
    target.version = request.version
    target.wait_mode = WAIT_MODES[request.wait_mode]
    add = target.actions.add
    for action in request.actions:
        callback = add()
        callback.awaited = action.awaited
        callback.awaiter = action.awaiter


def _task_fence(operation: workers_pb2.Operation, request: TaskFence) -> None:
    target = operation.task_fence
    target.id = request.id
    target.version = request.version
    if request.skip_preload:
        target.skip_preload = True
    if request.required:
        target.required = True
    match request.action:
        case PromiseRecord() as record:
            _write_record(target.record, record)
        case PromiseCreate() as create:
            _write_create(target.create, create)
        case PromiseSettle() as settle:
            _write_settle(target.settle, settle)


def _task_heartbeat(operation: workers_pb2.Operation, request: TaskHeartbeat) -> None:
    target = operation.task_heartbeat
    target.pid = request.pid
    target.id_prefix = request.prefix
    add = target.tasks.add
    for ref in request.tasks:
        lease = add()
        lease.id = ref.id
        lease.version = ref.version


def _task_halt(operation: workers_pb2.Operation, request: TaskHalt) -> None:
    target = operation.task_halt
    target.id = request.id
    if request.reason is not None:
        target.reason = request.reason
    if request.version is not None:
        target.version = request.version


def _task_continue(operation: workers_pb2.Operation, request: TaskContinue) -> None:
    operation.task_continue.id = request.id


def _schedule_get(operation: workers_pb2.Operation, request: ScheduleGet) -> None:
    operation.schedule_get.id = request.id


def _schedule_create(operation: workers_pb2.Operation, request: ScheduleCreate) -> None:
    target = operation.schedule_create
    target.id = request.id
    target.cron = request.cron
    target.promise_id = request.promise_id
    target.promise_timeout_ms = request.promise_timeout_ms
    param = request.promise_param
    if param.data is not None or param.headers is not None:
        _write_value(target.promise_param, param)
    _write_map(target.promise_tags, request.promise_tags)
    target.paused = request.paused
    target.time_zone = request.time_zone


def _schedule_delete(operation: workers_pb2.Operation, request: ScheduleDelete) -> None:
    operation.schedule_delete.id = request.id


def _schedule_pause(operation: workers_pb2.Operation, request: SchedulePause) -> None:
    operation.schedule_pause.id = request.id
    operation.schedule_pause.paused = request.paused


_Writer = Callable[[workers_pb2.Operation, Any], None]

_WRITERS: Final[dict[type[Request], _Writer]] = {
    PromiseGet: _promise_get,
    PromiseCreate: _promise_create,
    PromiseSettle: _promise_settle,
    PromiseRegisterCallback: _register_callback,
    PromiseRegisterListener: _register_listener,
    TaskGet: _task_get,
    TaskCreate: _task_create,
    TaskAcquire: _task_acquire,
    TaskRelease: _task_release,
    TaskFulfill: _task_fulfill,
    TaskSuspend: _task_suspend,
    TaskFence: _task_fence,
    TaskHeartbeat: _task_heartbeat,
    TaskHalt: _task_halt,
    TaskContinue: _task_continue,
    ScheduleGet: _schedule_get,
    ScheduleCreate: _schedule_create,
    ScheduleDelete: _schedule_delete,
    SchedulePause: _schedule_pause,
}
