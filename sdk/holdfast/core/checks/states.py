"""What must be true of any stored state: the state invariants of §10.1, one function each.

Every function answers whether its rule holds for one row. Rules numbered `H` are not in the
protocol: they bind the fields that only this implementation has.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from holdfast.core.checks.snapshot import State, delay_of
from holdfast.core.cron import flaw_of_cron, flaw_of_time_zone
from holdfast.core.ids import is_absolute_uri
from holdfast.core.limits import INTEGER_MAX, saturate
from holdfast.core.profile import AwaitInternal, Profile
from holdfast.core.records import (
    EMPTY,
    TARGET,
    TIMER,
    Callback,
    Promise,
    PromiseState,
    Schedule,
    Task,
    TaskState,
    Unblock,
    WaitMode,
    deadline_verdict,
    is_armed_by_birth,
    is_external,
    is_live,
)

Row = TypeVar("Row")
Listener = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A state and the instant and profile at which it is judged."""

    state: State
    now_ms: int
    profile: Profile


@dataclass(frozen=True, slots=True)
class StateRule(Generic[Row]):
    """A numbered rule about every row of one kind."""

    number: str
    meaning: str
    holds: Callable[[Scene, Row], bool]


# Promises


def _created_before_its_deadline(_: Scene, promise: Promise) -> bool:
    if promise.state is PromiseState.PENDING:
        return promise.created_at_ms < promise.timeout_at_ms
    return promise.created_at_ms <= promise.timeout_at_ms


def _settlement_is_dated(_: Scene, promise: Promise) -> bool:
    if promise.settled_at_ms is None:
        return promise.state is PromiseState.PENDING
    return (
        promise.state is not PromiseState.PENDING
        and promise.created_at_ms <= promise.settled_at_ms <= promise.timeout_at_ms
    )


def _pending_has_no_value(_: Scene, promise: Promise) -> bool:
    return promise.state is not PromiseState.PENDING or promise.value == EMPTY


def _deadline_gives_its_verdict(_: Scene, promise: Promise) -> bool:
    if promise.settled_at_ms != promise.timeout_at_ms:
        return True
    return promise.state is deadline_verdict(promise.tags) and promise.value == EMPTY


def _timedout_only_by_deadline(_: Scene, promise: Promise) -> bool:
    if promise.state is not PromiseState.REJECTED_TIMEDOUT:
        return True
    return promise.settled_at_ms == promise.timeout_at_ms


def _timer_or_target(_: Scene, promise: Promise) -> bool:
    return not (promise.is_timer and promise.target is not None)


def _only_external_promises_carry(scene: Scene, promise: Promise) -> bool:
    if promise.id not in scene.state.carriers:
        return True
    if scene.profile.await_internal is AwaitInternal.ALLOW:
        return True
    return is_external(promise.tags, scene.profile)


def _nothing_from_the_future(scene: Scene, promise: Promise) -> bool:
    settled_at_ms = promise.settled_at_ms or 0
    return promise.created_at_ms <= scene.now_ms and settled_at_ms <= scene.now_ms


def _targets_have_tasks(scene: Scene, promise: Promise) -> bool:
    return (promise.target is not None) == (promise.id in scene.state.tasks)


def _settled_promise_ends_its_task(scene: Scene, promise: Promise) -> bool:
    task = scene.state.tasks.get(promise.id)
    if task is None:
        return True
    settled = promise.state is not PromiseState.PENDING
    return settled == (task.state is TaskState.FULFILLED)


def _doors_were_guarded(_: Scene, promise: Promise) -> bool:
    delay_ms = delay_of(promise.tags)
    return promise.target != "" and (delay_ms is None or delay_ms < promise.timeout_at_ms)


def _settled_promise_carries_nothing(scene: Scene, promise: Promise) -> bool:
    return promise.state is PromiseState.PENDING or promise.id not in scene.state.carriers


def _awaited_deadlines_are_armed(scene: Scene, promise: Promise) -> bool:
    if promise.state is not PromiseState.PENDING:
        return not promise.armed
    awaited = promise.id in scene.state.carriers or is_armed_by_birth(promise.tags)
    return promise.armed or not awaited


def _promise_numbers_are_bounded(_: Scene, promise: Promise) -> bool:
    return all(
        0 <= number <= INTEGER_MAX
        for number in (promise.created_at_ms, promise.timeout_at_ms, promise.settled_at_ms or 0)
    )


