"""What must be true of any state and of any step, as the protocol's §10 lists it.

Used by tests, by the store's debug mode and by its offline check. The rules themselves are tables
in `holdfast.core.checks`; this module runs them over whole states. Pure, and linear in the number
of rows (`check_step`: comparing is linear, judging only looks at what differs).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from holdfast.core.checks import (
    obligation_steps,
    promise_steps,
    schedule_steps,
    states,
    task_steps,
)
from holdfast.core.checks.snapshot import State, Violation
from holdfast.core.checks.states import Scene, StateRule
from holdfast.core.checks.step import REQUEST_RULES, Pair, Step, StepKind, StepRule
from holdfast.core.profile import DEFAULT_PROFILE, Profile
from holdfast.core.records import Callback, Promise, Schedule, Task, Unblock
from holdfast.core.requests import Request

__all__ = ["State", "StepKind", "Violation", "check_rows", "check_state", "check_step"]

Row = TypeVar("Row")
Key = TypeVar("Key", str, tuple[str, str])


def check_state(
    state: State, *, now_ms: int, profile: Profile = DEFAULT_PROFILE
) -> list[Violation]:
    """Judge a stored state at an instant; answer every rule that it breaks, and where.

    `profile` matters to one rule only: which promises may carry obligations (I8).
    """
    found = [
        Violation(rule="I1", meaning="keys are unique", subject=key, found="more than one row")
        for key in state.repeated
    ]
    return found + check_rows(
        state,
        promises=state.promises.values(),
        tasks=state.tasks.values(),
        callbacks=state.callbacks.values(),
        listeners=state.listeners,
        unblocks=state.unblocks.values(),
        schedules=state.schedules.values(),
        now_ms=now_ms,
        profile=profile,
    )


def check_rows(
    around: State,
    *,
    promises: Iterable[Promise] = (),
    tasks: Iterable[Task] = (),
    callbacks: Iterable[Callback] = (),
    listeners: Iterable[tuple[str, str]] = (),
    unblocks: Iterable[Unblock] = (),
    schedules: Iterable[Schedule] = (),
    now_ms: int,
    profile: Profile = DEFAULT_PROFILE,
) -> list[Violation]:
    """Judge some rows of a state that is too large to be held whole.

    `around` must hold what the rules look at: of a promise its task and whether it carries
    obligations; of a task its promise, the promises of its resumes and the callbacks it waits for;
    of an obligation or a message the promises that it names, and of a callback the awaiter's task.
    """
    scene = Scene(state=around, now_ms=now_ms, profile=profile)
    found = list(_judge_rows(states.PROMISE_RULES, scene, promises))
    found += _judge_rows(states.TASK_RULES, scene, tasks)
    found += _judge_rows(states.CALLBACK_RULES, scene, callbacks)
    found += _judge_rows(states.LISTENER_RULES, scene, listeners)
    found += _judge_rows(states.UNBLOCK_RULES, scene, unblocks)
    found += _judge_rows(states.SCHEDULE_RULES, scene, schedules)
    return found


def check_step(
    before: State,
    after: State,
    *,
    now_ms: int,
    profile: Profile,
    kind: StepKind,
    request: Request | None = None,
) -> list[Violation]:
    """Judge one step, taken at one instant; answer every rule that it breaks, and where.

    One step is one operation or one internal step: the states around a whole batch or chain show
    several at once, which some rules forbid. With `request` the causes of changes are judged too.
    """
    step = Step(
        before=before, after=after, now_ms=now_ms, profile=profile, kind=kind, request=request
    )
    found: list[Violation] = []
    if request is not None and before != after:
        found += _judge_differences(REQUEST_RULES, step, [request])

    born, changed, gone = _differences(before.promises, after.promises)
    found += _judge_differences(promise_steps.PROMISE_BIRTH_RULES, step, born)
    found += _judge_differences(promise_steps.PROMISE_CHANGE_RULES, step, changed)
    found += _judge_differences(promise_steps.PROMISE_DEATH_RULES, step, gone)

    tasks_born, tasks_changed, tasks_gone = _differences(before.tasks, after.tasks)
    found += _judge_differences(task_steps.TASK_BIRTH_RULES, step, tasks_born)
    found += _judge_differences(task_steps.TASK_CHANGE_RULES, step, tasks_changed)
    found += _judge_differences(task_steps.TASK_DEATH_RULES, step, tasks_gone)

    arrived, renewed, consumed = _differences(before.callbacks, after.callbacks)
    arrived += [pair.after for pair in renewed]
    found += _judge_differences(obligation_steps.CALLBACK_ARRIVAL_RULES, step, arrived)
    found += _judge_differences(obligation_steps.CALLBACK_DEPARTURE_RULES, step, consumed)

    listening = after.listeners - before.listeners
    told = before.listeners - after.listeners
    found += _judge_differences(obligation_steps.LISTENER_ARRIVAL_RULES, step, listening)
    found += _judge_differences(obligation_steps.LISTENER_DEPARTURE_RULES, step, told)

    enqueued, altered, delivered = _differences(before.unblocks, after.unblocks)
    enqueued += [pair.after for pair in altered]
    found += _judge_differences(obligation_steps.UNBLOCK_ARRIVAL_RULES, step, enqueued)
    found += _judge_differences(obligation_steps.UNBLOCK_DEPARTURE_RULES, step, delivered)

    made, moved, dropped = _differences(before.schedules, after.schedules)
    found += _judge_differences(schedule_steps.SCHEDULE_BIRTH_RULES, step, made)
    found += _judge_differences(schedule_steps.SCHEDULE_CHANGE_RULES, step, moved)
    found += _judge_differences(schedule_steps.SCHEDULE_DEATH_RULES, step, dropped)
    return found


def _differences(
    before: Mapping[Key, Row], after: Mapping[Key, Row]
) -> tuple[list[Row], list[Pair[Row]], list[Row]]:
    """Rows that appeared, rows that differ, rows that are gone."""
    born = [row for key, row in after.items() if key not in before]
    gone = [row for key, row in before.items() if key not in after]
    # Most rows are the same objects; comparing identity first keeps large states cheap.
    changed = [
        Pair(before=before[key], after=row)
        for key, row in after.items()
        if key in before and before[key] is not row and before[key] != row
    ]
    return born, changed, gone


def _judge_rows(
    rules: Sequence[StateRule[Row]], scene: Scene, rows: Iterable[Row]
) -> Iterator[Violation]:
    for row in rows:
        for rule in rules:
            if not rule.holds(scene, row):
                yield _violation(rule, row)


def _judge_differences(
    rules: Sequence[StepRule[Row]], step: Step, rows: Iterable[Row]
) -> Iterator[Violation]:
    for row in rows:
        for rule in rules:
            if not rule.holds(step, row):
                yield _violation(rule, row)


def _violation(rule: StateRule[Row] | StepRule[Row], row: Row) -> Violation:
    return Violation(
        rule=rule.number, meaning=rule.meaning, subject=_name(row), found=_describe(row)
    )


def _name(row: object) -> str:
    match row:
        case Pair():
            return _name(row.after)
        case Promise() | Task() | Schedule():
            return row.id
        case Callback():
            return f"{row.awaited} <- {row.awaiter}"
        case Unblock():
            return f"{row.promise_id} -> {row.address}"
        case (promise_id, address):
            return f"{promise_id} <- {address}"
        case _:
            return str(getattr(row, "id", ""))


def _describe(row: object) -> str:
    """Show what a reader needs to see; never a payload."""
    match row:
        case Pair():
            return f"{_describe(row.before)} became {_describe(row.after)}"
        case Promise():
            return (
                f"{row.state.value}, created {row.created_at_ms}, settled {row.settled_at_ms}, "
                f"deadline {row.timeout_at_ms}, armed {row.armed}"
            )
        case Schedule():
            return (
                f"created {row.created_at_ms}, last {row.last_run_at_ms}, "
                f"next {row.next_run_at_ms}, paused {row.paused}"
            )
        case Task() | Callback() | Unblock():
            return repr(row)
        case tuple():
            return "listener"
        case _:
            return type(row).__name__
