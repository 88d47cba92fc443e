"""What a step may do to tasks (§10.2, §3.3, §3.4): one function per rule."""

from collections.abc import Mapping

from holdfast.core.checks.snapshot import delay_of
from holdfast.core.checks.step import Pair, Step, StepKind, StepRule
from holdfast.core.limits import INTEGER_MAX, NOT_BEFORE_SPAN_MS_MAX, saturate
from holdfast.core.records import Task, TaskState, WaitMode
from holdfast.core.requests import (
    PromiseSettle,
    Request,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskHalt,
    TaskHeartbeat,
    TaskRelease,
    TaskSuspend,
)


def _born_with_its_promise(step: Step, task: Task) -> bool:
    return task.id not in step.before.promises and task.id in step.after.promises


def _born_clean(_: Step, task: Task) -> bool:
    version = 1 if task.state is TaskState.ACQUIRED else 0
    states = {TaskState.PENDING, TaskState.ACQUIRED, TaskState.FULFILLED}
    return (
        task.state in states
        and task.version == task.deliveries == version
        and not task.resumes
        and task.queued_at_ms is None
        and task.reason is None
    )


def _born_due_now_or_when_delayed(step: Step, task: Task) -> bool:
    if task.state is not TaskState.PENDING:
        return True
    promise = step.after.promises.get(task.id)
    delay_ms = None if promise is None else delay_of(promise.tags)
    return task.dispatch_at_ms == max(step.now_ms, delay_ms or 0)


def _born_lease_ends_a_ttl_from_now(step: Step, task: Task) -> bool:
    return task.ttl_ms is None or task.lease_at_ms == saturate(step.now_ms + task.ttl_ms)


TASK_BIRTH_RULES: tuple[StepRule[Task], ...] = (
    StepRule("T19", "born with its promise", _born_with_its_promise),
    StepRule("T19", "born pending 0, acquired 1 or fulfilled 0, clean", _born_clean),
    StepRule("T12", "born due now, or when its delay ends", _born_due_now_or_when_delayed),
    StepRule("T11", "a new lease ends a ttl from now", _born_lease_ends_a_ttl_from_now),
)

_ANY_SETTLEMENT: frozenset[type[Request]] = frozenset({PromiseSettle, TaskFulfill, TaskFence})
_SETTLEMENT_BY_OTHERS: frozenset[type[Request]] = frozenset({PromiseSettle, TaskFence})

EDGES: Mapping[tuple[TaskState, TaskState], frozenset[type[Request]]] = {
    (TaskState.PENDING, TaskState.ACQUIRED): frozenset({TaskAcquire, TaskCreate}),
    (TaskState.PENDING, TaskState.HALTED): frozenset({TaskHalt}),
    (TaskState.PENDING, TaskState.FULFILLED): _SETTLEMENT_BY_OTHERS,
    (TaskState.ACQUIRED, TaskState.PENDING): frozenset({TaskRelease}),
    (TaskState.ACQUIRED, TaskState.SUSPENDED): frozenset({TaskSuspend}),
    (TaskState.ACQUIRED, TaskState.HALTED): frozenset({TaskHalt, TaskRelease}),
    (TaskState.ACQUIRED, TaskState.FULFILLED): _ANY_SETTLEMENT,
    (TaskState.SUSPENDED, TaskState.PENDING): _ANY_SETTLEMENT,
    (TaskState.SUSPENDED, TaskState.HALTED): frozenset({TaskHalt}),
    (TaskState.SUSPENDED, TaskState.FULFILLED): _SETTLEMENT_BY_OTHERS,
    (TaskState.HALTED, TaskState.PENDING): frozenset({TaskContinue}),
    (TaskState.HALTED, TaskState.FULFILLED): _SETTLEMENT_BY_OTHERS,
}
"""Ways of a task from state to state (§3.3), and the operations that may take them."""

INTERNAL_EDGES = frozenset(
    {
        (TaskState.ACQUIRED, TaskState.PENDING),
        (TaskState.SUSPENDED, TaskState.PENDING),
        (TaskState.PENDING, TaskState.FULFILLED),
        (TaskState.ACQUIRED, TaskState.FULFILLED),
        (TaskState.SUSPENDED, TaskState.FULFILLED),
        (TaskState.HALTED, TaskState.FULFILLED),
    }
)
"""Ways that the store takes by itself: a lost lease, a wake-up, a deadline."""


def _edge(pair: Pair[Task]) -> tuple[TaskState, TaskState]:
    return (pair.before.state, pair.after.state)


def _enters(pair: Pair[Task], state: TaskState) -> bool:
    return pair.before.state is not state and pair.after.state is state


