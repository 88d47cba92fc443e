"""What a store has left to others when it ends is done by them, without a look by the clock."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from holdfast.core.membership import Member, TaskOffer, TaskPush
from holdfast.core.records import TARGET, Promise
from holdfast.core.requests import PromiseCreate
from holdfast_store.db.postgres import storage as postgres
from holdfast_store.db.postgres.storage import PostgresStorage
from holdfast_store.engine import Engine
from holdfast_store.loops.neighbors import Neighbors
from holdfast_store.wakeups import News

FAR_MS = 2**50
NEVER_S = 3_600.0


class Inbox:
    """Keeps the tasks that a member is given."""

    def __init__(self) -> None:
        self.tasks: asyncio.Queue[TaskPush] = asyncio.Queue()

    def push_task(self, push: TaskPush) -> None:
        self.tasks.put_nowait(push)

    def push_offer(self, offer: TaskOffer) -> None: ...

    def push_settled(self, promise: Promise) -> None: ...

    def replaced(self) -> None: ...


class Store:
    """A store of this process."""

    def __init__(self, storage: PostgresStorage) -> None:
        self.storage = storage
        self.engine = Engine(storage, clock=storage.clock)
        self.neighbors = Neighbors(self.engine, storage, storage, slow_poll_s=NEVER_S)

    async def is_settled(self) -> None:
        """Return when it knows one other store, and looks for nothing that it was not told of."""
        while True:
            status = self.neighbors.status()
            if status.stores == 1 and status.is_listening and not status.is_settling:
                return
            await asyncio.sleep(0.01)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    storage = PostgresStorage(url)
    await storage.open()
    store = Store(storage)
    await store.engine.start()
    try:
        yield store
    finally:
        await store.engine.stop()
        await storage.close()


async def _say_nothing() -> None:
    """End as a process does that is killed."""


@pytest.mark.parametrize("dies", [False, True])
async def test_a_task_that_a_store_made_just_before_it_ended_is_given_out_by_another(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, *, dies: bool
) -> None:
    monkeypatch.setattr(postgres, "LAPSED_MS", 5_000)
    async with (
        asyncio.timeout(40),
        opened(postgres_url) as ending,
        opened(postgres_url) as staying,
        asyncio.TaskGroup() as group,
    ):
        end = group.create_task(ending.neighbors.run())
        stay = group.create_task(staying.neighbors.run())
        inbox = Inbox()
        staying.engine.connect(Member(pid="p", instance="1", groups=("g",), credits=1), inbox)
        await asyncio.gather(ending.is_settled(), staying.is_settled())

        tell = ending.engine.on_news

        loop = asyncio.get_running_loop()
        if dies:
            monkeypatch.setattr(ending.storage, "depart", _say_nothing)

        def tell_and_end(news: News) -> None:
            tell(news)
            end.cancel()

        def told(news: News) -> None:
            tell(News(groups=frozenset({"nobody"})))
            loop.call_soon(lambda: loop.call_soon(tell_and_end, news))  # while that is on its way

        ending.engine.on_news = told
        tags = {TARGET: "poll://any@g"}
        await ending.engine.apply(PromiseCreate(id="t", timeout_at_ms=FAR_MS, tags=tags))

        assert (await inbox.tasks.get()).task.id == "t"
        stay.cancel()