PROMISE_RULES: tuple[StateRule[Promise], ...] = (
    StateRule(
        "I2", "created by the deadline; pending strictly before", _created_before_its_deadline
    ),
    StateRule("I3", "settled iff dated, from creation to deadline", _settlement_is_dated),
    StateRule("I4", "a pending promise has no value", _pending_has_no_value),
    StateRule("I5", "settled at the deadline: its verdict, no value", _deadline_gives_its_verdict),
    StateRule("I6", "timed out only at the deadline", _timedout_only_by_deadline),
    StateRule("I7", "never both timer and target", _timer_or_target),
    StateRule("I8", "only external promises carry obligations", _only_external_promises_carry),
    StateRule("I9", "nothing is dated after now", _nothing_from_the_future),
    StateRule("I10", "a task exists iff the promise has a target", _targets_have_tasks),
    StateRule("I15", "promise settled iff task fulfilled", _settled_promise_ends_its_task),
    StateRule("I21", "target not empty, delay before the deadline", _doors_were_guarded),
    StateRule(
        "H1", "discharge is eager: settled carries nothing", _settled_promise_carries_nothing
    ),
    StateRule(
        "H2", "armed while somebody may wait, never once settled", _awaited_deadlines_are_armed
    ),
    StateRule("H3", "instants lie within the protocol's integers", _promise_numbers_are_bounded),
)


# Tasks


def _task_has_its_promise(scene: Scene, task: Task) -> bool:
    promise = scene.state.promises.get(task.id)
    return promise is not None and promise.target == task.target


def _only_acquired_has_a_lease(_: Scene, task: Task) -> bool:
    acquired = task.state is TaskState.ACQUIRED
    facts = (task.pid, task.ttl_ms, task.lease_at_ms)
    return all((fact is not None) == acquired for fact in facts) and (
        not acquired or task.version >= 1
    )


def _only_pending_has_a_dispatch(_: Scene, task: Task) -> bool:
    return (task.state is TaskState.PENDING) == (task.dispatch_at_ms is not None)


def _parked_and_ended_hold_nothing(_: Scene, task: Task) -> bool:
    match task.state:
        case TaskState.FULFILLED | TaskState.SUSPENDED:
            return not task.resumes and not task.paced_until_ms
        case TaskState.HALTED:
            return not task.paced_until_ms
        case _:
            return True


def _resumes_name_settled_promises(scene: Scene, task: Task) -> bool:
    known = [scene.state.promises[i] for i in task.resumes if i in scene.state.promises]
    return all(
        promise.state is not PromiseState.PENDING and promise.id != task.id for promise in known
    )


def _waiting_execute_is_current(scene: Scene, task: Task) -> bool:
    if task.queued_at_ms is None:
        return True
    return task.state is TaskState.PENDING and task.queued_at_ms <= scene.now_ms


def _suspended_holds_a_rung(scene: Scene, task: Task) -> bool:
    if task.state is not TaskState.SUSPENDED or not _is_task_live(scene, task):
        return True
    # Another wait's left-over callback wakes an ANY suspend, but never an ALL one.
    if task.wait_mode is WaitMode.ANY:
        return bool(scene.state.waits.get(task.id))
    return bool(scene.state.needed(task))


def _ttl_is_positive(_: Scene, task: Task) -> bool:
    return task.ttl_ms is None or task.ttl_ms >= 1


def _waiting_on_counts_callbacks(scene: Scene, task: Task) -> bool:
    if task.state is not TaskState.SUSPENDED:
        return task.waiting_on == 0 and task.wait_mode is WaitMode.ANY
    # A dead awaiter's callbacks go without being counted down: nothing will ever wake it.
    if not _is_task_live(scene, task):
        return task.waiting_on >= 1
    return task.waiting_on == len(scene.state.needed(task)) >= 1


def _only_acquired_has_an_instance(_: Scene, task: Task) -> bool:
    return task.instance is None or task.state is TaskState.ACQUIRED


def _deliveries_bound_releases(_: Scene, task: Task) -> bool:
    if task.state in {TaskState.SUSPENDED, TaskState.FULFILLED}:
        return task.unknown_releases == task.deliveries == 0
    return 0 <= task.unknown_releases <= task.deliveries <= task.version


def _lease_is_no_longer_than_granted(scene: Scene, task: Task) -> bool:
    if task.lease_at_ms is None or task.ttl_ms is None:
        return True
    return task.lease_at_ms <= saturate(scene.now_ms + task.ttl_ms)


def _task_numbers_are_bounded(_: Scene, task: Task) -> bool:
    numbers = (
        task.version,
        task.ttl_ms or 0,
        task.lease_at_ms or 0,
        task.dispatch_at_ms or 0,
        task.queued_at_ms or 0,
        task.paced_until_ms,
    )
    return all(0 <= number <= INTEGER_MAX for number in numbers)


def _is_task_live(scene: Scene, task: Task) -> bool:
    promise = scene.state.promises.get(task.id)
    return promise is not None and is_live(promise, scene.now_ms)


