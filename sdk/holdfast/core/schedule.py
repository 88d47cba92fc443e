"""Decisions on schedules, and what they create when they fire (§5).

Firing goes in two steps, since the ids of its promises follow from the schedule: what is due is
planned on a record that was read, so that everything it names can be loaded and locked, and then
fired if the record is still the same.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from holdfast.core.cron import InvalidCron, next_after
from holdfast.core.limits import INTEGER_MAX, saturate
from holdfast.core.records import (
    BRANCH,
    ORIGIN,
    PARENT,
    PREFIX,
    SCHEDULE,
    TARGET,
    Promise,
    PromiseState,
    Schedule,
    Task,
    TaskState,
    deadline_verdict,
    is_armed_by_birth,
)
from holdfast.core.requests import (
    Done,
    Refusal,
    ScheduleCreate,
    ScheduleDelete,
    ScheduleGet,
    SchedulePause,
)
from holdfast.core.working_set import WorkingSet

SERVER_TAGS: Final = (SCHEDULE, ORIGIN, BRANCH, PARENT, PREFIX)
"""Tags of every promise that a schedule creates, whatever its own tags say (§5.5, §14)."""

_BLANKS: Final = re.compile(r"\{\{\.(id|timestamp)\}\}")


def schedule_not_found(schedule_id: str) -> Refusal:
    """404 for an id that no schedule has."""
    return Refusal(
        status=404, code="schedule_not_found", message=f"there is no schedule {schedule_id}"
    )


def _unplannable(schedule: Schedule, error: InvalidCron) -> Refusal:
    """422 for what meant something when it was created, as a time zone that was renamed since."""
    message = f"schedule {schedule.id} cannot be planned any more, create it anew: {error}"
    return Refusal(status=422, code="schedule_unplannable", message=message)


def get(ws: WorkingSet, request: ScheduleGet) -> Done | Refusal:
    """Read a schedule."""
    schedule = ws.schedule(request.id)
    return schedule_not_found(request.id) if schedule is None else Done(schedule=schedule)


def create(ws: WorkingSet, request: ScheduleCreate, *, now_ms: int) -> Done | Refusal:
    """Create a schedule, or answer the one that exists: nothing is compared (§5.2)."""
    first_ms = next_after(request.cron, request.time_zone, now_ms)
    if first_ms is None:
        message = f"cron never occurs from now on, it is {request.cron}"
        return Refusal(status=400, code="invalid_cron", message=message)
    existing = ws.schedule(request.id)
    if existing is not None:
        return Done(schedule=existing)
    schedule = Schedule(
        id=request.id,
        cron=request.cron,
        promise_id=request.promise_id,
        promise_timeout_ms=request.promise_timeout_ms,
        promise_param=request.promise_param,
        promise_tags=request.promise_tags,
        created_at_ms=now_ms,
        next_run_at_ms=first_ms,
        paused=request.paused,
        time_zone=request.time_zone,
    )
    ws.put_schedule(schedule)
    return Done(schedule=schedule, created=True)


def delete(ws: WorkingSet, request: ScheduleDelete) -> Done | Refusal:
    """Delete a schedule; promises that it created stay."""
    if ws.schedule(request.id) is None:
        return schedule_not_found(request.id)
    ws.drop_schedule(request.id)
    return Done()


def pause(ws: WorkingSet, request: SchedulePause, *, now_ms: int) -> Done | Refusal:
    """Stop a schedule from firing, or let it fire again (§13).

    What it would have fired while it was paused is not made up for: somebody wanted it so.
    """
    schedule = ws.schedule(request.id)
    if schedule is None:
        return schedule_not_found(request.id)
    if schedule.paused == request.paused:
        return Done(schedule=schedule)
    next_ms = schedule.next_run_at_ms
    if not request.paused:
        known_ms = schedule.last_run_at_ms or schedule.created_at_ms
        try:
            next_ms = _next(schedule, after_ms=max(now_ms, known_ms))
        except InvalidCron as error:
            return _unplannable(schedule, error)
    schedule = replace(schedule, paused=request.paused, next_run_at_ms=next_ms)
    ws.put_schedule(schedule)
    return Done(schedule=schedule)


def occurrence_id(*, template: str, schedule_id: str, at_ms: int) -> str:
    """Fill in the template of a promise's id (§5.4)."""
    texts = {"id": schedule_id, "timestamp": str(at_ms)}
    return _BLANKS.sub(lambda blank: texts[blank[1]], template)


