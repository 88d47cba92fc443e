"""Due work is done by itself, and an idle store does nothing."""

import asyncio
import selectors
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from holdfast.core.membership import Member, TaskOffer, TaskPush
from holdfast.core.records import Promise, PromiseState
from holdfast.core.requests import Done, PromiseCreate, PromiseRegisterListener
from holdfast_store.engine import Engine
from holdfast_store.loops.timers import Timers
from holdfast_store.memory.storage import MemoryStorage, MemoryTransaction
from holdfast_store.observer import NullObserver
from holdfast_store.storage import Loaded, Plan

SLOW_POLL_S = 3600.0
ADDRESS = "poll://uni@g/c"
TIMER = {"resonate:timer": "true"}


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
async def running(
    storage: MemoryStorage, *, clock: Callable[[], int] | None = None
) -> AsyncIterator[Engine]:
    await storage.open()
    engine = Engine(storage, clock=clock)
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
    await engine.apply(PromiseRegisterListener(awaited=promise.id, address=ADDRESS))
    return inbox


async def test_a_durable_sleep_ends_by_itself() -> None:
    async with running(MemoryStorage()) as engine, asyncio.timeout(5):
        promise = await created(engine, in_ms=60, tags=TIMER)
        inbox = await listen(engine, promise)

        settled = await inbox.settled.get()

    assert settled.state is PromiseState.RESOLVED
    assert settled.settled_at_ms == promise.timeout_at_ms


async def test_an_earlier_deadline_that_comes_later_is_not_overslept() -> None:
    async with running(MemoryStorage()) as engine, asyncio.timeout(5):
        await created(engine, in_ms=3_600_000, tags=TIMER)
        await asyncio.sleep(0)
        promise = await created(engine, in_ms=60, tags={"resonate:external": "true"})
        inbox = await listen(engine, promise)

        settled = await inbox.settled.get()

    assert settled.state is PromiseState.REJECTED_TIMEDOUT


async def test_an_idle_store_reads_nothing_but_at_the_slow_poll() -> None:
    storage = CountingStorage()
    async with running(storage) as engine, asyncio.timeout(10):
        promise = await created(engine, in_ms=30, tags=TIMER)
        inbox = await listen(engine, promise)
        await inbox.settled.get()
        await asyncio.sleep(0.05)
        before = storage.reads

        await asyncio.sleep(1.5)  # longer than the check of the wall clock

        assert storage.reads == before


# What another store has


class VirtualTime(asyncio.SelectorEventLoop):
    """Time stands still while anything can run, and jumps to what is waited for."""

    def __init__(self) -> None:
        self._now_s = 0.0
        super().__init__(JumpingSelector(self))

    def time(self) -> float:
        return self._now_s

    def jump(self, span_s: float) -> None:
        self._now_s += span_s


class JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: VirtualTime) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if not found and timeout:
            self._loop.jump(timeout)
        return found


class HeldStorage(MemoryStorage):
    """Another transaction has some rows, so that a sweep passes over them."""

    def __init__(self) -> None:
        super().__init__()
        self.held: set[str] = set()
        self.sweeps = 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[MemoryTransaction]:
        async with super().transaction():
            yield HeldTransaction(self)


class HeldTransaction(MemoryTransaction):
    def __init__(self, storage: HeldStorage) -> None:
        super().__init__(storage._rows)
        self._storage = storage

    async def load(self, plan: Plan, *, now_ms: int) -> Loaded:
        if plan.due_max:
            self._storage.sweeps += 1
            # A timer that never pauses would never let time go on, nor this test end.
            assert self._storage.sweeps < 1_000
            plan.due_skip = {*plan.due_skip, *self._storage.held}
        return await super().load(plan, now_ms=now_ms)


def test_what_another_store_has_is_swept_for_after_pauses_that_grow() -> None:
    """What becomes due meanwhile does not wait for it."""
    loop = VirtualTime()
    storage = HeldStorage()

    async def play() -> None:
        clock = lambda: round(loop.time() * 1000)  # noqa: E731 - an expression of the loop
        async with running(storage, clock=clock) as engine:
            first = await created(engine, in_ms=50, tags=TIMER)
            inbox = await listen(engine, first)
            storage.held = {first.id}
            await asyncio.sleep(10)
            other = await created(engine, in_ms=60, tags=TIMER)
            await engine.apply(PromiseRegisterListener(awaited=other.id, address=ADDRESS))

            assert (await inbox.settled.get()).id == other.id
            assert engine.now_ms() == other.timeout_at_ms
            await asyncio.sleep(10)
            assert 20 <= storage.sweeps <= 40

            storage.held = set()
            released_ms = engine.now_ms()
            assert (await inbox.settled.get()).id == first.id
            assert engine.now_ms() <= released_ms + 1_000
            before = storage.sweeps
            await asyncio.sleep(10)
            assert storage.sweeps <= before + 1

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(play())
