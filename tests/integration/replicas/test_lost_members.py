"""The leases of a member that is gone are given back, whatever was under way when it went."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import psycopg

from holdfast.core.membership import Member, TaskOffer, TaskPush
from holdfast.core.records import EXTERNAL, TARGET, Promise, PromiseState, Task, TaskState
from holdfast.core.requests import (
    Done,
    PromiseCreate,
    PromiseGet,
    PromiseRegisterListener,
    PromiseSettle,
    TaskCreate,
    TaskGet,
)
from holdfast_store.db.postgres.connections import Bounds
from holdfast_store.db.postgres.storage import PostgresStorage
from holdfast_store.engine import Engine, EngineSettings, Session
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


async def take(engine: Engine, session: Session, task_id: str) -> None:
    taken = asyncio.Event()
    engine.submit([taking(task_id)], lambda _: taken.set(), session=session)
    await taken.wait()


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
        await take(engine, session, "t")
        with psycopg.connect(postgres_url) as other:
            other.execute(LOCK, ["t"])
            again = engine.connect(member(), Inbox())
            await until(lambda: failures.count == ATTEMPTS)
        task = await task_of(engine, "t")
        assert task is not None
        assert task.state is TaskState.ACQUIRED
        again.close(peer_closed=True)

        await until_pending(engine, "t")


async def test_whoever_takes_a_pid_at_another_store_takes_no_lease_with_it(
    postgres_url: str,
) -> None:
    """Stores do not tell each other who is there; what a start of a process calls itself does."""
    async with running(postgres_url) as ours, running(postgres_url) as theirs:
        owner = ours.connect(member(), Inbox())
        thief = theirs.connect(replace(member(), instance="2", held=frozenset()), Inbox())
        for engine, session, task_id in ((ours, owner, "a/1"), (theirs, thief, "b/1")):
            await take(engine, session, task_id)
        thief.close(peer_closed=True)
        await until_pending(theirs, "b/1")

        task = await task_of(theirs, "a/1")
        assert task is not None
        assert (task.state, task.version) == (TaskState.ACQUIRED, 1)


class Told(Inbox):
    """Notes what its member is told of."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def push_settled(self, promise: Promise) -> None:
        self.ids.append(promise.id)


async def test_whoever_has_a_pid_at_another_store_gets_the_messages_of_its_own_prefix_alone(
    postgres_url: str,
) -> None:
    """What is for the other one waits for it, as if nobody of that name were there."""
    thief, owner = Told(), Told()
    async with running(postgres_url) as theirs, running(postgres_url) as ours:
        theirs.connect(replace(member(), instance="2", prefix="b/"), thief)
        for name in ("a/1", "b/1"):
            await theirs.apply(
                PromiseCreate(id=name, timeout_at_ms=FAR_MS, tags={EXTERNAL: "true"}),
                PromiseRegisterListener(awaited=name, address="poll://uni@workers/p"),
                PromiseSettle(id=name, state=PromiseState.RESOLVED),
            )
        await until(lambda: thief.ids)
        ours.connect(member(), owner)
        await until(lambda: owner.ids)

    assert (thief.ids, owner.ids) == (["b/1"], ["a/1"])