def _target_stays(_: Step, pair: Pair[Task]) -> bool:
    return pair.before.target == pair.after.target


def _version_counts_acquisitions(_: Step, pair: Pair[Task]) -> bool:
    return pair.after.version == pair.before.version + _enters(pair, TaskState.ACQUIRED)


def _edge_is_allowed(step: Step, pair: Pair[Task]) -> bool:
    if pair.before.state is pair.after.state:
        return pair.before.state is not TaskState.FULFILLED
    causes = EDGES.get(_edge(pair))
    if causes is None:
        return False
    return step.kind is not StepKind.OPERATION or step.is_by(*causes)


def _background_never_acts_for_workers(step: Step, pair: Pair[Task]) -> bool:
    if step.kind is StepKind.OPERATION or pair.before.state is pair.after.state:
        return True
    return step.kind is StepKind.INTERNAL and _edge(pair) in INTERNAL_EDGES


def _lease_ends_with_acquired(_: Step, pair: Pair[Task]) -> bool:
    if pair.before.state is not TaskState.ACQUIRED or pair.after.state is TaskState.ACQUIRED:
        return True
    task = pair.after
    facts = (task.pid, task.ttl_ms, task.lease_at_ms, task.instance)
    return all(fact is None for fact in facts)


def _holder_stays(_: Step, pair: Pair[Task]) -> bool:
    if pair.before.state is not TaskState.ACQUIRED or pair.after.state is not TaskState.ACQUIRED:
        return True
    return _holder(pair.before) == _holder(pair.after)


def _holder(task: Task) -> tuple[object, ...]:
    return (task.pid, task.ttl_ms, task.instance)


def _new_lease_ends_a_ttl_from_now(step: Step, pair: Pair[Task]) -> bool:
    task = pair.after
    if task.lease_at_ms is None or task.ttl_ms is None:
        return True
    if task.lease_at_ms == pair.before.lease_at_ms and not _enters(pair, TaskState.ACQUIRED):
        return True
    return task.lease_at_ms == saturate(step.now_ms + task.ttl_ms)


def _entering_pending_is_due_now(step: Step, pair: Pair[Task]) -> bool:
    if not _enters(pair, TaskState.PENDING):
        return True
    due_at_ms = pair.after.dispatch_at_ms
    if due_at_ms is None:
        return False
    if isinstance(step.request, TaskRelease) and step.request.not_before_ms is not None:
        latest_ms = saturate(step.now_ms + NOT_BEFORE_SPAN_MS_MAX)
        return due_at_ms == max(step.now_ms, min(step.request.not_before_ms, latest_ms))
    if step.request is None and step.kind is StepKind.OPERATION:
        return step.now_ms <= due_at_ms <= saturate(step.now_ms + NOT_BEFORE_SPAN_MS_MAX)
    return due_at_ms == step.now_ms


def _rearming_moves_forward(step: Step, pair: Pair[Task]) -> bool:
    before_ms, after_ms = pair.before.dispatch_at_ms, pair.after.dispatch_at_ms
    if before_ms is None or after_ms is None or before_ms == after_ms:
        return True
    return before_ms <= step.now_ms < after_ms or after_ms == INTEGER_MAX


def _release_is_paced(step: Step, pair: Pair[Task]) -> bool:
    if not _enters(pair, TaskState.PENDING):
        return True
    if isinstance(step.request, TaskRelease):
        return pair.after.paced_until_ms == saturate(step.now_ms + step.profile.pacing_ms)
    unknown = step.request is None and step.kind is StepKind.OPERATION
    return unknown or pair.after.paced_until_ms == 0


def _resumes_grow_or_go(_: Step, pair: Pair[Task]) -> bool:
    before, after = pair.before.resumes, pair.after.resumes
    if before <= after:
        return True
    cleared_in = {TaskState.ACQUIRED, TaskState.SUSPENDED, TaskState.FULFILLED}
    return not after and pair.after.state in cleared_in


def _lease_begins_without_resumes(_: Step, pair: Pair[Task]) -> bool:
    return not (_enters(pair, TaskState.ACQUIRED) and pair.after.resumes)


def _new_resumes_come_from_callbacks(step: Step, pair: Pair[Task]) -> bool:
    task = pair.after
    return all(
        (awaited, task.id) in step.before.callbacks
        and (awaited, task.id) not in step.after.callbacks
        for awaited in task.resumes - pair.before.resumes
    )


