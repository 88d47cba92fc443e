"""Due work is done by itself, and an idle store does nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from holdfast.core.membership import Member, TaskOffer, TaskPush
from holdfast.core.records import Promise, PromiseState
from holdfast.core.requests import Done, PromiseCreate, PromiseRegisterListener
from holdfast_store.engine import Engine
from holdfast_store.loops.timers import Timers
from holdfast_store.memory import MemoryStorage
from holdfast_store.observer import NullObserver

SLOW_POLL_S = 3600.0


@dataclass
class Inbox:
    settled: "asyncio.Queue[Promise]" = field(default_factory=asyncio.Queue)
    tasks: "asyncio.Queue[TaskPush]" = field(default_factory=asyncio.Queue)

    def push_task(self, push: TaskPush) -> None:
        self.tasks.put_nowait(push)

    def push_offer(self, offer: TaskOffer) -> None: ...

    def push_settled(self, promise: Promise) -> None:
        self.settled.put_nowait(promise)

    def replaced(self) -> None: ...


class CountingStorage(MemoryStorage):
    """Counts what reaches the database."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    async def next_due_at_ms(self) -> int | None:
        self.reads += 1
        return await super().next_due_at_ms()

    async def drop_unblocks(self, *, before_ms: int) -> int:
        self.reads += 1
        return await super().drop_unblocks(before_ms=before_ms)


@asynccontextmanager
async def running(storage: MemoryStorage) -> AsyncIterator[Engine]:
    await storage.open()
    engine = Engine(storage)
    await engine.start()
    timers = Timers(engine, storage, observer=NullObserver(), slow_poll_s=SLOW_POLL_S)
    async with asyncio.TaskGroup() as group:
        loop = group.create_task(timers.run())
        yield engine
        loop.cancel()
        await engine.stop()
    await storage.close()


async def created(engine: Engine, *, in_ms: int, tags: dict[str, str]) -> Promise:
    request = PromiseCreate(id=f"p{in_ms}", timeout_at_ms=engine.now_ms() + in_ms, tags=tags)
    (outcome,) = await engine.apply(request)
    assert isinstance(outcome, Done)
    assert outcome.promise is not None
    return outcome.promise


async def listen(engine: Engine, promise: Promise) -> Inbox:
    inbox = Inbox()
    engine.connect(Member(pid="c", instance="i", groups=("g",)), inbox)
    await engine.apply(PromiseRegisterListener(awaited=promise.id, address="poll://uni@g/c"))
    return inbox


async def test_a_durable_sleep_ends_by_itself() -> None:
    async with running(MemoryStorage()) as engine, asyncio.timeout(5):
        promise = await created(engine, in_ms=60, tags={"resonate:timer": "true"})
        inbox = await listen(engine, promise)

        settled = await inbox.settled.get()

    assert settled.state is PromiseState.RESOLVED
    assert settled.settled_at_ms == promise.timeout_at_ms


async def test_an_earlier_deadline_that_comes_later_is_not_overslept() -> None:
    async with running(MemoryStorage()) as engine, asyncio.timeout(5):
        await created(engine, in_ms=3_600_000, tags={"resonate:timer": "true"})
        await asyncio.sleep(0)
        promise = await created(engine, in_ms=60, tags={"resonate:external": "true"})
        inbox = await listen(engine, promise)

        settled = await inbox.settled.get()

    assert settled.state is PromiseState.REJECTED_TIMEDOUT


async def test_an_idle_store_reads_nothing_but_at_the_slow_poll() -> None:
    storage = CountingStorage()
    async with running(storage) as engine, asyncio.timeout(10):
        promise = await created(engine, in_ms=30, tags={"resonate:timer": "true"})
        inbox = await listen(engine, promise)
        await inbox.settled.get()
        await asyncio.sleep(0.05)
        before = storage.reads

        await asyncio.sleep(1.5)  # longer than the check of the wall clock

        assert storage.reads == before
