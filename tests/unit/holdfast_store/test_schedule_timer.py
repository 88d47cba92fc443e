"""Schedules fire by themselves, and a store without any does nothing for them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager

import pytest

from holdfast.core.records import TARGET, Schedule
from holdfast.core.requests import Done, ScheduleCreate, ScheduleDelete, ScheduleGet, SchedulePause
from holdfast.core.search import PromiseSearch
from holdfast_store.engine import Engine
from holdfast_store.loops.schedules import ScheduleTimer
from holdfast_store.memory.storage import MemoryStorage
from holdfast_store.metrics import Metrics
from holdfast_store.storage import StorageUnavailable, UnreadableSchedule

SLOW_POLL_S = 3600.0
NIGHTLY = ScheduleCreate(
    id="nightly",
    cron="* * * * *",
    promise_id="{{.id}}.{{.timestamp}}",
    promise_timeout_ms=2**53 - 1,
    promise_tags={TARGET: "poll://any@workers"},
)


class FastClock:
    """A minute of it passes in a twentieth of a second, so that a timer is up to 20 minutes late.

    It sleeps for a second at most, by the clock on the wall.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self) -> int:
        return 30_000 + int((time.monotonic() - self._began) * 1_200_000)


class CountingStorage(MemoryStorage):
    """Counts what is asked about schedules, and fails when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.is_away = False
        self.is_damaged = False

    async def next_schedule_at_ms(self) -> int | None:
        self.reads += 1
        if self.is_away:
            raise StorageUnavailable("away")
        return await super().next_schedule_at_ms()

    async def due_schedules(
        self, *, now_ms: int, limit: int, bytes_max: int, skip: Collection[str] = ()
    ) -> Sequence[Schedule | UnreadableSchedule]:
        self.reads += 1
        if self.is_away:
            raise StorageUnavailable("away")
        if self.is_damaged:
            raise ValueError("a row that somebody has edited")
        return await super().due_schedules(
            now_ms=now_ms, limit=limit, bytes_max=bytes_max, skip=skip
        )


@asynccontextmanager
async def running(
    storage: MemoryStorage, metrics: Metrics | None = None
) -> AsyncIterator[tuple[Engine, ScheduleTimer]]:
    engine = Engine(storage, clock=FastClock(), observer=metrics)
    await engine.start()
    timer = ScheduleTimer(engine, slow_poll_s=SLOW_POLL_S)
    async with asyncio.TaskGroup() as group:
        loop = group.create_task(timer.run())
        yield engine, timer
        loop.cancel()
    await engine.stop()


async def read(engine: Engine) -> Schedule:
    (outcome,) = await engine.apply(ScheduleGet(id="nightly"))
    assert isinstance(outcome, Done)
    assert outcome.schedule is not None
    return outcome.schedule


async def ran(engine: Engine, *, after_ms: int = 0) -> int:
    """Wait until an occurrence behind an instant was fired."""
    async with asyncio.timeout(10):
        while True:
            last_ms = (await read(engine)).last_run_at_ms
            if last_ms is not None and last_ms > after_ms:
                return last_ms
            await asyncio.sleep(0.005)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - nobody sets an event when it comes about
            await asyncio.sleep(0.005)


async def test_a_schedule_that_comes_wakes_the_timer_and_fires_again_and_again() -> None:
    metrics = Metrics()
    storage = MemoryStorage()
    async with running(storage, metrics) as (engine, _), asyncio.timeout(10):
        await asyncio.sleep(0)  # it sleeps by now
        await engine.apply(NIGHTLY)

        first = await ran(engine)
        second = await ran(engine, after_ms=first)

    page = await storage.search_promises(PromiseSearch(), now_ms=0)
    assert second > first
    fired = sum(metrics._schedule_lateness.counts)
    assert fired == len(page.promises) >= 2


async def test_a_store_without_schedules_reads_nothing_but_at_the_slow_poll() -> None:
    storage = CountingStorage()
    async with running(storage):
        await asyncio.sleep(0.05)
        before = storage.reads

        await asyncio.sleep(1.5)  # longer than the check of the wall clock

        assert storage.reads == before == 1


async def test_a_deleted_or_paused_schedule_lets_the_timer_rest() -> None:
    storage = CountingStorage()
    async with running(storage) as (engine, timer):
        await engine.apply(NIGHTLY)
        await ran(engine)
        await engine.apply(SchedulePause(id="nightly", paused=True))
        paused = await read(engine)
        await asyncio.sleep(1.1)
        assert await read(engine) == paused

        await engine.apply(SchedulePause(id="nightly", paused=False))
        assert paused.last_run_at_ms is not None
        resumed = await ran(engine, after_ms=paused.last_run_at_ms)
        await engine.apply(ScheduleDelete(id="nightly"))
        await until(lambda: engine.now_ms() > resumed + 120_000 and timer.lag_ms == 0)
        before = storage.reads
        await asyncio.sleep(1.1)  # longer than the check of the wall clock

        assert resumed > paused.last_run_at_ms
        assert storage.reads == before
        assert timer.lag_ms == 0


async def test_what_a_database_was_away_for_is_made_up_for_and_seen_as_lag() -> None:
    storage = CountingStorage()
    async with running(storage) as (engine, timer):
        await engine.apply(NIGHTLY)
        last = await ran(engine)
        storage.is_away = True
        await until(lambda: timer.lag_ms >= 180_000)

        storage.is_away = False

        await ran(engine, after_ms=last + 120_000)
        await engine.apply(SchedulePause(id="nightly", paused=True))
        seen = await read(engine)
    assert seen.last_run_at_ms is not None
    page = await storage.search_promises(PromiseSearch(limit=1_000), now_ms=0)
    instants = sorted(int(each.id.partition(".")[2]) for each in page.promises)
    assert instants == list(range(instants[0], seen.last_run_at_ms + 60_000, 60_000))


async def test_a_store_fires_what_was_due_before_it_started() -> None:
    storage = MemoryStorage()
    engine = Engine(storage)
    await engine.start()
    await engine.apply(NIGHTLY, at_ms=0)
    await engine.stop()

    async with running(storage) as (again, _):
        await ran(again)


async def test_a_damaged_row_does_not_end_the_timer(caplog: pytest.LogCaptureFixture) -> None:
    storage = CountingStorage()
    async with running(storage) as (engine, _):
        await engine.apply(NIGHTLY)
        last = await ran(engine)
        storage.is_damaged = True
        await until(lambda: "schedules_broke" in caplog.text)

        storage.is_damaged = False

        await ran(engine, after_ms=last)
