"""One step from a state to the next: who took it, and what differs."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from holdfast.core.checks.snapshot import State
from holdfast.core.profile import Profile
from holdfast.core.records import PromiseState, TaskState, is_live
from holdfast.core.requests import Request, TaskFence, TaskFulfill, TaskRelease, TaskSuspend

Row = TypeVar("Row")


class StepKind(StrEnum):
    """Who took a step."""

    OPERATION = "operation"
    """A client, or the store on behalf of a connected member (T8)."""
    INTERNAL = "internal"
    """The store by itself: deadlines, dispatch, lost leases."""
    FIRING = "firing"
    """The store by itself: schedules."""
    DELIVERY = "delivery"
    """Messages left the outbox."""
    RETENTION = "retention"
    """Settled trees were deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Two states and what is known about the way from one to the other."""

    before: State
    after: State
    now_ms: int
    profile: Profile
    kind: StepKind
    request: Request | None
    """The operation; `None` when unknown, which leaves rules about causes unjudged."""

    def is_live_before(self, promise_id: str) -> bool:
        """Whether a promise read as pending when the step began."""
        promise = self.before.promises.get(promise_id)
        return promise is not None and is_live(promise, self.now_ms)

    def settles(self, promise_id: str) -> bool:
        """Whether a stored promise became settled in this step."""
        before = self.before.promises.get(promise_id)
        after = self.after.promises.get(promise_id)
        if before is None or after is None:
            return False
        return before.state is PromiseState.PENDING and after.state is not PromiseState.PENDING

    def hurts(self, promise_id: str) -> bool:
        """Whether a promise ended the step settled in another state than resolved (§13)."""
        promise = self.after.promises.get(promise_id)
        states = {PromiseState.PENDING, PromiseState.RESOLVED}
        return promise is not None and promise.state not in states

    def is_by(self, *causes: type[Request]) -> bool:
        """Whether one of these operations caused the step, as far as that is known."""
        if self.kind is not StepKind.OPERATION:
            return False
        return self.request is None or isinstance(self.request, causes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair(Generic[Row]):
    """A row that differs; `before` and `after` are both there."""

    before: Row
    after: Row


@dataclass(frozen=True, slots=True)
class StepRule(Generic[Row]):
    """A numbered rule about every difference of one kind."""

    number: str
    meaning: str
    holds: Callable[[Step, Row], bool]


def _fence_holds(step: Step, request: Request) -> bool:
    if not isinstance(request, TaskRelease | TaskFulfill | TaskSuspend | TaskFence):
        return True
    task = step.before.tasks.get(request.id)
    if task is None or not step.is_live_before(request.id):
        return False
    return task.state is TaskState.ACQUIRED and task.version == request.version


REQUEST_RULES: tuple[StepRule[Request], ...] = (
    StepRule("V5", "a fenced write needs the lease and its version", _fence_holds),
)
"""About operations that changed anything at all."""
