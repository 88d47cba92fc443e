"""Promises, tasks and obligations as they are stored, and how they read at an instant.

Each operation makes a dozen records, so they are structs: frozen like a dataclass, at a tenth of
its price. A record refers only to what was there before it, so that none can be part of a cycle:
the garbage collector need not look at them.
"""

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field
from msgspec.structs import replace

from holdfast.core.ids import Address, parse_address
from holdfast.core.limits import INTEGER_MAX
from holdfast.core.profile import Profile, ScopeExternal

TARGET = "resonate:target"
TIMER = "resonate:timer"
EXTERNAL = "resonate:external"
DELAY = "resonate:delay"
BRANCH = "resonate:branch"
ORIGIN = "resonate:origin"
PARENT = "resonate:parent"
PREFIX = "resonate:prefix"
SCOPE = "resonate:scope"
SCHEDULE = "resonate:schedule"

FUNC_HEADER = "holdfast-func"
"""Header of a param that names the function to run, as `name` or `name@version` (§13)."""


class Value(Struct, frozen=True, kw_only=True, gc=False):
    """An opaque payload. Absent differs from empty, in data and in headers."""

    data: bytes | None = None
    headers: Mapping[str, str] | None = None


EMPTY = Value()


class PromiseState(StrEnum):
    """States of a promise; every one but pending is terminal (§2.2)."""

    PENDING = "pending"
    RESOLVED = "resolved"
    REJECTED = "rejected"
    REJECTED_CANCELED = "rejected_canceled"
    REJECTED_TIMEDOUT = "rejected_timedout"


SETTABLE = frozenset({PromiseState.RESOLVED, PromiseState.REJECTED, PromiseState.REJECTED_CANCELED})
"""States that a client may write; the deadline owns the fourth."""


class Promise(Struct, frozen=True, kw_only=True, gc=False):
    """A durable record with an id, a deadline and at most one settlement (§2.1).

    `armed` says that the deadline fires in the background: somebody may wait for it (§2.5).
    """

    id: str
    state: PromiseState = PromiseState.PENDING
    param: Value = EMPTY
    value: Value = EMPTY
    tags: Mapping[str, str] = field(default_factory=dict)
    timeout_at_ms: int
    created_at_ms: int
    settled_at_ms: int | None = None
    armed: bool = False

    @property
    def target(self) -> str | None:
        """Address of the task's workers; `None` for a promise without a task."""
        return self.tags.get(TARGET)

    @property
    def is_timer(self) -> bool:
        """Whether the deadline resolves the promise instead of rejecting it."""
        return self.tags.get(TIMER) == "true"

    @property
    def func(self) -> str | None:
        """The function to run, where the creator advertised it."""
        headers = self.param.headers
        return None if headers is None else headers.get(FUNC_HEADER)


def is_external(tags: Mapping[str, str], profile: Profile) -> bool:
    """Whether something other than the awaiting execution can settle a promise (§2.4)."""
    if _is_external_by_nature(tags):
        return True
    match profile.scope_external:
        case ScopeExternal.ANY:
            return SCOPE in tags
        case ScopeExternal.GLOBAL:
            return tags.get(SCOPE) == "global"
        case ScopeExternal.OFF:
            return False


def is_armed_by_birth(tags: Mapping[str, str]) -> bool:
    """Whether the deadline fires in the background even if nobody waits yet (§2.5).

    A scope of `global` counts whatever the knob says: arming more than needed is harmless.
    """
    return _is_external_by_nature(tags) or tags.get(SCOPE) == "global"


def _is_external_by_nature(tags: Mapping[str, str]) -> bool:
    return TARGET in tags or tags.get(TIMER) == "true" or tags.get(EXTERNAL) == "true"


def project(promise: Promise, now_ms: int) -> Promise:
    """Answer the record as it reads at `now_ms`: a passed deadline settles it (§2.3)."""
    if promise.state is not PromiseState.PENDING or promise.timeout_at_ms > now_ms:
        return promise
    return replace(
        promise,
        state=deadline_verdict(promise.tags),
        settled_at_ms=promise.timeout_at_ms,
    )


def is_live(promise: Promise, now_ms: int) -> bool:
    """Whether a promise reads as pending at `now_ms`."""
    return promise.state is PromiseState.PENDING and promise.timeout_at_ms > now_ms


def deadline_verdict(tags: Mapping[str, str]) -> PromiseState:
    """Name the state that a passed deadline gives."""
    timer = tags.get(TIMER) == "true"
    return PromiseState.RESOLVED if timer else PromiseState.REJECTED_TIMEDOUT


class TaskState(StrEnum):
    """States of a task (§3.3)."""

    PENDING = "pending"
    ACQUIRED = "acquired"
    SUSPENDED = "suspended"
    HALTED = "halted"
    FULFILLED = "fulfilled"


