"""What should be done about one WorkerGroup: a pure function of what was observed.

No clock, no I/O: instants are parameters, on a clock that never goes back. What must be remembered
from one plan to the next is a value, too. `findings.py` says the same things in sentences.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from holdfast_operator.model import Autoscaling, WorkerGroupSpec

STORE_GRACE_MS: Final = 5_000
"""For so long an interrupted report of the store is not worth telling; decisions wait at once."""

LOOK_AGAIN_MS: Final = 5_000
"""Shortest time between two looks for idle pods, or for members of an unknown group, when the last
one found too few."""


# What was observed


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The queues of a WorkerGroup's groups, added up."""

    due: int
    running: int
    oldest_due_age_ms: int = 0
    members: int = 0
    unknown: tuple[str, ...] = ()
    """Groups of which the store has never had a task or a member, as far as anybody remembers."""

    @property
    def tasks(self) -> int:
        """The tasks that need a worker."""
        return self.due + self.running


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSilent:
    """The store does not report, since when, and what was tried last."""

    since_ms: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The Deployment: the replicas that somebody wanted last, and those that exist."""

    name: str
    wanted: int
    existing: int
    ready: int
    selector: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod of the target that is not ending; `held` is `None` if no member bears its name."""

    name: str
    held: int | None
    marked: bool = False
    """An earlier scaling down marked it as one to go first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pods:
    """The pods of the target, and how many running tasks no connected member is known to hold."""

    pods: tuple[Pod, ...]
    unaccounted: int

    @property
    def busy(self) -> int:
        """How many pods hold tasks."""
        return sum(1 for pod in self.pods if pod.held)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What a plan remembers: recent desires, oldest first, and when work was seen last.

    Invariant: instants ascend and desires descend, for a lower desire that a later higher one
    follows can never again be the maximum.
    """

    recent: tuple[tuple[int, int], ...] = ()
    worked_at_ms: int | None = None
    looked_at_ms: int | None = None
    """When a look at the pods ended in `found`, which kept the replicas."""
    found: "Limit | None" = None


BLIND: Final = Memory()
"""Nothing was seen yet, or the store went silent since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """All that a plan depends on."""

    spec: WorkerGroupSpec
    target: Target | None
    work: Work | StoreSilent
    rival: str | None = None
    """The older WorkerGroup that has the same target."""
    pods: Pods | None = None
    """Looked at only when a plan asked for it."""
    memory: Memory = BLIND
    now_ms: int


# What follows


class Reason(StrEnum):
    """Why the number of replicas is what it is. The values are public: conditions show them."""

    QUEUE_DEPTH = "QueueDepth"
    MANUAL = "Manual"
    EXTERNAL = "External"
    CONFLICT = "Conflict"
    TARGET_NOT_FOUND = "TargetNotFound"
    STORE_UNREACHABLE = "StoreUnreachable"


class Limit(StrEnum):
    """What keeps the replicas from what the numbers alone would want. The values are public."""

    NONE = "NotLimited"
    MAX = "Max"
    MIN = "Min"
    STABILIZING = "Stabilizing"
    AWAITING_IDLE = "AwaitingIdle"
    BUSY_PODS = "BusyPods"
    UNKNOWN_HOLDERS = "UnknownHolders"


_FOUND: Final = frozenset({Limit.BUSY_PODS, Limit.UNKNOWN_HOLDERS})
"""What only a look at the pods can tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Set the replicas; before that, mark these pods to go first, and unmark those."""

    replicas: int
    mark: tuple[Pod, ...] = ()
    unmark: tuple[Pod, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do now, why, and what to remember.

    `desired` is what is wanted after all limits; `None` while nobody can say. When
    `wants_pods`, plan again with the pods in the observation.
    """

    reason: Reason
    desired: int | None
    limit: Limit = Limit.NONE
    unlimited: int | None = None
    """What the numbers alone, or the order, would want."""
    scale: Scale | None = None
    wants_pods: bool = False
    quiet: bool = False
    """Nothing is known for so short a time that it is not worth telling."""
    memory: Memory


def plan(seen: Observation) -> Plan:
    """Decide about one WorkerGroup."""
    if seen.rival is not None:
        return Plan(reason=Reason.CONFLICT, desired=None, memory=BLIND)
    if seen.target is None:
        return Plan(reason=Reason.TARGET_NOT_FOUND, desired=None, memory=BLIND)
    match seen.spec.autoscaling.mode:
        case "Manual":
            return _manual(seen, seen.target)
        case "External":
            return Plan(reason=Reason.EXTERNAL, desired=seen.target.wanted, memory=BLIND)
        case "Operator":
            return _by_queue_depth(seen, seen.target)


def _manual(seen: Observation, target: Target) -> Plan:
    """Follow `spec.replicas`: a person, or an autoscaler aimed at the WorkerGroup, gave an order.

    An order is obeyed, within min and max, even if busy pods must end; the idle ones end first.
    """
    rules, asked = seen.spec.autoscaling, seen.spec.replicas
    desired = _within(rules, asked)
    limit = Limit.NONE
    if asked != desired:
        limit = Limit.MAX if asked > desired else Limit.MIN
    ordered = Plan(
        reason=Reason.MANUAL, desired=desired, limit=limit, unlimited=asked, memory=BLIND
    )
    return _set(ordered, seen, target, replicas=desired)


