"""The operations as data, and what they answer; structs for the reason given in `records`."""

from collections.abc import Mapping

from msgspec import Struct, field

from holdfast.core.records import (
    EMPTY,
    Preload,
    Promise,
    PromiseState,
    ReleaseReason,
    Schedule,
    Task,
    Value,
    WaitMode,
)


class PromiseGet(Struct, frozen=True, kw_only=True, gc=False):
    """Ask for promise.get."""

    id: str


class PromiseCreate(Struct, frozen=True, kw_only=True, gc=False):
    """Ask for promise.create."""

    id: str
    timeout_at_ms: int
    param: Value = EMPTY
    tags: Mapping[str, str] = field(default_factory=dict)


class PromiseSettle(Struct, frozen=True, kw_only=True, gc=False):
    """Ask for promise.settle."""

    id: str
    state: PromiseState
    value: Value = EMPTY


class PromiseRecord(Struct, frozen=True, kw_only=True, gc=False):
    """Inside a fence: promise.create and promise.settle of one promise in one write (§13).

    It records what was over before it was announced. As with the two behind each other, a promise
    that exists keeps what it was made with, and one that is settled keeps its outcome.
    """

    create: PromiseCreate
    state: PromiseState
    value: Value = EMPTY

    @property
    def id(self) -> str:
        """The promise's id."""
        return self.create.id


class PromiseRegisterCallback(Struct, frozen=True, kw_only=True, gc=False):
    """Ask for promise.register_callback."""

    awaited: str
    awaiter: str


class PromiseRegisterListener(Struct, frozen=True, kw_only=True, gc=False):
    """Ask for promise.register_listener."""

    awaited: str
    address: str


class TaskGet(Struct, frozen=True, kw_only=True, gc=False):
    """Ask for task.get."""

    id: str


class TaskCreate(Struct, frozen=True, kw_only=True, gc=False):
    """task.create; `instance` and `seat` are filled by the store for what came over a stream."""

    pid: str
    ttl_ms: int
    action: PromiseCreate
    skip_preload: bool = False
    instance: str | None = None
    seat: str | None = None


class TaskAcquire(Struct, frozen=True, kw_only=True, gc=False):
    """task.acquire; `instance` and `seat` as in `TaskCreate`."""

    id: str
    version: int
    pid: str
    ttl_ms: int
    skip_preload: bool = False
    instance: str | None = None
    seat: str | None = None


class TaskRelease(Struct, frozen=True, kw_only=True, gc=False):
    """task.release, with the extensions of §13."""

    id: str
    version: int
    not_before_ms: int | None = None
    reason: ReleaseReason | None = None


class TaskFulfill(Struct, frozen=True, kw_only=True, gc=False):
    """Ask for task.fulfill."""

    id: str
    version: int
    action: PromiseSettle


class TaskSuspend(Struct, frozen=True, kw_only=True, gc=False):
    """task.suspend, with the wait mode of §13."""

    id: str
    version: int
    actions: tuple[PromiseRegisterCallback, ...]
    wait_mode: WaitMode = WaitMode.ANY


class TaskFence(Struct, frozen=True, kw_only=True, gc=False):
    """Ask for task.fence.

    With `required`, the chain ends behind a settle that finds the promise settled in another way:
    what follows was sent in the belief that this settlement counts.
    """

    id: str
    version: int
    action: PromiseCreate | PromiseSettle | PromiseRecord
    skip_preload: bool = False
    required: bool = False


class TaskRef(Struct, frozen=True, kw_only=True, gc=False):
    """One lease in a heartbeat."""

    id: str
    version: int


class TaskHeartbeat(Struct, frozen=True, kw_only=True, gc=False):
    """task.heartbeat; `instance` and `seat` as in `TaskCreate`.

    Without `tasks` it is about all tasks of the process whose ids begin with `prefix`.
    """

    pid: str
    tasks: tuple[TaskRef, ...] = ()
    prefix: str = ""
    instance: str | None = None
    seat: str | None = None


class TaskHalt(Struct, frozen=True, kw_only=True, gc=False):
    """task.halt; with `version` it is fenced like a release (§13, halt by a worker)."""

    id: str
    reason: str | None = None
    version: int | None = None


class TaskContinue(Struct, frozen=True, kw_only=True, gc=False):
    """Ask for task.continue."""

    id: str


class ScheduleRequest(Struct, frozen=True, kw_only=True, gc=False):
    """What the operations on schedules have in common; none touches a promise."""

    id: str


class ScheduleGet(ScheduleRequest, frozen=True, kw_only=True, gc=False):
    """Ask for schedule.get."""


class ScheduleCreate(ScheduleRequest, frozen=True, kw_only=True, gc=False):
    """schedule.create, with the extensions of §13."""

    cron: str
    promise_id: str
    promise_timeout_ms: int
    promise_param: Value = EMPTY
    promise_tags: Mapping[str, str] = field(default_factory=dict)
    paused: bool = False
    time_zone: str = ""


class ScheduleDelete(ScheduleRequest, frozen=True, kw_only=True, gc=False):
    """Ask for schedule.delete."""


class SchedulePause(ScheduleRequest, frozen=True, kw_only=True, gc=False):
    """Stop a schedule from firing, or let it fire again (§13)."""

    paused: bool


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
    | ScheduleGet
    | ScheduleCreate
    | ScheduleDelete
    | SchedulePause
)


class Refusal(Struct, frozen=True, kw_only=True, gc=False):
    """An operation that changed nothing, and why.

    `status` is 400, 404, 409 or 422 when a rule decided it; 429, 500 and 503 come from the
    service around the rules. `code` is stable, `message` is for people.
    """

    status: int
    code: str
    message: str


class Done(Struct, frozen=True, kw_only=True, gc=False):
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
    schedule: Schedule | None = None


class Skipped(Struct, frozen=True, kw_only=True, gc=False):
    """An operation behind a refused one in its chain (§13)."""

    @property
    def status(self) -> int:
        """Answer 0: it was not carried out, so it has none."""
        return 0


Outcome = Done | Refusal | Skipped

SKIPPED = Skipped()