class WaitMode(StrEnum):
    """When a suspended task wakes (§13)."""

    ANY = "any"
    ALL_SETTLED = "all_settled"
    ALL_RESOLVED = "all_resolved"


class ReleaseReason(StrEnum):
    """Why a task was given back (§13)."""

    UNKNOWN_FUNCTION = "unknown_function"
    OVERLOADED = "overloaded"
    SHUTDOWN = "shutdown"
    CRASHED = "crashed"


_NO_RESUMES: frozenset[str] = frozenset()


class Task(Struct, frozen=True, kw_only=True, gc=False):
    """The right to execute the function of a promise with a target (§3.1).

    The fields from `lease_at_ms` on are never visible to clients. `queued_at_ms` is set while an
    `execute` message for the current version waits in the outbox: the outbox of executes is this
    column, so that it can neither run ahead of the task nor hold two messages for it (§4.3).
    """

    id: str
    state: TaskState = TaskState.PENDING
    version: int = 0
    resumes: frozenset[str] = _NO_RESUMES
    ttl_ms: int | None = None
    pid: str | None = None
    target: str
    lease_at_ms: int | None = None
    """Instant at which the lease ends; only when acquired."""
    dispatch_at_ms: int | None = None
    """Instant at which the next execute is due; only when pending."""
    queued_at_ms: int | None = None
    """Instant at which the waiting execute was enqueued; `None` without one."""
    paced_until_ms: int = 0
    """No dispatch before this instant: keeps a release loop slow (§4.3)."""
    instance: str | None = None
    """Start of the holder that took the lease over a stream; only when acquired."""
    seat: str | None = None
    """Connection with which the lease may be lost: the youngest on which the holder was seen to
    have it. A store gives back what its own lost connection stands for, and nobody else's. The
    names of seats are in the order of their age."""
    wait_mode: WaitMode = WaitMode.ANY
    waiting_on: int = 0
    """Callbacks of the current suspend that are still registered; only when suspended."""
    unknown_releases: int = 0
    """Releases as unknown function since the last successful suspend."""
    deliveries: int = 0
    """Acquisitions since the last successful suspend."""
    reason: str | None = None
    """Why the task was last released or halted."""

    @property
    def address(self) -> Address:
        """The target, parsed."""
        return parse_address(self.target)

    @property
    def due_at_ms(self) -> int | None:
        """When a background step must look at the task: lease end or dispatch."""
        if self.state is TaskState.ACQUIRED:
            return self.lease_at_ms
        if self.dispatch_at_ms is None or self.queued_at_ms is not None:
            return None
        return max(self.dispatch_at_ms, self.paced_until_ms)


def fulfilled(task: Task) -> Task:
    """Answer the task as it is stored from the settlement of its promise on."""
    return Task(
        id=task.id,
        state=TaskState.FULFILLED,
        version=task.version,
        target=task.target,
    )


def view(task: Task, promise: Promise, now_ms: int) -> Task:
    """Answer the task as it reads now: fulfilled once its promise is settled (§3.2)."""
    if task.state is TaskState.FULFILLED or is_live(promise, now_ms):
        return task
    return fulfilled(task)


class Callback(Struct, frozen=True, kw_only=True, gc=False):
    """The obligation to wake the task of `awaiter` when `awaited` settles.

    `wait_version` is the version of the task's suspend that needs it; `None` when it was
    registered on its own.
    """

    awaited: str
    awaiter: str
    wait_version: int | None = None


class Unblock(Struct, frozen=True, kw_only=True, gc=False):
    """A message to an address: this promise, for which you waited, is settled (§4.2)."""

    promise_id: str
    address: str
    enqueued_at_ms: int


class Schedule(Struct, frozen=True, kw_only=True, gc=False):
    """A rule that creates promises at planned instants (§5.1, §13).

    Invariant: `created_at_ms <= last_run_at_ms < next_run_at_ms`, as far as it has run.
    """

    id: str
    cron: str
    """As given."""
    promise_id: str
    """Template of the ids of the promises."""
    promise_timeout_ms: int
    """Span from a planned instant to the deadline of its promise."""
    promise_param: Value = EMPTY
    promise_tags: Mapping[str, str] = field(default_factory=dict)
    created_at_ms: int
    next_run_at_ms: int
    """The planned instant that has not been fired yet; `INTEGER_MAX` when there is none any more.
    While paused it stays as it was."""
    last_run_at_ms: int | None = None
    paused: bool = False
    time_zone: str = ""
    """IANA name by which the expression is read; empty for UTC."""

    @property
    def due_at_ms(self) -> int | None:
        """When it must be looked at: never while it is paused, or when nothing is planned."""
        is_over = self.next_run_at_ms >= INTEGER_MAX
        return None if self.paused or is_over else self.next_run_at_ms


class Preload(Struct, frozen=True, kw_only=True, gc=False):
    """Records that a pass is likely to ask for; `complete` when no child is missing (§13)."""

    promises: tuple[Promise, ...] = ()
    complete: bool = False