TASK_RULES: tuple[StateRule[Task], ...] = (
    StateRule("I10", "a task has its promise and that promise's target", _task_has_its_promise),
    StateRule(
        "I11", "acquired iff pid, ttl and lease; then version 1 up", _only_acquired_has_a_lease
    ),
    StateRule("I12", "pending iff a dispatch is armed", _only_pending_has_a_dispatch),
    StateRule("I13", "fulfilled and suspended hold no resumes", _parked_and_ended_hold_nothing),
    StateRule("I14", "resumes is a set of settled promises", _resumes_name_settled_promises),
    StateRule("I17", "an execute waits for a pending task only", _waiting_execute_is_current),
    StateRule("I19", "a live suspended task has what can wake it", _suspended_holds_a_rung),
    StateRule("I21", "a ttl is at least one millisecond", _ttl_is_positive),
    StateRule("H3", "numbers lie within the protocol's integers", _task_numbers_are_bounded),
    StateRule("H4", "waiting_on counts this suspend's callbacks", _waiting_on_counts_callbacks),
    StateRule("H5", "only an acquired task has an instance", _only_acquired_has_an_instance),
    StateRule("H6", "releases ≤ deliveries ≤ version", _deliveries_bound_releases),
    StateRule("H7", "a lease ends at most a ttl from now", _lease_is_no_longer_than_granted),
)


# Obligations and messages


def _awaits_another(_: Scene, callback: Callback) -> bool:
    return callback.awaited != callback.awaiter


def _awaiter_has_a_target(scene: Scene, callback: Callback) -> bool:
    awaiter = scene.state.promises.get(callback.awaiter)
    return awaiter is not None and awaiter.target is not None


def _awaited_exists(scene: Scene, callback: Callback) -> bool:
    return callback.awaited in scene.state.promises


def _wait_version_was_issued(scene: Scene, callback: Callback) -> bool:
    task = scene.state.tasks.get(callback.awaiter)
    if callback.wait_version is None or task is None:
        return True
    return 1 <= callback.wait_version <= task.version


CALLBACK_RULES: tuple[StateRule[Callback], ...] = (
    StateRule("I8", "a promise never awaits itself", _awaits_another),
    StateRule("I16", "the awaiter is a promise with a target", _awaiter_has_a_target),
    StateRule("H8", "the awaited promise exists", _awaited_exists),
    StateRule("H9", "a wait version has been issued", _wait_version_was_issued),
)


def _address_is_deliverable(_: Scene, listener: Listener) -> bool:
    return is_absolute_uri(listener[1])


def _listened_exists(scene: Scene, listener: Listener) -> bool:
    return listener[0] in scene.state.promises


LISTENER_RULES: tuple[StateRule[Listener], ...] = (
    StateRule("I16", "the address is an absolute URI", _address_is_deliverable),
    StateRule("H8", "the awaited promise exists", _listened_exists),
)


def _unblock_carries_a_settlement(scene: Scene, unblock: Unblock) -> bool:
    promise = scene.state.promises.get(unblock.promise_id)
    return promise is not None and promise.state is not PromiseState.PENDING


def _unblock_is_not_from_the_future(scene: Scene, unblock: Unblock) -> bool:
    return unblock.enqueued_at_ms <= scene.now_ms


UNBLOCK_RULES: tuple[StateRule[Unblock], ...] = (
    StateRule("I18", "an unblock tells of a settled promise", _unblock_carries_a_settlement),
    StateRule("I9", "nothing is dated after now", _unblock_is_not_from_the_future),
)


def _schedule_is_not_a_timer_with_a_target(_: Scene, schedule: Schedule) -> bool:
    tags = schedule.promise_tags
    return not (TARGET in tags and tags.get(TIMER) == "true")


def _schedule_runs_forward(_: Scene, schedule: Schedule) -> bool:
    created_at_ms, last_ms = schedule.created_at_ms, schedule.last_run_at_ms
    if last_ms is None:
        return created_at_ms <= schedule.next_run_at_ms
    return created_at_ms <= last_ms < schedule.next_run_at_ms


def _schedule_means_something(_: Scene, schedule: Schedule) -> bool:
    return flaw_of_cron(schedule.cron) is None and flaw_of_time_zone(schedule.time_zone) is None


SCHEDULE_RULES: tuple[StateRule[Schedule], ...] = (
    StateRule("I7", "never both timer and targeted", _schedule_is_not_a_timer_with_a_target),
    StateRule(
        "I20", "created at most at the last run, that before the next", _schedule_runs_forward
    ),
    StateRule("H10", "the expression and the time zone can be read", _schedule_means_something),
)
