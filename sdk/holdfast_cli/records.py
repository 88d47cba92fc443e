"""`holdfast promises`, `tasks` and `schedules`: find records, read one, settle it, let it go on."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from holdfast import DurablePromise, Resonate
from holdfast.codec import describe_error
from holdfast.core.limits import SCHEDULE_SEARCH_LIMIT_DEFAULT, SEARCH_LIMIT_DEFAULT
from holdfast.core.records import PromiseState, TaskState
from holdfast.errors import ResonateError
from holdfast.promises import FoundPromises
from holdfast.schedules import DurableSchedule, FoundSchedules
from holdfast.tasks import DurableTask, FoundTasks
from holdfast_cli.errors import CommandFailed, UsageError
from holdfast_cli.queues import address_of

_R = TypeVar("_R")

Act = Callable[[Resonate, str, Any], Awaitable[DurablePromise | DurableTask | DurableSchedule]]
Acts = Mapping[str, tuple[Act, str, str | None]]
"""By name: what is done, how that is described, and what can be given along."""


async def _get_promise(resonate: Resonate, promise_id: str, _value: object) -> DurablePromise:
    return await resonate.promises.get(promise_id)


async def _resolve(resonate: Resonate, promise_id: str, value: object) -> DurablePromise:
    return await resonate.promises.resolve(promise_id, value)


async def _reject(resonate: Resonate, promise_id: str, value: object) -> DurablePromise:
    return await resonate.promises.reject(promise_id, value)


async def _cancel(resonate: Resonate, promise_id: str, value: object) -> DurablePromise:
    await (await resonate.get(promise_id)).cancel(value)
    return await resonate.promises.get(promise_id)


async def _get_task(resonate: Resonate, task_id: str, _value: object) -> DurableTask:
    return await resonate.tasks.get(task_id)


async def _halt(resonate: Resonate, task_id: str, reason: str | None) -> DurableTask:
    await resonate.tasks.halt(task_id, reason)
    return await resonate.tasks.get(task_id)


async def _continue(resonate: Resonate, task_id: str, _value: object) -> DurableTask:
    await resonate.tasks.continue_(task_id)
    return await resonate.tasks.get(task_id)


async def _get_schedule(resonate: Resonate, schedule_id: str, _value: object) -> DurableSchedule:
    return await resonate.schedules.get(schedule_id)


async def _pause(resonate: Resonate, schedule_id: str, _value: object) -> DurableSchedule:
    return await resonate.schedules.pause(schedule_id)


async def _resume(resonate: Resonate, schedule_id: str, _value: object) -> DurableSchedule:
    return await resonate.schedules.resume(schedule_id)


async def _delete(resonate: Resonate, schedule_id: str, _value: object) -> DurableSchedule:
    """Delete a schedule; answer it as it was, so that who erred can make it anew."""
    schedule = await resonate.schedules.get(schedule_id)
    await resonate.schedules.delete(schedule_id)
    return schedule


PROMISES: Acts = {
    "get": (_get_promise, "show a promise", None),
    "resolve": (_resolve, "give a promise its value", "value"),
    "reject": (_reject, "reject a promise", "value"),
    "cancel": (_cancel, "cancel a promise and what is attached to it", "value"),
}
TASKS: Acts = {
    "get": (_get_task, "show the task of a promise", None),
    "halt": (_halt, "give a task to nobody until it is continued", "reason"),
    "continue": (_continue, "let a halted task go on", None),
}
SCHEDULES: Acts = {
    "get": (_get_schedule, "show a schedule", None),
    "pause": (_pause, "let a schedule start nothing until it is resumed", None),
    "resume": (_resume, "let a paused schedule go on", None),
    "delete": (_delete, "delete a schedule, and not what it has started", None),
}

Found = FoundPromises | FoundTasks | FoundSchedules
Listing = Callable[[Resonate, Mapping[str, Any]], Awaitable[Found]]


async def _search_promises(resonate: Resonate, filters: Mapping[str, Any]) -> FoundPromises:
    return await resonate.promises.search(**filters)


async def _search_tasks(resonate: Resonate, filters: Mapping[str, Any]) -> FoundTasks:
    return await resonate.tasks.search(**filters)


async def _search_schedules(resonate: Resonate, filters: Mapping[str, Any]) -> FoundSchedules:
    return await resonate.schedules.search(**filters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How records of a kind are listed, and by what they are chosen."""

    listing: Listing
    states: type[StrEnum] | None = None
    has_tags: bool = False
    limit: int = SEARCH_LIMIT_DEFAULT

    @property
    def filters(self) -> list[str]:
        """The names of what may be given."""
        chosen = {"state": self.states is not None, "tags": self.has_tags}
        return [*(name for name, is_known in chosen.items() if is_known), "limit", "cursor"]


SEARCHES: Mapping[str, Search] = {
    "promises": Search(listing=_search_promises, states=PromiseState, has_tags=True),
    "tasks": Search(listing=_search_tasks, states=TaskState),
    "schedules": Search(
        listing=_search_schedules, has_tags=True, limit=SCHEDULE_SEARCH_LIMIT_DEFAULT
    ),
}


def list_command(
    listing: Listing, filters: Mapping[str, object], *, store: str | None, data: Path
) -> int:
    """Print a page of records, and the cursor of the next one."""
    url = address_of(data) if store is None else store
    page = asyncio.run(_asked(url, lambda resonate: listing(resonate, filters)))
    print(json.dumps(asdict(page), indent=2, ensure_ascii=False, default=_plain))
    return 0


def command(act: Act, record_id: str, *, given: object, store: str | None, data: Path) -> int:
    """Do one thing to one record, and print how it stands then."""
    url = address_of(data) if store is None else store
    record = asyncio.run(_asked(url, lambda resonate: act(resonate, record_id, given)))
    print(json.dumps(asdict(record), indent=2, ensure_ascii=False, default=_plain))
    return 0


async def _asked(url: str, ask: Callable[[Resonate], Awaitable[_R]]) -> _R:
    try:
        resonate = Resonate(url, env={})
    except ValueError as error:
        raise UsageError(f"--store is {url!r}: {error}.") from error
    try:
        async with resonate:
            return await ask(resonate)
    except ResonateError as error:
        raise CommandFailed(f"{error} ({error.code}).") from error


def read_tags(text: str) -> Mapping[str, str]:
    """Read tags that were typed as JSON; raise `ValueError`."""
    tags = json.loads(text)
    if not isinstance(tags, dict) or not all(isinstance(each, str) for each in tags.values()):
        raise ValueError("an object of texts")
    return tags


def read_value(text: str) -> object:
    """Read a value that was typed as JSON; raise `ValueError`."""
    return json.loads(text)


def _plain(value: object) -> object:
    return describe_error(value) if isinstance(value, BaseException) else str(value)
