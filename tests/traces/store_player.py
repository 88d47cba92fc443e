"""Plays the operations of the protocol to a store that runs with debug on, over gRPC."""

from typing import Any, Self

from holdfast.core.requests import Refusal, ScheduleCreate
from holdfast.core.search import PromiseSearch, TaskSearch
from holdfast.core.stored import StoredState
from holdfast.rpc import Admin
from holdfast.rpc.answers import schedule_of
from holdfast.rpc.calls import Calls
from holdfast.v1 import common_pb2
from holdfast.v1 import schedules_pb2 as pb
from tests.differential.plays import Step
from tests.differential.translation import (
    answer_of,
    page_of,
    request_of,
    schedule_record,
    search_of,
)
from tests.traces.traces import Json, execute, unblock

SEARCHES = ("promise.search", "task.search")


class StorePlayer:
    """A store at an address; its debug mode is used, so that nobody else may need it."""

    has_envelopes = False

    def __init__(self, url: str) -> None:
        self.admin = Admin(url)
        self.calls = Calls(url)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.calls.close()
        await self.admin.close()

    async def reset(self) -> None:
        await self.admin.debug_reset()

    async def outbox(self) -> set[str]:
        return messages_of(await self.admin.debug_snap())

    async def handle(self, kind: str, data: Json, *, at: int) -> tuple[int, Any]:
        if kind == "debug.tick":
            await self.admin.debug_tick(data["time"], at_ms=at)
            return 200, []
        if kind in SEARCHES:
            return await self._search(kind, data, str(at))
        if kind.startswith("schedule."):
            return await self._schedule(kind, data, str(at))
        outcome = await self.calls.operate(request_of(kind, data), at=str(at))
        return answer_of(Step(kind, data, at), outcome)

    async def _search(self, kind: str, data: Json, at: str) -> tuple[int, Any]:
        search = search_of(kind, data)
        if isinstance(search, PromiseSearch):
            return page_of(await self.calls.search_promises(search, at=at))
        assert isinstance(search, TaskSearch)
        return page_of(await self.calls.search_tasks(search, at=at))

    async def _schedule(self, kind: str, data: Json, at: str) -> tuple[int, Any]:
        ask = self.calls.call
        answer: Any
        match kind:
            case "schedule.get":
                got = pb.SchedulesGetRequest(id=data["id"])
                answer = await ask("Schedules/Get", got, pb.SchedulesGetResponse, at=at)
            case "schedule.create":
                made = _created(request_of(kind, data))
                answer = await ask("Schedules/Create", made, pb.SchedulesCreateResponse, at=at)
            case _:
                gone = pb.SchedulesDeleteRequest(id=data["id"])
                answer = await ask("Schedules/Delete", gone, pb.SchedulesDeleteResponse, at=at)
        if isinstance(answer, Refusal):
            return answer.status, answer.message
        if isinstance(answer, pb.SchedulesDeleteResponse):
            return 200, {}
        return 200, {"schedule": schedule_record(schedule_of(answer.schedule))}


def messages_of(state: StoredState) -> set[str]:
    """Name the messages that wait in a store."""
    executes = {execute(key, version, address) for address, key, version in state.executes}
    return executes | {unblock(promise_id, address) for address, promise_id in state.unblocks}


def _created(request: Any) -> pb.SchedulesCreateRequest:
    assert isinstance(request, ScheduleCreate)
    return pb.SchedulesCreateRequest(
        id=request.id,
        cron=request.cron,
        promise_id=request.promise_id,
        promise_timeout_ms=request.promise_timeout_ms,
        promise_param=common_pb2.Value(data=request.promise_param.data),
        promise_tags=request.promise_tags,
    )
