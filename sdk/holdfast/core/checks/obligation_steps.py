"""What a step may do to obligations and messages (§10.2): one function per rule."""

from holdfast.core.checks.step import Step, StepKind, StepRule
from holdfast.core.records import (
    Callback,
    PromiseState,
    Task,
    TaskState,
    Unblock,
    WaitMode,
    is_live,
)
from holdfast.core.requests import (
    PromiseRegisterCallback,
    PromiseRegisterListener,
    TaskSuspend,
)

Listener = tuple[str, str]


def _live_promise_gains_a_callback(step: Step, callback: Callback) -> bool:
    return step.is_live_before(callback.awaited) and step.is_live_before(callback.awaiter)


def _callback_is_asked_for(step: Step, callback: Callback) -> bool:
    task = step.after.tasks.get(callback.awaiter)
    if task is None or not step.is_by(PromiseRegisterCallback, TaskSuspend):
        return False
    if callback.wait_version is None:
        return step.is_by(PromiseRegisterCallback)
    # A redirect (300) leaves the task acquired, and registers nothing.
    suspended = task.state is TaskState.SUSPENDED and callback.wait_version == task.version
    return suspended and step.is_by(TaskSuspend)


CALLBACK_ARRIVAL_RULES: tuple[StepRule[Callback], ...] = (
    StepRule(
        "T5", "only a live promise gains a callback, of a live one", _live_promise_gains_a_callback
    ),
    StepRule("T15", "only a register or a suspend that parks adds one", _callback_is_asked_for),
)


def _callback_discharged_by_settlement(step: Step, callback: Callback) -> bool:
    awaited = step.after.promises.get(callback.awaited)
    if step.kind is StepKind.RETENTION and callback.awaiter not in step.after.promises:
        return True
    return awaited is not None and awaited.state is not PromiseState.PENDING


def _callback_is_not_lost(step: Step, callback: Callback) -> bool:
    task = step.after.tasks.get(callback.awaiter)
    promise = step.after.promises.get(callback.awaiter)
    if task is None or promise is None:
        return step.kind is StepKind.RETENTION
    if not is_live(promise, step.now_ms) or callback.awaited in task.resumes:
        return True
    return _is_counted_silently(step, callback, task)


def _is_counted_silently(step: Step, callback: Callback, task: Task) -> bool:
    """Whether an ALL suspend consumed a callback without waking: it was not the last needed one."""
    before = step.before.tasks.get(callback.awaiter)
    if before is None or before.state is not TaskState.SUSPENDED:
        return False
    if before.wait_mode is WaitMode.ANY:
        return False
    if task.state is not TaskState.SUSPENDED:
        return bool(task.resumes)  # a later callback of the same step was the last
    if callback.wait_version != task.version:
        return True
    wakes = task.wait_mode is WaitMode.ALL_RESOLVED and step.hurts(callback.awaited)
    return bool(step.after.needed(task)) and not wakes


CALLBACK_DEPARTURE_RULES: tuple[StepRule[Callback], ...] = (
    StepRule("T16", "a consumed callback wakes, buffers or is counted", _callback_is_not_lost),
    StepRule("T17", "only a settled promise discharges", _callback_discharged_by_settlement),
)


def _live_promise_gains_a_listener(step: Step, listener: Listener) -> bool:
    return step.is_live_before(listener[0]) and step.is_by(PromiseRegisterListener)


LISTENER_ARRIVAL_RULES: tuple[StepRule[Listener], ...] = (
    StepRule("T5", "only a live promise gains a listener", _live_promise_gains_a_listener),
)


def _listener_discharged_by_settlement(step: Step, listener: Listener) -> bool:
    awaited = step.after.promises.get(listener[0])
    return awaited is not None and awaited.state is not PromiseState.PENDING


def _listener_is_told(step: Step, listener: Listener) -> bool:
    return listener in step.after.unblocks and listener not in step.before.unblocks


LISTENER_DEPARTURE_RULES: tuple[StepRule[Listener], ...] = (
    StepRule("T16", "a consumed listener gets one unblock", _listener_is_told),
    StepRule("T17", "only a settled promise discharges", _listener_discharged_by_settlement),
)


def _unblock_answers_a_listener(step: Step, unblock: Unblock) -> bool:
    key = (unblock.promise_id, unblock.address)
    consumed = key in step.before.listeners and key not in step.after.listeners
    return consumed and unblock.enqueued_at_ms == step.now_ms


UNBLOCK_ARRIVAL_RULES: tuple[StepRule[Unblock], ...] = (
    StepRule("T21", "a new unblock answers a listener, now", _unblock_answers_a_listener),
)


def _unblock_goes_by_delivery(step: Step, unblock: Unblock) -> bool:
    gone = unblock.promise_id not in step.after.promises
    return step.kind is StepKind.DELIVERY or (step.kind is StepKind.RETENTION and gone)


UNBLOCK_DEPARTURE_RULES: tuple[StepRule[Unblock], ...] = (
    StepRule("T1", "messages leave by delivery only", _unblock_goes_by_delivery),
)
