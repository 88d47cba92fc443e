"""One entry for every operation: which rows it may touch, and what it answers."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from holdfast.core import promise as promises
from holdfast.core import schedule as schedules
from holdfast.core import task as tasks
from holdfast.core.profile import Profile
from holdfast.core.requests import (
    SKIPPED,
    Done,
    Outcome,
    PromiseCreate,
    PromiseGet,
    PromiseRecord,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Refusal,
    Request,
    ScheduleCreate,
    ScheduleDelete,
    ScheduleGet,
    SchedulePause,
    ScheduleRequest,
    TaskAcquire,
    TaskContinue,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskRelease,
    TaskSuspend,
)
from holdfast.core.working_set import WorkingSet


@dataclass(slots=True)
class Keys:
    """What must be loaded before a batch can be decided.

    `ids` names promises with their tasks, obligations and, through callbacks, awaiters; `pids`
    names processes whose leases are wanted; `schedules` names schedules alone. `created` are those
    of `ids` that an operation creates unless they exist.
    """

    ids: set[str] = field(default_factory=set)
    created: set[str] = field(default_factory=set)
    pids: set[str] = field(default_factory=set)
    schedules: set[str] = field(default_factory=set)

    def add(self, request: Request) -> None:  # noqa: C901 - one arm per kind of request
        """Include everything that a request may touch."""
        match request:  # what is asked for most comes first: each arm that does not match costs
            case TaskFence():
                self.ids.add(request.id)
                self.ids.add(request.action.id)
                if isinstance(request.action, (PromiseRecord, PromiseCreate)):
                    self.created.add(request.action.id)
            case TaskFulfill():
                self.ids.add(request.id)
            case PromiseCreate():
                self.ids.add(request.id)
                self.created.add(request.id)
            case PromiseRegisterListener():
                self.ids.add(request.awaited)
            case TaskCreate():
                self.ids.add(request.action.id)
                self.created.add(request.action.id)
            case TaskSuspend():
                self.ids.add(request.id)
                self.ids.update(action.awaited for action in request.actions)
            case TaskHeartbeat():
                self.ids.update(ref.id for ref in request.tasks)
                if not request.tasks:
                    self.pids.add(request.pid)
            case PromiseRegisterCallback():
                self.ids.add(request.awaited)
                self.ids.add(request.awaiter)
            case ScheduleRequest():
                self.schedules.add(request.id)
            case _:
                self.ids.add(request.id)


def decide(  # noqa: C901, PLR0911, PLR0912 - one arm per operation
    ws: WorkingSet, request: Request, *, now_ms: int, profile: Profile
) -> Done | Refusal:
    """Carry out one valid operation on the working set at one instant."""
    match request:
        case TaskFence():
            return tasks.fence(ws, request, now_ms=now_ms, profile=profile)
        case TaskFulfill():
            return tasks.fulfill(ws, request, now_ms=now_ms)
        case TaskSuspend():
            return tasks.suspend(ws, request, now_ms=now_ms, profile=profile)
        case PromiseCreate():
            return promises.create(ws, request, now_ms=now_ms)
        case PromiseRegisterListener():
            return promises.register_listener(ws, request, now_ms=now_ms, profile=profile)
        case TaskAcquire():
            return tasks.acquire(ws, request, now_ms=now_ms)
        case TaskCreate():
            return tasks.create(ws, request, now_ms=now_ms)
        case TaskHeartbeat():
            return tasks.heartbeat(ws, request, now_ms=now_ms, profile=profile)
        case TaskRelease():
            return tasks.release(ws, request, now_ms=now_ms, profile=profile)
        case PromiseGet():
            return promises.get(ws, request, now_ms=now_ms)
        case PromiseSettle():
            return promises.settle(ws, request, now_ms=now_ms)
        case PromiseRegisterCallback():
            return promises.register_callback(ws, request, now_ms=now_ms, profile=profile)
        case TaskGet():
            return tasks.get(ws, request, now_ms=now_ms)
        case TaskHalt():
            return tasks.halt(ws, request, now_ms=now_ms)
        case TaskContinue():
            return tasks.continue_(ws, request, now_ms=now_ms)
        case ScheduleGet():
            return schedules.get(ws, request)
        case ScheduleCreate():
            return schedules.create(ws, request, now_ms=now_ms)
        case ScheduleDelete():
            return schedules.delete(ws, request)
        case SchedulePause():
            return schedules.pause(ws, request, now_ms=now_ms)


def decide_chain(
    ws: WorkingSet, chain: Iterable[Request], *, now_ms: int, profile: Profile
) -> list[Outcome]:
    """Carry out operations in order; behind the first refusal all are skipped (§13).

    A fence whose inner operation is refused ends the chain as well, although its own status is
    200: what follows it was sent in the belief that the inner write happens.
    """
    outcomes: list[Outcome] = []
    refused = False
    for request in chain:
        if refused:
            outcomes.append(SKIPPED)
            continue
        outcome = decide(ws, request, now_ms=now_ms, profile=profile)
        outcomes.append(outcome)
        refused = ends_chain(request, outcome)
    return outcomes


def ends_chain(request: Request, outcome: Outcome) -> bool:
    """Whether what follows an operation in its chain is skipped, be it well formed or not."""
    if not isinstance(outcome, Done):
        return True
    inner = outcome.action  # of a fence
    if inner is None:
        return False
    return not isinstance(inner, Done) or _is_settled_otherwise(request, inner)


def _is_settled_otherwise(request: Request, inner: Done) -> bool:
    """Whether a required settlement found the promise settled in another way."""
    if not isinstance(request, TaskFence) or not request.required:
        return False
    asked = request.action
    if not isinstance(asked, (PromiseRecord, PromiseSettle)):
        return False
    found = inner.promise
    return found is not None and (found.state, found.value) != (asked.state, asked.value)
