"""The leases of a member that is gone are given back, whatever was under way when it went."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import psycopg

from holdfast.core.membership import Member, TaskOffer, TaskPush
from holdfast.core.records import TARGET, Promise, Task, TaskState
from holdfast.core.requests import Done, PromiseCreate, PromiseGet, TaskCreate, TaskGet
from holdfast_store.db.postgres.connections import Bounds
from holdfast_store.db.postgres.storage import PostgresStorage
from holdfast_store.engine import Engine, EngineSettings
from holdfast_store.observer import NullObserver

FAR_MS = 2**50
LONG_MS = 3_600_000
"""A lease that no test lives to see the end of."""
LOCK = "SELECT id FROM promises WHERE id = %s FOR UPDATE"


class Inbox:
    """Takes what nobody reads."""

    def push_task(self, push: TaskPush) -> None: ...

    def push_offer(self, offer: TaskOffer) -> None: ...

    def push_settled(self, promise: Promise) -> None: ...

    def replaced(self) -> None: ...


class Failures(NullObserver):
    """Counts transactions that were given up."""

    count = 0

    def batch_failed(self, *, kind: str) -> None:
        """Note one more."""
        self.count += kind == "TransactionAborted"


ATTEMPTS = 2


@asynccontextmanager
async def running(
    url: str, observer: NullObserver | None = None, **bounds: int
) -> AsyncIterator[Engine]:
    """Run an engine without loops, which loses members without a grace."""
    storage = PostgresStorage(url, bounds=Bounds(**bounds))
    settings = EngineSettings(stream_grace_ms=0, attempts_max=ATTEMPTS)
    await storage.open()
    engine = Engine(storage, clock=storage.clock, settings=settings, observer=observer)
    await engine.start()
    try:
        async with asyncio.timeout(30):
            yield engine
    finally:
        await engine.stop()
        await storage.close()


def member() -> Member:
    return Member(pid="p", instance="1", groups=("workers",), credits=0)


def taking(task_id: str) -> TaskCreate:
    create = PromiseCreate(id=task_id, timeout_at_ms=FAR_MS, tags={TARGET: "poll://any@others"})
    return TaskCreate(action=create, pid="p", ttl_ms=LONG_MS)


async def task_of(engine: Engine, task_id: str) -> Task | None:
    (outcome,) = await engine.apply(TaskGet(id=task_id))
    return outcome.task if isinstance(outcome, Done) else None


async def until_pending(engine: Engine, task_id: str) -> None:
    while True:
        task = await task_of(engine, task_id)
        if task is not None and task.state is TaskState.PENDING:
            return
        await asyncio.sleep(0.01)


async def until(look: Callable[[], object]) -> None:
    while True:
        if look():
            return
        await asyncio.sleep(0.01)


async def test_a_lease_that_a_member_asked_for_before_it_died_is_given_back(
    postgres_url: str,
) -> None:
    """Its request waited behind others, and was carried out when its leases had been looked for."""
    async with running(postgres_url) as engine:
        await engine.apply(PromiseCreate(id="slow", timeout_at_ms=FAR_MS))
        session = engine.connect(member(), Inbox())
        await engine.apply(PromiseGet(id="slow"))
        answered = asyncio.Event()
        with psycopg.connect(postgres_url) as other:
            other.execute(LOCK, ["slow"])
            slow = asyncio.create_task(engine.apply(PromiseGet(id="slow")))
            await asyncio.sleep(0)  # it is under way, and what comes now waits for its end
            await asyncio.sleep(0)
            engine.submit([taking("t")], lambda _: answered.set(), session=session)
            session.close(peer_closed=True)
            await asyncio.sleep(0.05)  # the grace of none has passed
            assert not answered.is_set()
        await slow
        await answered.wait()

        await until_pending(engine, "t")


async def test_a_member_that_joins_and_dies_while_its_leases_are_locked_loses_them(
    postgres_url: str,
) -> None:
    """What it joined with is tried again later than what it left with."""
    failures = Failures()
    async with running(postgres_url, failures, lock_ms=50) as engine:
        session = engine.connect(member(), Inbox())
        taken = asyncio.Event()
        engine.submit([taking("t")], lambda _: taken.set(), session=session)
        await taken.wait()
        with psycopg.connect(postgres_url) as other:
            other.execute(LOCK, ["t"])
            again = engine.connect(member(), Inbox())
            await until(lambda: failures.count == ATTEMPTS)
        task = await task_of(engine, "t")
        assert task is not None
        assert task.state is TaskState.ACQUIRED
        again.close(peer_closed=True)

        await until_pending(engine, "t")