def _by_queue_depth(seen: Observation, target: Target) -> Plan:
    if isinstance(seen.work, StoreSilent):
        # Nobody knows what waits, so nothing changes. What was wanted before the silence says
        # nothing about what is wanted after it: the memory starts anew.
        quiet = is_young(seen.work, now_ms=seen.now_ms)
        return Plan(
            reason=Reason.STORE_UNREACHABLE,
            desired=target.wanted,
            quiet=quiet,
            memory=seen.memory if quiet else BLIND,
        )
    rules = seen.spec.autoscaling
    unlimited = wanted_by(rules, seen.work)
    memory = remember(seen, seen.work, target, desire=_within(rules, unlimited))
    base = Plan(
        reason=Reason.QUEUE_DEPTH, desired=target.wanted, unlimited=unlimited, memory=memory
    )
    steady = _within(rules, max(desire for _at, desire in memory.recent))
    if steady >= target.wanted:
        return _upwards(base, seen, target)
    if target.wanted > rules.max:
        return _to_max(base, seen, target)
    return _downwards(base, seen, target, steady=steady)


def is_young(silence: StoreSilent, *, now_ms: int) -> bool:
    """Whether a silence is too short to be worth telling."""
    return now_ms - silence.since_ms < STORE_GRACE_MS


def wanted_by(rules: Autoscaling, work: Work) -> int:
    """Replicas that the numbers alone want: one for each `targetPerReplica` tasks, rounded up."""
    return -(-work.tasks // rules.target_per_replica)


def remember(seen: Observation, work: Work, target: Target, *, desire: int) -> Memory:
    """Add a desire to the memory, and forget what is older than the window.

    Whoever was blind takes the present replicas for what was wanted until now: after a restart,
    as after a silence of the store, nothing is scaled down for one window.
    """
    now_ms, memory = seen.now_ms, seen.memory
    recent = memory.recent or ((now_ms, target.wanted),)
    window_ms = seen.spec.autoscaling.stabilization_seconds * 1000
    kept = tuple(
        (at_ms, each) for at_ms, each in recent if at_ms > now_ms - window_ms and each > desire
    )
    worked_at_ms = now_ms if work.tasks or memory.worked_at_ms is None else memory.worked_at_ms
    return replace(memory, recent=(*kept, (now_ms, desire)), worked_at_ms=worked_at_ms)


def _upwards(base: Plan, seen: Observation, target: Target) -> Plan:
    """Scale up at once to what is wanted now; a greater desire of the past keeps, never adds."""
    rules = seen.spec.autoscaling
    assert base.unlimited is not None
    present = _within(rules, base.unlimited)
    if present < target.wanted:
        return replace(base, limit=Limit.STABILIZING)
    limit = Limit.MAX if base.unlimited > rules.max else Limit.NONE
    return _set(replace(base, desired=present, limit=limit), seen, target, replicas=present)


def _to_max(base: Plan, seen: Observation, target: Target) -> Plan:
    """Obey `max`, a promise of its own (a database that bears one writer): even for busy pods."""
    most = seen.spec.autoscaling.max
    limited = replace(base, desired=most, limit=Limit.MAX)
    return _set(limited, seen, target, replicas=most)


def _downwards(base: Plan, seen: Observation, target: Target, *, steady: int) -> Plan:
    """Scale down to what was wanted most in the window, but never by a pod that holds a task."""
    rules = seen.spec.autoscaling
    work, memory, now_ms = seen.work, base.memory, seen.now_ms
    assert isinstance(work, Work)
    assert memory.worked_at_ms is not None
    assert base.unlimited is not None
    limit = Limit.STABILIZING if steady > _within(rules, base.unlimited) else Limit.NONE
    if steady == 0 and now_ms - memory.worked_at_ms < rules.idle_seconds * 1000:
        steady, limit = 1, Limit.AWAITING_IDLE
        if target.wanted == 1:
            return replace(base, limit=limit)
    if seen.pods is None:
        looked_at_ms = memory.looked_at_ms
        if looked_at_ms is not None and now_ms - looked_at_ms < LOOK_AGAIN_MS:
            assert memory.found is not None
            return replace(base, limit=memory.found)
        return replace(base, wants_pods=True)
    desired = max(steady, seen.pods.busy)
    if seen.pods.unaccounted > 0:
        # Any pod may be the one: there is none of which we could say that it is idle.
        desired, limit = target.wanted, Limit.UNKNOWN_HOLDERS
    elif desired > steady:
        desired, limit = min(desired, target.wanted), Limit.BUSY_PODS
    if limit in _FOUND:
        memory = replace(memory, looked_at_ms=now_ms, found=limit)
    plan = replace(base, desired=desired, limit=limit, memory=memory)
    return _set(plan, seen, target, replicas=desired)


def _set(plan: Plan, seen: Observation, target: Target, *, replicas: int) -> Plan:
    """Complete a plan by the scaling that it needs; for fewer replicas, see the pods first."""
    if replicas == target.wanted:
        return plan
    if replicas > target.wanted or replicas == 0:
        return replace(plan, scale=Scale(replicas=replicas))
    if seen.pods is None:
        return replace(plan, wants_pods=True)
    return replace(plan, scale=_with_victims(seen.pods, replicas=replicas))


def _with_victims(pods: Pods, *, replicas: int) -> Scale:
    """Choose the pods that shall end: those that never joined, then those that hold the least."""
    ranked = sorted(pods.pods, key=lambda pod: (-1 if pod.held is None else pod.held, pod.name))
    victims = ranked[: max(0, len(ranked) - replicas)]
    spared = ranked[len(victims) :]
    return Scale(
        replicas=replicas,
        mark=tuple(victims),
        unmark=tuple(pod for pod in spared if pod.marked),
    )


def _within(rules: Autoscaling, replicas: int) -> int:
    return max(rules.min, min(replicas, rules.max))