def occurrence_tags(schedule: Schedule, promise_id: str) -> dict[str, str]:
    """Answer the tags of a promise that a schedule creates."""
    tree = dict.fromkeys((ORIGIN, BRANCH, PARENT, PREFIX), promise_id)
    return {**schedule.promise_tags, SCHEDULE: schedule.id, **tree}


# Firing


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """A planned instant, its promise, and the instant behind it."""

    at_ms: int
    promise_id: str
    next_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What a schedule, as it was read, has to fire; oldest first."""

    schedule: Schedule
    occurrences: tuple[Occurrence, ...]


def due_by(schedule: Schedule, *, now_ms: int, limit: int) -> Due:
    """Plan so many occurrences at most of those that are due; raises `InvalidCron`."""
    found: list[Occurrence] = []
    at_ms = schedule.due_at_ms
    until_ms = min(now_ms, INTEGER_MAX - 1)  # the last instant of all stands for none
    while at_ms is not None and at_ms <= until_ms and len(found) < limit:
        promise_id = occurrence_id(
            template=schedule.promise_id, schedule_id=schedule.id, at_ms=at_ms
        )
        next_ms = _next(schedule, after_ms=at_ms)
        found.append(Occurrence(at_ms=at_ms, promise_id=promise_id, next_ms=next_ms))
        at_ms = next_ms
    return Due(schedule=schedule, occurrences=tuple(found))


def fire(ws: WorkingSet, due: Due, *, now_ms: int) -> list[int]:
    """Create the promises that are due, and advance the schedule; answer their instants.

    Nothing happens when the schedule is not as it was planned on any more: somebody else fired or
    changed it. What is planned and not due at this instant is left for later.
    """
    schedule = ws.schedule(due.schedule.id)
    if schedule is None or schedule.paused or schedule != due.schedule:
        return []
    fired = []
    for occurrence in due.occurrences:
        if occurrence.at_ms > now_ms:
            break
        _happen(ws, schedule, occurrence, now_ms=now_ms)
        schedule = replace(
            schedule, last_run_at_ms=occurrence.at_ms, next_run_at_ms=occurrence.next_ms
        )
        fired.append(occurrence.at_ms)
    if fired:
        ws.put_schedule(schedule)
    return fired


def named_by(dues: Iterable[Due]) -> set[str]:
    """List the promises that may come into being."""
    return {each.promise_id for due in dues for each in due.occurrences}


def _happen(ws: WorkingSet, schedule: Schedule, occurrence: Occurrence, *, now_ms: int) -> None:
    """Create the promise of one occurrence, unless its id is taken (§5.5)."""
    if ws.promise(occurrence.promise_id) is not None:
        return
    promise = _born(schedule, occurrence, now_ms=now_ms)
    ws.put_promise(promise)
    target = promise.tags[TARGET]
    if promise.state is PromiseState.PENDING:
        ws.put_task(Task(id=promise.id, target=target, dispatch_at_ms=now_ms))
    else:
        ws.put_task(Task(id=promise.id, target=target, state=TaskState.FULFILLED))


def _born(schedule: Schedule, occurrence: Occurrence, *, now_ms: int) -> Promise:
    """Make the promise of one occurrence; it dates from its planned instant, however late."""
    tags = occurrence_tags(schedule, occurrence.promise_id)
    timeout_at_ms = saturate(occurrence.at_ms + schedule.promise_timeout_ms)
    if timeout_at_ms > now_ms:
        return Promise(
            id=occurrence.promise_id,
            param=schedule.promise_param,
            tags=tags,
            timeout_at_ms=timeout_at_ms,
            created_at_ms=occurrence.at_ms,
            armed=is_armed_by_birth(tags),
        )
    return Promise(
        id=occurrence.promise_id,
        state=deadline_verdict(tags),
        param=schedule.promise_param,
        tags=tags,
        timeout_at_ms=timeout_at_ms,
        created_at_ms=occurrence.at_ms,
        settled_at_ms=timeout_at_ms,
    )


def _next(schedule: Schedule, *, after_ms: int) -> int:
    """Find the occurrence behind an instant; one that never comes stands at the end of time."""
    next_ms = next_after(schedule.cron, schedule.time_zone, after_ms)
    return INTEGER_MAX if next_ms is None else next_ms
