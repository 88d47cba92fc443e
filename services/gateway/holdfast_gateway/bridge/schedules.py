"""The kinds that are about schedules (§5): from JSON to the store's messages and back."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from holdfast.core.requests import Refusal
from holdfast.rpc import Calls
from holdfast.rpc.answers import schedule_of
from holdfast.v1 import schedules_pb2 as pb
from holdfast_gateway.bridge.bodies import Id, Limit, Number, Payload, Tags, fields_of, value_of
from holdfast_gateway.bridge.outcomes import OK, Result
from holdfast_gateway.bridge.records import Json, schedule_json

Data = Mapping[str, Any]


class _Create(Struct, rename="camel"):
    id: str
    cron: str
    promise_id: str
    promise_timeout: Number
    promise_param: Payload | None = None
    promise_tags: Tags | None = None


class _Search(Struct):
    tags: Tags | None = None
    limit: Limit | None = None
    cursor: str | None = None


class Schedules:
    """Carries out what is asked about schedules, by plain calls: nobody does it often."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self.kinds: Final = {
            "schedule.get": self._get,
            "schedule.create": self._create,
            "schedule.delete": self._delete,
            "schedule.search": self._search,
        }

    async def _get(self, data: Data, at: str | None) -> Result:
        request = pb.SchedulesGetRequest(id=fields_of(data, Id).id)
        return _record(await self._calls.call("Schedules/Get", request, _GOT, at=at))

    async def _create(self, data: Data, at: str | None) -> Result:
        read = fields_of(data, _Create)
        request = pb.SchedulesCreateRequest(
            id=read.id,
            cron=read.cron,
            promise_id=read.promise_id,
            promise_timeout_ms=read.promise_timeout,
            promise_tags=read.promise_tags or {},
        )
        param = value_of(read.promise_param)
        if param.data is not None:
            request.promise_param.data = param.data
        if param.headers is not None:
            request.promise_param.headers.SetInParent()
            request.promise_param.headers.entries.update(param.headers)
        return _record(await self._calls.call("Schedules/Create", request, _CREATED, at=at))

    async def _delete(self, data: Data, at: str | None) -> Result:
        request = pb.SchedulesDeleteRequest(id=fields_of(data, Id).id)
        answer = await self._calls.call("Schedules/Delete", request, _DELETED, at=at)
        return refused(answer) if isinstance(answer, Refusal) else Result(OK, {})

    async def _search(self, data: Data, at: str | None) -> Result:
        read = fields_of(data, _Search)
        request = pb.SchedulesSearchRequest(
            tags=read.tags or {}, limit=read.limit or 0, cursor=read.cursor or ""
        )
        found = await self._calls.call("Schedules/Search", request, _FOUND, at=at)
        if isinstance(found, Refusal):
            return refused(found)
        page: Json = {"schedules": [schedule_json(schedule_of(each)) for each in found.schedules]}
        if found.cursor:
            page["cursor"] = found.cursor
        return Result(OK, page)


_GOT: Final = pb.SchedulesGetResponse
_CREATED: Final = pb.SchedulesCreateResponse
_DELETED: Final = pb.SchedulesDeleteResponse
_FOUND: Final = pb.SchedulesSearchResponse


def refused(refusal: Refusal) -> Result:
    """Tell a refusal."""
    return Result(refusal.status, refusal.message)


def _record(answer: Any) -> Result:  # noqa: ANN401 - a response with a schedule, or a refusal
    if isinstance(answer, Refusal):
        return refused(answer)
    return Result(OK, {"schedule": schedule_json(schedule_of(answer.schedule))})
