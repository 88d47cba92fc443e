"""What a step may do to promises (§10.2): one function per rule."""

from holdfast.core.checks.step import Pair, Step, StepKind, StepRule
from holdfast.core.records import (
    EMPTY,
    SETTABLE,
    Promise,
    PromiseState,
    TaskState,
    deadline_verdict,
)
from holdfast.core.requests import (
    PromiseCreate,
    PromiseRecord,
    PromiseSettle,
    TaskCreate,
    TaskFence,
    TaskFulfill,
)


def _born_at_now_or_at_its_deadline(step: Step, promise: Promise) -> bool:
    if step.kind is StepKind.FIRING:
        return _born_at_its_planned_instant(step, promise)
    if promise.state is PromiseState.PENDING:
        return promise.created_at_ms == step.now_ms < promise.timeout_at_ms
    if _is_by_a_record(step) and promise.created_at_ms < promise.timeout_at_ms:
        return promise.created_at_ms == promise.settled_at_ms == step.now_ms
    return (
        promise.created_at_ms == promise.settled_at_ms == promise.timeout_at_ms <= step.now_ms
        and promise.state is deadline_verdict(promise.tags)
    )


def _born_at_its_planned_instant(step: Step, promise: Promise) -> bool:
    if promise.state is PromiseState.PENDING:
        return promise.created_at_ms <= step.now_ms < promise.timeout_at_ms
    return (
        promise.created_at_ms <= promise.settled_at_ms == promise.timeout_at_ms <= step.now_ms
        if promise.settled_at_ms is not None
        else False
    ) and promise.state is deadline_verdict(promise.tags)


def _is_by_a_record(step: Step) -> bool:
    request = step.request
    return isinstance(request, TaskFence) and isinstance(request.action, PromiseRecord)


def _born_by_a_create(step: Step, _: Promise) -> bool:
    return step.kind is StepKind.FIRING or step.is_by(PromiseCreate, TaskCreate, TaskFence)


def _born_without_obligations(step: Step, promise: Promise) -> bool:
    return promise.id not in step.after.carriers


PROMISE_BIRTH_RULES: tuple[StepRule[Promise], ...] = (
    StepRule(
        "T4",
        "born pending now, settled by a record, or at its deadline",
        _born_at_now_or_at_its_deadline,
    ),
    StepRule("T5", "born without obligations", _born_without_obligations),
    StepRule("T8", "only a create or a schedule makes promises", _born_by_a_create),
)


def _birth_fields_stay(_: Step, pair: Pair[Promise]) -> bool:
    return _birth_fields(pair.before) == _birth_fields(pair.after)


def _birth_fields(promise: Promise) -> tuple[object, ...]:
    return (promise.param, promise.tags, promise.timeout_at_ms, promise.created_at_ms)


def _settled_stays(_: Step, pair: Pair[Promise]) -> bool:
    if pair.before.state is PromiseState.PENDING:
        return True
    return _settlement(pair.before) == _settlement(pair.after)


def _settlement(promise: Promise) -> tuple[object, ...]:
    return (promise.state, promise.value, promise.settled_at_ms)


def _settled_by_a_client_or_the_deadline(step: Step, pair: Pair[Promise]) -> bool:
    before, after = pair.before, pair.after
    if before.state is not PromiseState.PENDING or after.state is PromiseState.PENDING:
        return True
    if before.timeout_at_ms <= step.now_ms:
        return _settlement(after) == (deadline_verdict(after.tags), EMPTY, after.timeout_at_ms)
    return after.settled_at_ms == step.now_ms and after.state in SETTABLE


def _background_settles_by_deadline_only(step: Step, pair: Pair[Promise]) -> bool:
    if not step.settles(pair.after.id):
        return True
    if step.kind is StepKind.INTERNAL:
        return pair.after.timeout_at_ms <= step.now_ms
    return step.is_by(PromiseSettle, TaskFulfill, TaskFence)


def _settling_ends_the_task(step: Step, pair: Pair[Promise]) -> bool:
    task = step.after.tasks.get(pair.after.id)
    if task is None or not step.settles(pair.after.id):
        return True
    return task.state is TaskState.FULFILLED


PROMISE_CHANGE_RULES: tuple[StepRule[Pair[Promise]], ...] = (
    StepRule("T2", "param, tags, deadline and birth never change", _birth_fields_stay),
    StepRule("T3", "a settled record never changes", _settled_stays),
    StepRule(
        "T4",
        "settled by a client in time, or as the deadline does",
        _settled_by_a_client_or_the_deadline,
    ),
    StepRule("T8", "the store settles by deadline only", _background_settles_by_deadline_only),
    StepRule("T18", "settling a promise fulfils its task", _settling_ends_the_task),
)


def _only_settled_trees_go(step: Step, promise: Promise) -> bool:
    settled = promise.state is not PromiseState.PENDING
    return step.kind is StepKind.RETENTION and settled and promise.id not in step.after.tasks


PROMISE_DEATH_RULES: tuple[StepRule[Promise], ...] = (
    StepRule("T1", "only retention deletes, and only what is settled", _only_settled_trees_go),
)
