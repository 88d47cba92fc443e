"""Stores of one database whose clock is set, or drifts from theirs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from holdfast.core.membership import Member
from holdfast.core.records import TaskState
from holdfast.core.requests import PromiseGet
from holdfast_store.db.postgres.storage import PostgresStorage
from holdfast_store.engine import Engine, EngineSettings
from tests.integration.postgres import query
from tests.integration.replicas.test_lost_members import Inbox, taking, task_of

HOUR_MS = 3_600_000
NOW_MS = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[PostgresStorage]:
    storage = PostgresStorage(url)
    await storage.open()
    try:
        yield storage
    finally:
        await storage.close()


async def database_ms(url: str) -> int:
    ((now_ms,),) = await asyncio.to_thread(query, url, f"SELECT {NOW_MS}")
    return int(str(now_ms))


async def test_a_store_without_work_notices_that_the_clock_was_set_forward(
    postgres_url: str,
) -> None:
    """By its clock connections have their age, and leases follow the younger one."""
    async with opened(postgres_url) as storage:
        storage.clock = late = type(storage.clock)()
        late.hear(await database_ms(postgres_url) - HOUR_MS)

        before_ms = await database_ms(postgres_url)
        assert late() < before_ms
        await storage.exchange("{}")

        assert late() >= before_ms


async def test_a_store_that_ended_before_the_clock_was_set_back_does_not_count(
    postgres_url: str,
) -> None:
    async with opened(postgres_url) as living, opened(postgres_url) as other:
        assert await other.exchange("{}") == []
        ahead = f"SELECT 'gone', {NOW_MS} + {HOUR_MS}, 'x'"
        sql = f"INSERT INTO replicas (id, seen_at_ms, groups) {ahead}"
        await asyncio.to_thread(query, postgres_url, sql)

        assert await living.exchange("{}") == ["{}"]

    found = await asyncio.to_thread(query, postgres_url, "SELECT 1 FROM replicas WHERE id = 'gone'")
    assert found == []


@asynccontextmanager
async def running(storage: PostgresStorage) -> AsyncIterator[Engine]:
    engine = Engine(storage, clock=storage.clock, settings=EngineSettings(stream_grace_ms=0))
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


def holding(*held: tuple[str, int]) -> Member:
    return Member(pid="p", instance="1", groups=("workers",), credits=0, held=frozenset(held))


async def test_a_member_keeps_its_leases_when_it_moves_while_the_clock_was_set_back(
    postgres_url: str,
) -> None:
    """The store that it comes from still answers by the clock as it was before."""
    async with (
        asyncio.timeout(30),
        opened(postgres_url) as here,
        opened(postgres_url) as there,
        running(here) as first,
        running(there) as second,
    ):
        here.clock.hear(await database_ms(postgres_url) + HOUR_MS)
        session = first.connect(holding(), Inbox())
        taken = asyncio.Event()
        chain = [taking("t")]
        first.submit(chain, lambda _: taken.set(), session=session)
        await taken.wait()

        second.connect(holding(("t", 1)), Inbox())
        await second.apply(PromiseGet(id="t"))
        session.close(peer_closed=True)
        await asyncio.sleep(0.05)  # the grace of none has passed
        await first.apply(PromiseGet(id="t"))

        task = await task_of(second, "t")
        assert task is not None
        assert (task.state, task.version, task.pid) == (TaskState.ACQUIRED, 1, "p")
