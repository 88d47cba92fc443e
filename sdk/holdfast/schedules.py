"""Schedules as a client handles them: functions and promises that the clock starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from holdfast.core.limits import SCHEDULE_SEARCH_LIMIT_DEFAULT
from holdfast.core.records import EMPTY, TARGET, Schedule, Value
from holdfast.core.requests import (
    PromiseCreate,
    Request,
    ScheduleCreate,
    ScheduleDelete,
    ScheduleGet,
    SchedulePause,
)
from holdfast.core.schedule import occurrence_id, occurrence_tags
from holdfast.core.search import ScheduleSearch
from holdfast.errors import DecodeError, IdempotencyConflict
from holdfast.handle import Handle
from holdfast.inside import warn_of_client_call
from holdfast.lineage import prefixed, target_address
from holdfast.options import TIMEOUT_MS_DEFAULT, Options, span_ms, split_options
from holdfast.registry import Callee
from holdfast.runtime.children import call_param

if TYPE_CHECKING:
    from holdfast.client import Resonate

UTC: Final = "UTC"

TEMPLATE: Final = "{{.id}}.{{.timestamp}}"
"""Ids of the promises of a schedule, as the official TypeScript SDK has them."""

_INSTEAD: Final = "call it in a step"


@dataclass(frozen=True, slots=True, kw_only=True)
class DurableSchedule:
    """A schedule as it was when it was read.

    `param` is decoded. Instants are milliseconds since the epoch; `next_run_at_ms` stays as it was
    while the schedule is paused, and is 2^53-1 when there is no next run any more.
    """

    id: str
    cron: str
    tz: str
    promise_id: str
    """Template of the promise ids: `{{.id}}` and `{{.timestamp}}` are filled in."""
    promise_timeout_ms: int
    param: Any
    tags: Mapping[str, str]
    created_at_ms: int
    next_run_at_ms: int
    last_run_at_ms: int | None
    paused: bool
    created: bool = False
    """Whether the call that answered this made the schedule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSchedules:
    """A page of schedules, in the order of their ids."""

    schedules: tuple[DurableSchedule, ...]
    cursor: str | None
    """Where the next page begins; `None` on the last one."""


