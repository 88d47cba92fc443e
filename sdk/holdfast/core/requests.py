"""The operations as data, and what they answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from holdfast.core.records import (
    EMPTY,
    Preload,
    Promise,
    PromiseState,
    ReleaseReason,
    Task,
    Value,
    WaitMode,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseGet:
    """Ask for promise.get."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseCreate:
    """Ask for promise.create."""

    id: str
    timeout_at_ms: int
    param: Value = EMPTY
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseSettle:
    """Ask for promise.settle."""

    id: str
    state: PromiseState
    value: Value = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseRegisterCallback:
    """Ask for promise.register_callback."""

    awaited: str
    awaiter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PromiseRegisterListener:
    """Ask for promise.register_listener."""

    awaited: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskGet:
    """Ask for task.get."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCreate:
    """task.create; `instance` is filled by the store for a request that came over a stream."""

    pid: str
    ttl_ms: int
    action: PromiseCreate
    skip_preload: bool = False
    instance: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAcquire:
    """task.acquire; `instance` as in `TaskCreate`."""

    id: str
    version: int
    pid: str
    ttl_ms: int
    skip_preload: bool = False
    instance: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRelease:
    """task.release, with the extensions of §13."""

    id: str
    version: int
    not_before_ms: int | None = None
    reason: ReleaseReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFulfill:
    """Ask for task.fulfill."""

    id: str
    version: int
    action: PromiseSettle


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSuspend:
    """task.suspend, with the wait mode of §13."""

    id: str
    version: int
    actions: tuple[PromiseRegisterCallback, ...]
    wait_mode: WaitMode = WaitMode.ANY


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFence:
    """Ask for task.fence.

    With `required`, the chain ends behind a settle that finds the promise settled in another way:
    what follows was sent in the belief that this settlement counts.
    """

    id: str
    version: int
    action: PromiseCreate | PromiseSettle
    skip_preload: bool = False
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRef:
    """One lease in a heartbeat."""

    id: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskHeartbeat:
    """Ask for task.heartbeat."""

    pid: str
    tasks: tuple[TaskRef, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskHalt:
    """task.halt; with `version` it is fenced like a release (§13, halt by a worker)."""

    id: str
    reason: str | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskContinue:
    """Ask for task.continue."""

    id: str


Request = (
    PromiseGet
    | PromiseCreate
    | PromiseSettle
    | PromiseRegisterCallback
    | PromiseRegisterListener
    | TaskGet
    | TaskCreate
    | TaskAcquire
    | TaskRelease
    | TaskFulfill
    | TaskSuspend
    | TaskFence
    | TaskHeartbeat
    | TaskHalt
    | TaskContinue
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An operation that changed nothing, and why.

    `status` is 400, 404, 409 or 422 when a rule decided it; 429, 500 and 503 come from the
    service around the rules. `code` is stable, `message` is for people.
    """

    status: int
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """An operation that was carried out, or had been before.

    Records are as they read at the operation's instant. `preload_of` asks whoever runs the
    operation to fill `preload` for that task.
    """

    status: int = 200
    promise: Promise | None = None
    task: Task | None = None
    created: bool = False
    action: "Done | Refusal | None" = None
    preload_of: str | None = None
    preload: Preload | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """An operation behind a refused one in its chain (§13)."""


Outcome = Done | Refusal | Skipped

SKIPPED = Skipped()
