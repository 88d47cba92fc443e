"""A store behind gRPC, in debug mode: each operation is a call at the instant of its step."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from holdfast.core.profile import Profile
from holdfast.core.requests import Refusal
from holdfast.rpc.answers import outcomes_of, schedule_of
from holdfast.rpc.requests import write_chain
from holdfast.v1 import schedules_pb2 as pb
from holdfast.v1 import workers_pb2
from holdfast_store.engine import Engine
from holdfast_store.rpc.answers import answer_bytes
from holdfast_store.rpc.requests import chain_of as heard
from tests.differential.pictures import picture_of_state
from tests.differential.plays import Json, Picture, Step
from tests.differential.translation import chain_answer_of, chain_of, schedule_record
from tests.integration.debug.conftest import serving
from tests.model.model import Answer
from tests.traces.store_player import StorePlayer


class Remote:
    """Calls, and what the store says that it keeps."""

    name = "gRPC"
    drops_unblocks = True
    keeps_own_branches = False

    def __init__(self, player: StorePlayer, engine: Engine) -> None:
        self._player = player
        self._engine = engine

    async def reset(self) -> None:
        await self._player.reset()

    async def handle(self, step: Step) -> Answer:
        if step.kind == "chain":
            return await self._chain(step)
        if step.kind.startswith("schedule."):
            return await self._schedule(step)
        if step.kind.endswith(".search") and step.data.get("limit") == 0:
            return 400, "over gRPC 0 stands for the default"
        return await self._player.handle(step.kind, step.data, at=step.now)

    async def _chain(self, step: Step) -> Answer:
        """Encode and decode on both sides; the stream itself goes by the wall's clock alone."""
        chain = chain_of(step.data)
        sent = workers_pb2.ConnectRequest()
        write_chain(sent, chain, correlation_id=1)
        sent = workers_pb2.ConnectRequest.FromString(sent.SerializeToString())
        requests, flaw = heard(sent.chains[0].operations)
        assert flaw is None, flaw
        outcomes = await self._engine.apply(*requests, at_ms=step.now)
        answered = workers_pb2.ConnectResponse.FromString(answer_bytes(1, outcomes))
        return chain_answer_of(step, outcomes_of(answered.results[0].results, chain))

    async def _schedule(self, step: Step) -> Answer:
        name = step.kind.removeprefix("schedule.").capitalize()
        if name == "Search" and step.data.get("limit") == 0:
            return 400, "over gRPC 0 stands for the default"
        request = getattr(pb, f"Schedules{name}Request")(**_members(step.data))
        _set_param(request, step.data.get("promiseParam") or {})
        response = getattr(pb, f"Schedules{name}Response")
        method = f"Schedules/{name}"
        answer = await self._player.calls.call(method, request, response, at=str(step.now))
        return _answer_of(name, answer)

    async def picture(self, now: int) -> Picture:
        return picture_of_state(await self._player.admin.debug_snap(), now)


def _members(data: Json) -> Json:
    names = {
        "promiseId": "promise_id",
        "promiseTimeout": "promise_timeout_ms",
        "promiseTags": "promise_tags",
        "timeZone": "time_zone",
    }
    return {names.get(name, name): each for name, each in data.items() if name != "promiseParam"}


def _set_param(request: Any, param: Json) -> None:
    if "data" in param:
        request.promise_param.data = param["data"].encode()
    if "headers" in param:
        request.promise_param.headers.SetInParent()
        request.promise_param.headers.entries.update(param["headers"])


def _answer_of(name: str, answer: Any) -> Answer:
    if isinstance(answer, Refusal):
        return answer.status, answer.message
    if name == "Delete":
        return 200, {}
    if name == "Search":
        cursor = {"cursor": answer.cursor} if answer.cursor else {}
        found = [schedule_record(schedule_of(each)) for each in answer.schedules]
        return 200, {"schedules": found, **cursor}
    return 200, {"schedule": schedule_record(schedule_of(answer.schedule))}


@asynccontextmanager
async def remote(url: str, profile: Profile) -> AsyncIterator[Remote]:
    """Serve a database and connect to it."""
    async with serving(url, profile=profile) as store, StorePlayer(store.url) as player:
        yield Remote(player, store.engine)