class Schedules:
    """`resonate.schedules`. Ids get the client's prefix; an unknown one raises `ScheduleNotFound`.

    With `raw=True` payloads are the stored text (base64 of JSON) instead of Python values.
    """

    def __init__(self, client: "Resonate") -> None:
        self._client = client

    async def get(self, id: str, *, raw: bool = False) -> DurableSchedule:
        """Read a schedule."""
        return await self._ask(ScheduleGet(id=self._id(id)), raw=raw)

    async def create(  # noqa: PLR0913 - all but two are optional
        self,
        id: str,
        cron: str,
        promise_id: str | None = None,
        *,
        timeout: float | timedelta | None = None,  # noqa: ASYNC109 - the promises', not the call's
        target: str | None = None,
        data: object = None,
        headers: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        tz: str = UTC,
        paused: bool = False,
        raw: bool = False,
    ) -> DurableSchedule:
        """Make a schedule of promises; an existing one is answered as it is.

        `cron` has five fields, or six with seconds first, and is read in the time zone `tz`. Each
        promise is for the worker group `target`, or this client's own, has `data` as its param and
        times out so many seconds behind its planned instant, by default a day.
        """
        full_id = self._id(id)
        address = target_address(target or self._client.group)
        request = ScheduleCreate(
            id=full_id,
            cron=cron,
            promise_id=promise_id or TEMPLATE,
            promise_timeout_ms=_timeout_ms(timeout),
            promise_param=self._value(data, headers, raw=raw),
            promise_tags={TARGET: address, **(tags or {})},
            paused=paused,
            time_zone="" if tz == UTC else tz,
        )
        return await self._ask(request, raw=raw)

    async def delete(self, id: str) -> None:
        """Delete a schedule; promises that it created stay."""
        warn_of_client_call("resonate.schedules", instead=_INSTEAD)
        await (await self._client.joined()).ask_done(ScheduleDelete(id=self._id(id)))

    async def pause(self, id: str, *, raw: bool = False) -> DurableSchedule:
        """Let a schedule start nothing until it is resumed."""
        return await self._ask(SchedulePause(id=self._id(id), paused=True), raw=raw)

    async def resume(self, id: str, *, raw: bool = False) -> DurableSchedule:
        """Let a schedule go on; what it would have started meanwhile is not made up for."""
        return await self._ask(SchedulePause(id=self._id(id), paused=False), raw=raw)

    async def search(
        self,
        *,
        tags: Mapping[str, str] | None = None,
        limit: int = SCHEDULE_SEARCH_LIMIT_DEFAULT,
        cursor: str | None = None,
        raw: bool = False,
    ) -> FoundSchedules:
        """List schedules of the whole store, in the order of their ids, by tags of their promises.

        Give the `cursor` of a page to get the next one.
        """
        warn_of_client_call("resonate.schedules", instead=_INSTEAD)
        search = ScheduleSearch(tags=dict(tags or {}), limit=limit, cursor=cursor or "")
        page = await (await self._client.joined()).search_schedules(search)
        return FoundSchedules(
            schedules=tuple(self._view(each, raw=raw) for each in page.schedules),
            cursor=page.cursor,
        )

    async def trigger(self, id: str) -> Handle[Any]:
        """Start now what a schedule starts, paused or not, beside its planned runs.

        The promise has the id of a run that was planned for this instant.
        """
        warn_of_client_call("resonate.schedules", instead="use ctx.detached()")
        calls = await self._client.joined()
        record = (await calls.ask_done(ScheduleGet(id=self._id(id)))).schedule
        assert record is not None
        now_ms = self._client.clock.now_ms()
        promise_id = occurrence_id(template=record.promise_id, schedule_id=record.id, at_ms=now_ms)
        create = PromiseCreate(
            id=promise_id,
            timeout_at_ms=now_ms + record.promise_timeout_ms,
            param=record.promise_param,
            tags=occurrence_tags(record, promise_id),
        )
        return calls.handle_of(await calls.ask(create))

    async def of_function(
        self,
        id: str,
        cron: str,
        fn: Callee,
        args: tuple[object, ...],
        kwargs: dict[str, object],
        base: Options,
        *,
        tz: str = UTC,
        promise_id: str | None = None,
        paused: bool = False,
        raw: bool = False,
    ) -> "FunctionSchedule":
        """Make a schedule that calls a function; what `resonate.schedule` does, with all there is.

        `raw` is about the record that the answer has.
        """
        args, options = split_options(args, base)
        if options.delay is not None:
            raise ValueError("delay is not for schedules: the cron expression says when")
        function = self._client.registry.resolve_remote(fn, version=options.version)
        full_id = self._id(options.id or id)
        target = options.target or self._client.default_target
        request = ScheduleCreate(
            id=full_id,
            cron=cron,
            promise_id=promise_id or TEMPLATE,
            promise_timeout_ms=options.timeout_ms,
            promise_param=call_param(
                self._client.codec, function, args, kwargs, options.retry_policy
            ),
            promise_tags={**(options.tags or {}), TARGET: target_address(target)},
            paused=paused,
            time_zone="" if tz == UTC else tz,
        )
        done = await (await self._client.joined()).ask_done(request)
        assert done.schedule is not None
        if options.on_conflict == "raise" and not done.created:
            _check_conflict(done.schedule, request)
        return FunctionSchedule(self, self._view(done.schedule, created=done.created, raw=raw))

    async def _ask(self, request: Request, *, raw: bool) -> DurableSchedule:
        warn_of_client_call("resonate.schedules", instead=_INSTEAD)
        done = await (await self._client.joined()).ask_done(request)
        assert done.schedule is not None
        return self._view(done.schedule, created=done.created, raw=raw)

    def _id(self, schedule_id: str) -> str:
        return prefixed(self._client.prefix, schedule_id)

    def _value(self, value: object, headers: Mapping[str, str] | None, *, raw: bool) -> Value:
        if not raw:
            data = None if value is None else self._client.codec.encode(value)
        elif value is None or isinstance(value, str):
            data = None if value is None else value.encode()
        else:
            raise TypeError("a raw payload must be text: base64 of JSON")
        return EMPTY if data is None and headers is None else Value(data=data, headers=headers)

    def _view(self, record: Schedule, *, raw: bool, created: bool = False) -> DurableSchedule:
        return DurableSchedule(
            id=record.id,
            cron=record.cron,
            tz=record.time_zone or UTC,
            promise_id=record.promise_id,
            promise_timeout_ms=record.promise_timeout_ms,
            param=self._read(record.promise_param, raw=raw),
            tags=record.promise_tags,
            created_at_ms=record.created_at_ms,
            next_run_at_ms=record.next_run_at_ms,
            last_run_at_ms=record.last_run_at_ms,
            paused=record.paused,
            created=created,
        )

    def _read(self, value: Value, *, raw: bool) -> object:
        if raw:
            return None if value.data is None else value.data.decode(errors="replace")
        try:
            return self._client.codec.decode(value.data)
        except DecodeError as error:
            # Another client's payload must not keep the rest from being read.
            return error


class FunctionSchedule:
    """A schedule that calls a function, by its id; it goes on when this process ends."""

    def __init__(self, schedules: Schedules, record: DurableSchedule) -> None:
        self.id = record.id
        """Full id, prefix included."""
        self.created = record.created
        """Whether this call made the schedule."""
        self.record = record
        """The schedule as it was then."""
        self._schedules = schedules

    def __repr__(self) -> str:
        return f"<Schedule {self.id}>"

    async def get(self) -> DurableSchedule:
        """Read it."""
        return await self._schedules.get(self.id)

    async def delete(self) -> None:
        """Delete it; runs that it started go on."""
        await self._schedules.delete(self.id)

    async def pause(self) -> DurableSchedule:
        """Let it start nothing until it is resumed."""
        return await self._schedules.pause(self.id)

    async def resume(self) -> DurableSchedule:
        """Let it go on; what it would have started meanwhile is not made up for."""
        return await self._schedules.resume(self.id)

    async def trigger(self) -> Handle[Any]:
        """Start now what it starts, paused or not, beside its planned runs."""
        return await self._schedules.trigger(self.id)


def _timeout_ms(timeout: float | timedelta | None) -> int:
    return TIMEOUT_MS_DEFAULT if timeout is None else span_ms(timeout, field="timeout")


def _check_conflict(record: Schedule, request: ScheduleCreate) -> None:
    """Raise `IdempotencyConflict` if a schedule that exists was made in another way."""
    for field in request.__struct_fields__:
        if field != "paused" and getattr(record, field) != getattr(request, field):
            raise IdempotencyConflict(f"{record.id} exists and was made with another `{field}`")
