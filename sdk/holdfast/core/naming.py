"""Which ids an operation names, and what of an answer is about ids with a prefix.

For whoever decides who may do what. Every id counts, also the inner ones: one operation may be on a
task that its sender may touch, and settle or await a promise that it may not.
"""

from collections.abc import Sequence
from typing import Final, assert_never

from msgspec.structs import replace

from holdfast.core.records import Preload
from holdfast.core.requests import (
    Done,
    PromiseCreate,
    PromiseGet,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Request,
    ScheduleCreate,
    ScheduleDelete,
    ScheduleGet,
    SchedulePause,
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

_OWN_ID: Final = "{{.id}}"
"""The blank in a schedule's template that stands for the id of the schedule."""


def names_of(request: Request) -> Sequence[str]:  # noqa: C901, PLR0911 - one arm per operation
    """List every id that an operation names."""
    match request:
        case PromiseGet() | PromiseCreate() | PromiseSettle():
            return (request.id,)
        case PromiseRegisterCallback():
            return (request.awaited, request.awaiter)
        case PromiseRegisterListener():
            return (request.awaited,)
        case TaskCreate():
            return (request.action.id,)
        case TaskGet() | TaskAcquire() | TaskRelease() | TaskHalt() | TaskContinue():
            return (request.id,)
        case TaskFulfill() | TaskFence():
            return (request.id, request.action.id)
        case TaskSuspend():
            awaited = [name for each in request.actions for name in (each.awaited, each.awaiter)]
            return (request.id, *awaited)
        case TaskHeartbeat():
            return [ref.id for ref in request.tasks]
        case ScheduleCreate():
            # The template's promises may be named after the schedule.
            return (request.id, request.promise_id.replace(_OWN_ID, request.id))
        case ScheduleGet() | ScheduleDelete() | SchedulePause():
            return (request.id,)
        case _:
            assert_never(request)


def done_within(done: Done, prefix: str) -> Done:
    """Leave out of an answer's preload what is about other ids."""
    if done.preload is None:
        return done
    preload = preload_within(done.preload, prefix)
    return done if preload is done.preload else replace(done, preload=preload)


def preload_within(preload: Preload, prefix: str) -> Preload:
    """Leave out the promises with other ids."""
    kept = tuple(each for each in preload.promises if each.id.startswith(prefix))
    if len(kept) == len(preload.promises):
        return preload
    # What is left out exists all the same: nobody may conclude that it does not.
    return replace(preload, promises=kept, complete=False)
