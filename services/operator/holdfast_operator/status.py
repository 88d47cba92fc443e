"""The status of a WorkerGroup: what is written, when it is worth writing, and what is an event.

Pure. A status whose numbers alone changed may wait; one whose conditions changed may not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from holdfast_operator.findings import (
    INVALID_SPEC,
    LIMITED,
    READY,
    STORE_REACHABLE,
    Finding,
)
from holdfast_operator.model import Condition, WorkerGroupStatus
from holdfast_operator.plan import Limit, Observation, Plan, Reason, Work

MESSAGE_MAX: Final = 1_024

FORBIDDEN: Final = "Forbidden"
REFUSED: Final = "Refused"
SCALED_UP: Final = "ScaledUp"
SCALED_DOWN: Final = "ScaledDown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """An event: something happened to a WorkerGroup that a person may want to know."""

    type: Literal["Normal", "Warning"]
    reason: str
    action: str
    message: str


def next_status(
    before: WorkerGroupStatus,
    findings: Sequence[Finding],
    *,
    seen: Observation | None,
    plan: Plan | None,
    generation: int,
    now: str,
    scaled_at: str | None = None,
) -> WorkerGroupStatus:
    """Write what is known now over what was known before; `now` is an instant in RFC 3339.

    Numbers that nobody knows keep their last value: the conditions say that they are old. So does
    the condition of the store if the findings say nothing about it.
    """
    conditions = [_condition(before, f, generation=generation, now=now) for f in findings]
    store = condition_of(before, STORE_REACHABLE)
    if store is not None and all(each.type != STORE_REACHABLE for each in findings):
        conditions.append(store)
    status = replace(before, observed_generation=generation, conditions=tuple(conditions))
    if scaled_at is not None:
        status = replace(status, last_scale_time=scaled_at)
    if seen is None or plan is None:
        return status
    if seen.target is not None:
        status = replace(
            status,
            replicas=seen.target.existing,
            ready_replicas=seen.target.ready,
            selector=seen.target.selector,
        )
    if isinstance(seen.work, Work):
        unknown = seen.work.unknown
        status = replace(
            status,
            known_groups=tuple(group for group in seen.spec.groups if group not in unknown),
            due=seen.work.due,
            running=seen.work.running,
            oldest_due_age_seconds=seen.work.oldest_due_age_ms // 1000,
        )
    desired: int | UnsetType = UNSET if plan.desired is None else plan.desired
    return replace(status, desired_replicas=desired)


def _condition(
    before: WorkerGroupStatus, finding: Finding, *, generation: int, now: str
) -> Condition:
    previous = condition_of(before, finding.type)
    lasting = previous is not None and previous.status == finding.status
    return Condition(
        type=finding.type,
        status=finding.status,
        reason=finding.reason,
        message=finding.message[:MESSAGE_MAX],
        last_transition_time=previous.last_transition_time if previous and lasting else now,
        observed_generation=generation,
    )


def condition_of(status: WorkerGroupStatus, kind: str) -> Condition | None:
    """Find a condition."""
    return next((each for each in status.conditions if each.type == kind), None)


def differs_in_substance(before: WorkerGroupStatus, after: WorkerGroupStatus) -> bool:
    """Whether more changed than the numbers of the queues, and what follows each of their waves."""
    return _substance(before) != _substance(after)


def _substance(status: WorkerGroupStatus) -> WorkerGroupStatus:
    return replace(
        status,
        due=UNSET,
        running=UNSET,
        oldest_due_age_seconds=UNSET,
        conditions=tuple(
            replace(each, message="") for each in status.conditions if not _is_passing(each)
        ),
    )


def _is_passing(condition: Condition) -> bool:
    """Whether it comes and goes with the numbers: it would be a write for each wave of a queue."""
    return condition.type == LIMITED and condition.reason not in _LASTING_LIMITS


def notices_between(before: WorkerGroupStatus, after: WorkerGroupStatus) -> list[Notice]:
    """List the events of a transition; the status says what was told before, over restarts too."""
    notices = []
    old, new = condition_of(before, READY), condition_of(after, READY)
    if new is not None and new.reason in _TROUBLES and (old is None or old.reason != new.reason):
        notices.append(_warning(new.reason, new.message))
    old, new = condition_of(before, STORE_REACHABLE), condition_of(after, STORE_REACHABLE)
    if old is not None and new is not None and (old.status, new.status) == ("False", "True"):
        notices.append(
            Notice(type="Normal", reason="StoreReachable", action="Observe", message=new.message)
        )
    return notices


def notice_of_scaling(seen: Observation, plan: Plan, sentence: str) -> Notice:
    """Tell that the replicas were changed, and why."""
    assert plan.scale is not None
    assert seen.target is not None
    before, after = seen.target.wanted, plan.scale.replicas
    return Notice(
        type="Normal",
        reason=SCALED_UP if after > before else SCALED_DOWN,
        action="Scale",
        message=f"Scaled Deployment {seen.target.name} from {before} to {after}: {sentence}",
    )


def _warning(reason: str, message: str) -> Notice:
    action = "Scale" if reason in {FORBIDDEN, REFUSED} else "Observe"
    return Notice(type="Warning", reason=reason, action=action, message=message)


_LASTING_LIMITS: Final = frozenset({Limit.MAX.value, Limit.MIN.value})
"""Limits that a person set, and may want to change."""

_TROUBLES: Final = frozenset(
    {
        Reason.CONFLICT.value,
        Reason.TARGET_NOT_FOUND.value,
        Reason.STORE_UNREACHABLE.value,
        INVALID_SPEC,
        FORBIDDEN,
        REFUSED,
    }
)
