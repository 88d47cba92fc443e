"""The custom resource `WorkerGroup`: what a person may write, and what the operator answers.

The manifest of the resource is generated from these classes (`make crd`), so that the API server
refuses what `parse_spec` would refuse. Both exist because an object may be older than its schema.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

from msgspec import UNSET, Meta, Struct, UnsetType, ValidationError, convert, to_builtins

GROUP: Final = "holdfast.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "WorkerGroup"
PLURAL: Final = "workergroups"
SINGULAR: Final = "workergroup"
SHORT_NAME: Final = "wg"

REPLICAS_MAX: Final = 1_000
GROUPS_MAX: Final = 8
TASKS_MAX: Final = 1_000_000

Mode: TypeAlias = Literal["Operator", "Manual", "External"]


class BadSpec(Exception):
    """A sentence about what is wrong with the spec of a WorkerGroup, and where."""


class Rule(Struct, frozen=True, kw_only=True):
    """A condition between fields that the API server checks: CEL, and the sentence if it fails."""

    rule: str
    message: str


class _Camel(Struct, frozen=True, kw_only=True, rename="camel"):
    """Fields are snake_case here and camelCase in Kubernetes."""


class ScaleTarget(_Camel, frozen=True, kw_only=True):
    """The Deployment that is scaled; it must be in the namespace of the WorkerGroup."""

    api_version: Annotated[
        Literal["apps/v1"], Meta(description="API version of the target; only `apps/v1`.")
    ] = "apps/v1"
    kind: Annotated[
        Literal["Deployment"], Meta(description="Kind of the target; only `Deployment`.")
    ] = "Deployment"
    name: Annotated[
        str,
        Meta(min_length=1, max_length=253, description="Name of the Deployment."),
    ]


class Autoscaling(_Camel, frozen=True, kw_only=True):
    """How the number of replicas follows the work."""

    mode: Annotated[
        Mode,
        Meta(
            description="Who decides. `Operator`: the operator, by the depth of the queues."
            " `Manual`: spec.replicas within min and max; `kubectl scale workergroup` writes it, or"
            " an HPA or KEDA that is aimed at the WorkerGroup. `External`: an HPA or KEDA that is"
            " aimed at the Deployment itself; the operator only reports."
        ),
    ] = "Operator"
    min: Annotated[
        int,
        Meta(ge=0, le=REPLICAS_MAX, description="Fewest replicas; 0 allows scaling to zero."),
    ] = 1
    max: Annotated[
        int,
        Meta(
            ge=1,
            le=REPLICAS_MAX,
            description="Most replicas. It is never exceeded: lowering it ends busy replicas, too.",
        ),
    ] = 10
    target_per_replica: Annotated[
        int,
        Meta(
            ge=1,
            le=TASKS_MAX,
            description="Tasks, due or running, for which one replica is wanted.",
        ),
    ] = 10
    stabilization_seconds: Annotated[
        int,
        Meta(
            ge=0,
            le=3_600,
            description="Seconds back to look before scaling down: the most that was wanted in"
            " this time is kept. Scaling up does not wait.",
        ),
    ] = 60
    idle_seconds: Annotated[
        int,
        Meta(
            ge=0,
            le=86_400,
            description="Seconds without any due or running task before the last replica goes."
            " Only counts when min is 0.",
        ),
    ] = 120


class WorkerGroupSpec(_Camel, frozen=True, kw_only=True):
    """What is wanted."""

    groups: Annotated[
        tuple[
            Annotated[
                str,
                Meta(
                    min_length=1,
                    max_length=255,
                    pattern=r"^[^\s/%]+$",
                    description="Name of a worker group.",
                ),
            ],
            ...,
        ],
        Meta(
            min_length=1,
            max_length=GROUPS_MAX,
            description="Worker groups of the promise store whose tasks the target works on;"
            " their numbers are added up.",
        ),
    ]
    scale_target_ref: Annotated[ScaleTarget, Meta(description="What is scaled.")]
    replicas: Annotated[
        int,
        Meta(
            ge=0,
            le=REPLICAS_MAX,
            description="Replicas wanted in mode `Manual`; in the other modes nobody reads it.",
        ),
    ] = 1
    autoscaling: Annotated[
        Autoscaling, Meta(description="How the number of replicas follows the work.")
    ] = Autoscaling()


class Condition(_Camel, frozen=True, kw_only=True, omit_defaults=True):
    """One aspect of the state, as Kubernetes' tools know it."""

    type: Annotated[
        str,
        Meta(
            max_length=316, description="`Ready`, `ScalingActive`, `StoreReachable` or `Limited`."
        ),
    ]
    status: Annotated[Literal["True", "False", "Unknown"], Meta(description="Whether it is so.")]
    reason: Annotated[str, Meta(max_length=1_024, description="Why, in one word.")]
    message: Annotated[
        str, Meta(max_length=32_768, description="Why, and what to do, in sentences.")
    ]
    last_transition_time: Annotated[
        str,
        Meta(description="When `status` changed last.", extra_json_schema={"format": "date-time"}),
    ]
    observed_generation: Annotated[
        int, Meta(ge=0, description="The generation of the spec that this is about.")
    ]