def _wake_up_has_its_reason(step: Step, pair: Pair[Task]) -> bool:
    before, task = pair.before, pair.after
    if _edge(pair) != (TaskState.SUSPENDED, TaskState.PENDING):
        return True
    if not task.resumes or not step.is_live_before(task.id):
        return False
    if before.wait_mode is WaitMode.ANY:
        return True
    needed = [c for c in step.before.needed(before) if c.awaited in task.resumes]
    if not needed:
        return False
    if not step.after.needed(task):
        return True
    return before.wait_mode is WaitMode.ALL_RESOLVED and any(
        step.hurts(callback.awaited) for callback in needed
    )


def _suspending_registers(step: Step, pair: Pair[Task]) -> bool:
    if not _enters(pair, TaskState.SUSPENDED):
        return True
    needed = step.after.needed(pair.after)
    known = {c.awaited for c in step.before.needed(pair.after)}
    return any(c.awaited not in known and step.is_live_before(c.awaited) for c in needed)


def _fulfilled_with_its_promise(step: Step, pair: Pair[Task]) -> bool:
    return not _enters(pair, TaskState.FULFILLED) or step.settles(pair.after.id)


def _no_dead_dispatch(step: Step, pair: Pair[Task]) -> bool:
    enqueued = pair.before.queued_at_ms is None and pair.after.queued_at_ms is not None
    if not enqueued and not _enters(pair, TaskState.PENDING):
        return True
    return step.is_live_before(pair.after.id)


def _new_execute_was_due(step: Step, pair: Pair[Task]) -> bool:
    before, task = pair.before, pair.after
    if task.queued_at_ms is None or task.queued_at_ms == before.queued_at_ms:
        return True
    return (
        step.kind is StepKind.INTERNAL
        and before.state is task.state is TaskState.PENDING
        and before.queued_at_ms is None
        and before.due_at_ms is not None
        and before.due_at_ms <= step.now_ms == task.queued_at_ms
        and task.dispatch_at_ms == saturate(step.now_ms + step.profile.retry_interval_ms)
    )


def _execute_goes_by_delivery(step: Step, pair: Pair[Task]) -> bool:
    if pair.before.queued_at_ms is None or pair.after.queued_at_ms is not None:
        return True
    return step.kind is StepKind.DELIVERY or pair.after.state is not TaskState.PENDING


def _heartbeat_is_the_holders(step: Step, pair: Pair[Task]) -> bool:
    if not isinstance(step.request, TaskHeartbeat):
        return True
    refs = {(ref.id, ref.version) for ref in step.request.tasks}
    named = not refs or (pair.before.id, pair.before.version) in refs
    held = pair.before.state is TaskState.ACQUIRED and pair.before.pid == step.request.pid
    return named and held and step.is_live_before(pair.before.id)


TASK_CHANGE_RULES: tuple[StepRule[Pair[Task]], ...] = (
    StepRule("T2", "the target never changes", _target_stays),
    StepRule("T6", "version + 1 exactly on becoming acquired", _version_counts_acquisitions),
    StepRule("T7", "states change along the edges, for their causes", _edge_is_allowed),
    StepRule(
        "T8", "the store never acts for a worker by itself", _background_never_acts_for_workers
    ),
    StepRule("T9", "leaving acquired clears the lease", _lease_ends_with_acquired),
    StepRule("T10", "one acquired version has one holder", _holder_stays),
    StepRule("T11", "a new lease ends a ttl from now", _new_lease_ends_a_ttl_from_now),
    StepRule("T12", "entering pending is due now", _entering_pending_is_due_now),
    StepRule("T12", "a dispatch re-arms when due, forward", _rearming_moves_forward),
    StepRule("T13", "resumes grow or are cleared whole", _resumes_grow_or_go),
    StepRule("T13", "a lease begins without resumes", _lease_begins_without_resumes),
    StepRule("T14", "a wake-up has a callback that was needed", _wake_up_has_its_reason),
    StepRule("T15", "suspending registers on a live promise", _suspending_registers),
    StepRule("T16", "a resume is a consumed callback", _new_resumes_come_from_callbacks),
    StepRule("T18", "fulfilled only with its promise", _fulfilled_with_its_promise),
    StepRule("T20", "no dead dispatch", _no_dead_dispatch),
    StepRule("T21", "an execute is enqueued by dispatch, when due", _new_execute_was_due),
    StepRule("T1", "an execute leaves by delivery or with its turn", _execute_goes_by_delivery),
    StepRule("V6", "a heartbeat extends the holder's leases only", _heartbeat_is_the_holders),
    StepRule("§4.3", "a release, and nothing else, is paced", _release_is_paced),
)


def _goes_with_its_promise(step: Step, task: Task) -> bool:
    return step.kind is StepKind.RETENTION and task.id not in step.after.promises


TASK_DEATH_RULES: tuple[StepRule[Task], ...] = (
    StepRule("T1", "only retention deletes, with the promise", _goes_with_its_promise),
)
