"""Whatever can be told a story: the model, the rules, storages, and the protocols around them."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from typing import Any

from holdfast.core.membership import Member, TaskPush
from holdfast.core.profile import DEFAULT_PROFILE
from holdfast.core.records import Promise
from holdfast.core.search import PromiseSearch, Search, TaskSearch
from holdfast.rpc import Admin
from holdfast.rpc.store import RemoteStore
from tests.conformance.stories import System
from tests.differential.backends import Core, stored
from tests.differential.pictures import picture_of_model
from tests.differential.plays import Backend, Step
from tests.differential.remote import remote
from tests.differential.translation import (
    answer_of,
    chain_answer_of,
    chain_of,
    page_of,
    request_of,
    search_of,
)
from tests.integration.bridge.system import Client
from tests.integration.debug.conftest import serving
from tests.model.model import Model
from tests.model.profile import Profile
from tests.traces.traces import Json, execute, unblock

BEGINNING = 1_000_000
SLACK = 10_000
"""More than a story takes by the wall's clock, and less than any span in it."""
IN_PROCESS = ("core", "memory", "sqlite", "postgresql")
NAMES = ("model", *IN_PROCESS, "gRPC", "Connect", "bridge")
PRELOADED = (
    *(("task.create", 200), ("task.acquire", 200)),
    *(("task.suspend", 300), ("task.fence", 200)),
)
TIMED = tuple(name for name in NAMES if name != "Connect")


class Modelled:
    """The naive model itself: what it is judged by must hold for it too."""

    has_envelopes = False

    def __init__(self) -> None:
        self._model = Model(Profile(extensions=True))
        self._now = 0

    async def reset(self) -> int:
        self._model = Model(Profile(extensions=True))
        return BEGINNING

    async def handle(self, kind: str, data: Json, *, at: int) -> tuple[int, Any]:
        self._now = at
        return self._model.handle(kind, data, at)

    async def outbox(self) -> set[str]:
        """List what waits, or would as soon as somebody looked: the model does so in a tick."""
        picture = picture_of_model(self._model, self._now)
        executes = picture["executes"] | picture["due"]
        named = {execute(key, version, address) for key, version, address in executes}
        return named | {unblock(key, address) for key, address in picture["unblocks"]}


class Played:
    """A backend of the differential test."""

    has_envelopes = False

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def reset(self) -> int:
        await self._backend.reset()
        return BEGINNING

    async def handle(self, kind: str, data: Json, *, at: int) -> tuple[int, Any]:
        status, answer = await self._backend.handle(Step(kind, data, at))
        if isinstance(self._backend, Core) and (kind, status) in PRELOADED:
            answer = {**answer, "preload": []}  # the rules leave it to whoever runs them
        return status, answer

    async def outbox(self) -> None:
        """Messages go when the engine likes, or when a tick says so."""
        return


class Bridged:
    """The gateway's bridge, in front of a store, as processes of their own."""

    has_envelopes = True

    def __init__(self, client: Client) -> None:
        self._client = client

    async def reset(self) -> int:
        assert self._client("debug.reset", {}).status == 200
        return BEGINNING

    async def handle(self, kind: str, data: Json, *, at: int) -> tuple[int, Any]:
        answer = self._client(kind, data, at=at)
        return answer.status, answer.data

    async def outbox(self) -> set[str]:
        return messages_in(self._client("debug.snap", {}).data["messages"])


class Streamed:
    """The stream of operations, which goes by the wall's clock; ticks come from elsewhere."""

    def __init__(self, store: RemoteStore, admin: Admin) -> None:
        self._store = store
        self._admin = admin

    async def reset(self) -> int:
        await self._admin.debug_reset()
        return time.time_ns() // 1_000_000

    async def handle(self, kind: str, data: Json, *, at: int) -> tuple[int, Any]:
        if kind == "debug.tick":
            await self._admin.debug_tick(data["time"] + SLACK)
            return 200, []
        if kind.endswith(".search"):
            return await self._search(search_of(kind, data))
        if kind == "chain":
            answer = await self._store.submit(chain_of(data))
            return chain_answer_of(Step(kind, data, at), answer.outcomes)
        answer = await self._store.submit([request_of(kind, data)])
        return answer_of(Step(kind, data, at), answer.outcomes[0])

    async def _search(self, search: Search) -> tuple[int, Any]:
        match search:
            case PromiseSearch():
                return page_of(await self._store.search_promises(search))
            case TaskSearch():
                return page_of(await self._store.search_tasks(search))
        return page_of(await self._store.search_schedules(search))


class Silent:
    """A member that takes no tasks and waits for nothing."""

    def on_task(self, push: TaskPush) -> None:
        raise AssertionError(f"it gave no credits, and was given {push}")

    def on_settled(self, promise: Promise) -> None:
        """Somebody listened at the address of a member; that is not what is looked at."""

    def on_connected(self) -> None:
        """Connecting is waited for by the first answer."""

    def on_disconnected(self) -> None:
        """An answer that does not come fails the test."""


@asynccontextmanager
async def opened(name: str, place: Callable[[], str]) -> AsyncIterator[System]:
    """Open a system; `place` names where its database or its bridge is."""
    match name:
        case "model":
            yield Modelled()
        case "core":
            yield Played(Core(DEFAULT_PROFILE))
        case "gRPC":
            async with remote("memory:", DEFAULT_PROFILE) as backend:
                yield Played(backend)
        case "Connect":
            async with streamed() as system:
                yield system
        case "bridge":
            with closing(Client(place())) as client:
                yield Bridged(client)
        case _:
            async with stored(name, place(), DEFAULT_PROFILE) as engine:
                yield Played(engine)


@asynccontextmanager
async def streamed() -> AsyncIterator[Streamed]:
    async with serving("memory:") as served, Admin(served.url) as admin:
        store = RemoteStore(served.url)
        await store.start(Member(pid="tests", instance="1", groups=("tests",)), Silent())
        try:
            yield Streamed(store, admin)
        finally:
            await store.close()


def messages_in(messages: list[Json]) -> set[str]:
    """Name messages as the worked traces do."""
    return {_named(each["address"], each["message"]) for each in messages}


def _named(address: str, message: Json) -> str:
    data = message["data"]
    if message["kind"] == "unblock":
        return unblock(data["promise"]["id"], address)
    return execute(data["task"]["id"], data["task"]["version"], address)