class WorkerGroupStatus(_Camel, frozen=True, kw_only=True):
    """What is."""

    observed_generation: Annotated[
        int | UnsetType, Meta(description="The generation of the spec that was looked at last.")
    ] = UNSET
    replicas: Annotated[int | UnsetType, Meta(description="Replicas that the Deployment has.")] = (
        UNSET
    )
    ready_replicas: Annotated[
        int | UnsetType, Meta(description="Replicas of them that are ready.")
    ] = UNSET
    desired_replicas: Annotated[
        int | UnsetType,
        Meta(description="Replicas that are wanted now, all limits and waits considered."),
    ] = UNSET
    selector: Annotated[str | UnsetType, Meta(description="Selector of the pods, for an HPA.")] = (
        UNSET
    )
    due: Annotated[
        int | UnsetType, Meta(description="Tasks of the groups that could be worked on now.")
    ] = UNSET
    running: Annotated[
        int | UnsetType, Meta(description="Tasks of the groups that are being worked on.")
    ] = UNSET
    oldest_due_age_seconds: Annotated[
        int | UnsetType, Meta(description="How long the oldest due task has waited.")
    ] = UNSET
    known_groups: Annotated[
        tuple[str, ...],
        Meta(
            max_length=GROUPS_MAX,
            description="Groups of the spec of which the store has had a task or a worker.",
        ),
    ] = ()
    last_scale_time: Annotated[
        str | UnsetType,
        Meta(
            description="When the operator changed the number of replicas last.",
            extra_json_schema={"format": "date-time"},
        ),
    ] = UNSET
    conditions: Annotated[
        tuple[Condition, ...], Meta(max_length=8, description="The state in sentences.")
    ] = ()


RULES: Final[Mapping[type[Struct], tuple[Rule, ...]]] = {
    Autoscaling: (
        Rule(
            rule="self.min <= self.max",
            message="autoscaling.min must not be greater than autoscaling.max",
        ),
    ),
}
"""What one field demands of another. `parse_spec` checks the same."""


def parse_spec(spec: object) -> WorkerGroupSpec:
    """Read the spec of a stored object; raise `BadSpec` naming the field and its limit.

    Fields that this version does not know are ignored, as the API server drops them.
    """
    try:
        parsed = convert(spec, WorkerGroupSpec)
    except ValidationError as error:
        raise BadSpec(f"The spec cannot be used: {_sentence(str(error))}") from error
    if len(set(parsed.groups)) < len(parsed.groups):
        raise BadSpec("The spec cannot be used: groups must not name a group twice.")
    if parsed.autoscaling.min > parsed.autoscaling.max:
        (rule,) = RULES[Autoscaling]
        raise BadSpec(f"The spec cannot be used: {rule.message}.")
    return parsed


def parse_status(status: object) -> WorkerGroupStatus:
    """Read the status of a stored object; what cannot be read counts as never written."""
    try:
        return convert(status, WorkerGroupStatus)
    except ValidationError:
        return WorkerGroupStatus()


def status_document(status: WorkerGroupStatus) -> dict[str, Any]:
    """Write a status as Kubernetes stores it."""
    document: dict[str, Any] = to_builtins(status)
    lists = {key: list(value) for key, value in document.items() if isinstance(value, tuple)}
    return document | lists  # JSON knows no tuples


def _sentence(flaw: str) -> str:
    """Turn msgspec's "Expected `int` >= 1 - at `$.autoscaling.max`" into ours."""
    what, _, where = flaw.partition(" - at ")
    path = where.strip("`").removeprefix("$").lstrip(".")
    text = f"{path}: {what[:1].lower()}{what[1:]}" if path else what
    return text if text.endswith(".") else f"{text}."
