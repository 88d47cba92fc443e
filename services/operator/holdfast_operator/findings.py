"""What is said about a WorkerGroup: its plan in sentences, as conditions. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from holdfast_operator.plan import (
    Limit,
    Observation,
    Plan,
    Reason,
    StoreSilent,
    Work,
    is_young,
)

READY: Final = "Ready"
SCALING_ACTIVE: Final = "ScalingActive"
STORE_REACHABLE: Final = "StoreReachable"
LIMITED: Final = "Limited"

INVALID_SPEC: Final = "InvalidSpec"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A condition without what only the stored object knows: instants and generation."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


def findings_of(seen: Observation, plan: Plan, *, trouble: Finding | None) -> tuple[Finding, ...]:
    """Say in conditions what a plan found; `trouble` is why it could not be carried out.

    About a store that is silent for a moment only, nothing is said: what was said before stands.
    """
    return (
        trouble or _ready(seen, plan),
        Finding(
            type=SCALING_ACTIVE,
            status="True" if plan.reason in {Reason.QUEUE_DEPTH, Reason.MANUAL} else "False",
            reason=plan.reason.value,
            message=decision(seen, plan),
        ),
        _limited(seen, plan),
        *([] if _is_silent_for_a_moment(seen) else [_store(seen)]),
    )


def findings_of_bad_spec(sentence: str) -> tuple[Finding, ...]:
    """Say that an object cannot be read; nothing is done about it until it is mended."""
    return (
        Finding(type=READY, status="False", reason=INVALID_SPEC, message=sentence),
        Finding(
            type=SCALING_ACTIVE,
            status="False",
            reason=INVALID_SPEC,
            message="Nothing is scaled until the spec is mended.",
        ),
    )


def trouble(reason: str, message: str) -> Finding:
    """Say why a plan could not be carried out."""
    return Finding(type=READY, status="False", reason=reason, message=message)


def decision(seen: Observation, plan: Plan) -> str:
    """Say in a sentence what was decided, and from which numbers."""
    name = seen.spec.scale_target_ref.name
    match plan.reason:
        case Reason.CONFLICT:
            return (
                f"WorkerGroup {seen.rival} is older and scales Deployment {name} as well: this one"
                " does nothing. Delete one of the two, or give it another target."
            )
        case Reason.TARGET_NOT_FOUND:
            return f"There is no Deployment {name} to scale."
        case Reason.EXTERNAL:
            return f"Another autoscaler owns the replicas of Deployment {name}; this one reports."
        case Reason.MANUAL:
            return f"Deployment {name} follows spec.replicas, {plan.unlimited}{_but(seen, plan)}."
        case Reason.STORE_UNREACHABLE:
            return (
                f"What waits is unknown, so Deployment {name} keeps its {_replicas(plan.desired)}."
            )
        case Reason.QUEUE_DEPTH:
            assert isinstance(seen.work, Work)
            assert plan.unlimited is not None
            return f"{_numbers(seen, seen.work, plan.unlimited)}{_but(seen, plan)}."


def _numbers(seen: Observation, work: Work, unlimited: int) -> str:
    per_replica = seen.spec.autoscaling.target_per_replica
    return (
        f"{work.due} due and {work.running} running tasks want {_replicas(unlimited)}"
        f" at {per_replica} a replica"
    )


def _but(seen: Observation, plan: Plan) -> str:
    """Say what keeps the replicas from what was wanted."""
    rules = seen.spec.autoscaling
    assert plan.unlimited is not None
    below_min = f", and min is {rules.min}" if plan.unlimited < rules.min else ""
    window_s = rules.stabilization_seconds
    return {
        Limit.NONE: below_min,
        Limit.MAX: f", but max is {rules.max}",
        Limit.MIN: f", but min is {rules.min}",
        Limit.STABILIZING: f"; the most wanted in the last {window_s} s is {plan.desired}",
        Limit.AWAITING_IDLE: f"; the last one goes after {rules.idle_seconds} s without work",
        Limit.BUSY_PODS: f", but {_pods(plan.desired)} running tasks",
        Limit.UNKNOWN_HOLDERS: ", but who holds the running tasks is not known",
    }[plan.limit]


def _ready(seen: Observation, plan: Plan) -> Finding:
    if plan.reason in {Reason.CONFLICT, Reason.TARGET_NOT_FOUND, Reason.STORE_UNREACHABLE}:
        return Finding(
            type=READY, status="False", reason=plan.reason.value, message=_remedy(seen, plan)
        )
    target = seen.target
    assert target is not None
    wanted = target.wanted if plan.scale is None else plan.scale.replicas
    if target.ready != wanted:
        message = f"{_replicas(target.ready)} ready, {wanted} wanted."
        return Finding(type=READY, status="False", reason="Scaling", message=message)
    unknown = seen.work.unknown if isinstance(seen.work, Work) else ()
    if wanted == 0:
        by_work = plan.reason is Reason.QUEUE_DEPTH
        message = _idle(unknown) if by_work else "No replica is wanted."
        return Finding(type=READY, status="True", reason="Idle", message=message)
    if unknown:
        message = _unknown_groups(unknown, ready=target.ready)
        return Finding(type=READY, status="True", reason="GroupUnknown", message=message)
    message = f"{wanted} of {_replicas(wanted)} are ready."
    return Finding(type=READY, status="True", reason="Scaled", message=message)


def _remedy(seen: Observation, plan: Plan) -> str:
    """Say what to do about what keeps a WorkerGroup from working."""
    name = seen.spec.scale_target_ref.name
    match plan.reason:
        case Reason.TARGET_NOT_FOUND:
            return (
                f"There is no Deployment {name} in this namespace. Create it, or correct"
                " spec.scaleTargetRef.name."
            )
        case Reason.STORE_UNREACHABLE:
            assert isinstance(seen.work, StoreSilent)
            return (
                f"The replicas are kept until the promise store reports again: {seen.work.reason}."
            )
        case _:
            return decision(seen, plan)


def _idle(unknown: Sequence[str]) -> str:
    """Say why no replica is needed; of a group without any trace, what to check if one is."""
    if not unknown:
        return "No replica is needed: there is no work."
    return (
        f"No replica is needed: {_groups(unknown)} waits for the first task. If there should be"
        " one, compare spec.groups with the targets of the promises."
    )


def _unknown_groups(unknown: Sequence[str], *, ready: int) -> str:
    are = "is" if ready == 1 else "are"
    return (
        f"No worker has joined {_groups(unknown)}, although {_replicas(ready)} {are} ready. Compare"
        " spec.groups with the groups that the workers join, and with the targets of the promises."
    )


def _groups(names: Sequence[str]) -> str:
    return f"{'group' if len(names) == 1 else 'each of the groups'} {', '.join(names)}"


def _is_silent_for_a_moment(seen: Observation) -> bool:
    return isinstance(seen.work, StoreSilent) and is_young(seen.work, now_ms=seen.now_ms)


def _store(seen: Observation) -> Finding:
    if isinstance(seen.work, StoreSilent):
        return Finding(
            type=STORE_REACHABLE,
            status="False",
            reason="Unreachable",
            message=f"The promise store does not report: {seen.work.reason}.",
        )
    return Finding(
        type=STORE_REACHABLE,
        status="True",
        reason="Connected",
        message="The promise store reports its queues.",
    )


def _limited(seen: Observation, plan: Plan) -> Finding:
    rules = seen.spec.autoscaling
    name = seen.spec.scale_target_ref.name
    wanted = _replicas(plan.unlimited)
    message = "Nothing keeps the replicas from following the work."
    match plan.limit:
        case Limit.NONE:
            pass
        case Limit.MAX:
            who = "spec.replicas asks for" if plan.reason is Reason.MANUAL else "The work wants"
            message = f"{who} {wanted}, autoscaling.max allows {rules.max}."
        case Limit.MIN:
            message = f"spec.replicas asks for {wanted}, autoscaling.min demands {rules.min}."
        case Limit.STABILIZING:
            message = (
                f"The work wants {wanted}. The most that was wanted in the last"
                f" {rules.stabilization_seconds} s (autoscaling.stabilizationSeconds) is kept:"
                f" {plan.desired}."
            )
        case Limit.AWAITING_IDLE:
            message = (
                f"The last replica goes when there was no work for {rules.idle_seconds} s"
                " (autoscaling.idleSeconds)."
            )
        case Limit.BUSY_PODS:
            message = (
                f"The work wants {wanted}, but in Deployment {name} {_pods(plan.desired)} running"
                " tasks; each goes when it holds none."
            )
        case Limit.UNKNOWN_HOLDERS:
            message = (
                f"The work wants {wanted}, but some running tasks are held by nobody who is"
                " connected to the store that was asked, so no pod is known to be idle. This ends"
                " when they finish or their leases run out."
            )
    status: Literal["True", "False"] = "False" if plan.limit is Limit.NONE else "True"
    return Finding(type=LIMITED, status=status, reason=plan.limit.value, message=message)


def _replicas(number: int | None) -> str:
    return "1 replica" if number == 1 else f"{number} replicas"


def _pods(number: int | None) -> str:
    return "1 pod holds" if number == 1 else f"{number} pods hold"
