"""What a step may do to schedules (§5.5, §10.2, §13): one function per rule."""

from msgspec.structs import replace

from holdfast.core.checks.step import Pair, Step, StepKind, StepRule
from holdfast.core.records import Schedule
from holdfast.core.requests import ScheduleCreate, ScheduleDelete, SchedulePause


def _born_by_a_create_now(step: Step, schedule: Schedule) -> bool:
    return (
        step.is_by(ScheduleCreate)
        and schedule.created_at_ms == step.now_ms < schedule.next_run_at_ms
        and schedule.last_run_at_ms is None
    )


SCHEDULE_BIRTH_RULES: tuple[StepRule[Schedule], ...] = (
    StepRule("T8", "made by a create, to run strictly later", _born_by_a_create_now),
)


def _birth_fields_stay(_: Step, pair: Pair[Schedule]) -> bool:
    before, after = pair.before, pair.after
    moved = replace(
        before,
        next_run_at_ms=after.next_run_at_ms,
        last_run_at_ms=after.last_run_at_ms,
        paused=after.paused,
    )
    return moved == after


def _changes_by_firing_or_pausing(step: Step, pair: Pair[Schedule]) -> bool:
    before, after = pair.before, pair.after
    if step.kind is StepKind.FIRING:
        last_ms = after.last_run_at_ms
        in_turn = last_ms is not None and before.next_run_at_ms <= last_ms <= step.now_ms
        return in_turn and not before.paused and not after.paused
    return step.is_by(SchedulePause) and before.last_run_at_ms == after.last_run_at_ms


def _next_never_goes_back(_: Step, pair: Pair[Schedule]) -> bool:
    return pair.before.next_run_at_ms <= pair.after.next_run_at_ms


SCHEDULE_CHANGE_RULES: tuple[StepRule[Pair[Schedule]], ...] = (
    StepRule("T2", "what a schedule was made with never changes", _birth_fields_stay),
    StepRule("T8", "a schedule changes when it fires or is paused", _changes_by_firing_or_pausing),
    StepRule("I20", "the next run never goes back", _next_never_goes_back),
)


def _deleted_by_request(step: Step, _: Schedule) -> bool:
    return step.is_by(ScheduleDelete)


SCHEDULE_DEATH_RULES: tuple[StepRule[Schedule], ...] = (
    StepRule("T1", "only a delete takes a schedule away", _deleted_by_request),
)
