"""Debug mode over a store in memory: whose clock it is, and what a tick does."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from holdfast.core.limits import INTEGER_MAX
from holdfast.core.membership import Member
from holdfast.core.profile import DEFAULT_PROFILE, Profile, Undeliverable
from holdfast.core.records import Promise, PromiseState, Task, TaskState
from holdfast.core.requests import (
    Done,
    Outcome,
    PromiseCreate,
    PromiseGet,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Request,
    ScheduleCreate,
    TaskAcquire,
    TaskCreate,
    TaskGet,
    TaskSuspend,
)
from holdfast.core.stored import StoredState
from holdfast_store.debugging import BUSY_S_MAX, RESET_ATTEMPTS_MAX, Debug
from holdfast_store.engine import Engine, EngineSettings
from holdfast_store.loops.timers import Timers
from holdfast_store.memory.storage import MemoryStorage, MemoryTransaction
from holdfast_store.observer import NullObserver
from holdfast_store.storage import StorageUnavailable, TransactionAborted
from tests.unit.holdfast_store.test_timers import HeldStorage, Inbox, VirtualTime

FAR_MS = 10**12
TARGET = {"resonate:target": "poll://any@g"}
EXTERNAL = {"resonate:external": "true"}


class Held(MemoryStorage):
    """A storage whose transactions and resets can be held up, or fail."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.resetting = asyncio.Event()
        self.may_reset = asyncio.Event()
        self.may_reset.set()
        self.aborts = 0

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[MemoryTransaction]:
        if self.away:
            raise StorageUnavailable("nobody is there")
        async with super().transaction() as transaction:
            yield transaction

    async def reset(self) -> None:
        if self.aborts:
            self.aborts -= 1
            raise TransactionAborted("another store was in the way")
        self.resetting.set()
        await self.may_reset.wait()
        await super().reset()


class Mode:
    """An engine in debug mode."""

    def __init__(self, engine: Engine, debug: Debug, storage: Held) -> None:
        self.engine, self.debug, self.storage = engine, debug, storage

    async def at(self, at_ms: int, *chain: Request) -> Done:
        outcomes: Sequence[Outcome] = await self.engine.apply(*chain, at_ms=at_ms)
        done = outcomes[-1]
        assert isinstance(done, Done), done
        return done

    async def promise(self, promise_id: str, at_ms: int) -> Promise:
        promise = (await self.at(at_ms, PromiseGet(id=promise_id))).promise
        assert promise is not None
        return promise

    async def task(self, task_id: str, at_ms: int) -> Task:
        task = (await self.at(at_ms, TaskGet(id=task_id))).task
        assert task is not None
        return task


@asynccontextmanager
async def mode(
    *,
    profile: Profile = DEFAULT_PROFILE,
    settings: EngineSettings | None = None,
) -> AsyncIterator[Mode]:
    storage = Held()
    engine = Engine(storage, profile=profile, settings=settings)
    debug = Debug(engine, storage, snapshot=storage.snapshot)
    await engine.start()
    try:
        async with asyncio.timeout(20):
            yield Mode(engine, debug, storage)
    finally:
        storage.away = False
        await engine.stop()


def targeted(promise_id: str, *, timeout_at_ms: int = FAR_MS) -> PromiseCreate:
    return PromiseCreate(id=promise_id, timeout_at_ms=timeout_at_ms, tags=TARGET)


def external(promise_id: str, *, timeout_at_ms: int = FAR_MS) -> PromiseCreate:
    return PromiseCreate(id=promise_id, timeout_at_ms=timeout_at_ms, tags=EXTERNAL)


# Time


async def test_each_operation_is_judged_at_its_own_instant_and_time_may_go_back() -> None:
    async with mode() as store:
        await store.at(1_000, external("p", timeout_at_ms=2_000))

        seen = [(await store.promise("p", at_ms)).state for at_ms in (2_500, 1_500, 2_000, 1_999)]

    pending, over = PromiseState.PENDING, PromiseState.REJECTED_TIMEDOUT
    assert seen == [over, pending, over, pending]


async def test_operations_of_different_times_that_arrive_together_keep_their_own() -> None:
    async with mode() as store:
        times = [(index * 7_919) % 1_000 + 1 for index in range(200)]

        made = await asyncio.gather(
            *(store.at(at, external(f"p{at}-{i}")) for i, at in enumerate(times))
        )

    assert [done.promise.created_at_ms for done in made if done.promise] == times


async def test_an_operation_without_a_time_goes_by_the_clock_even_then() -> None:
    async with mode() as store:
        await store.at(1_000, external("old"))

        (done,) = await store.engine.apply(external("new", timeout_at_ms=INTEGER_MAX))

    assert isinstance(done, Done)
    assert done.promise is not None
    assert done.promise.created_at_ms > 1_600_000_000_000


async def test_what_waits_is_answered_when_the_store_stops() -> None:
    """Batches that were taken apart by their instants are not forgotten on the way."""
    async with mode() as store:
        asked = [asyncio.ensure_future(store.at(at, external(f"p{at}"))) for at in range(1, 50)]
        await asyncio.sleep(0)

    outcomes = await asyncio.gather(*asked)
    assert len(outcomes) == 49


async def test_members_are_given_tasks_at_the_instant_of_the_last_operation() -> None:
    """By the clock, the lease would end ages after everything else in the test."""
    async with mode() as store:
        await store.at(1_000, targeted("t"))
        inbox = Inbox()
        worker = Member(pid="w", instance="i", groups=("g",), credits=1, lease_ttl_ms=500)
        store.engine.connect(worker, inbox)

        push = await inbox.tasks.get()
        held = await store.debug.snap()
        await store.debug.tick(1_500)
        lapsed = await store.debug.snap()

    assert push.task.version == 1
    assert held.task_leases == {"t": 1_500}
    assert lapsed.tasks["t"].state is TaskState.PENDING


# The clock


def test_nothing_is_due_by_the_clock_before_a_stop_and_after_a_start() -> None:
    loop = VirtualTime()

    async def play() -> list[list[PromiseState]]:
        storage = MemoryStorage()
        engine = Engine(storage, clock=lambda: round(loop.time() * 1000))
        debug = Debug(engine, storage, snapshot=storage.snapshot)
        timers = Timers(engine, storage, observer=NullObserver(), slow_poll_s=30)
        await engine.start()
        keeping = asyncio.create_task(debug.gate.keep(timers.run))
        seen: list[list[PromiseState]] = []

        async def an_hour_passes() -> None:
            await asyncio.sleep(3_600)
            seen.append([p.state for p in (await debug.snap()).promises.values()])

        await engine.apply(external("a", timeout_at_ms=1_000), at_ms=1)
        await an_hour_passes()
        await debug.start()
        await debug.start()
        await an_hour_passes()
        debug.stop()
        await an_hour_passes()
        await debug.start()
        await engine.apply(external("b", timeout_at_ms=2_000), at_ms=1)
        await debug.reset()
        await engine.apply(external("c", timeout_at_ms=3_000), at_ms=1)
        await an_hour_passes()
        keeping.cancel()
        await engine.stop()
        return seen

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        seen = runner.run(play())

    pending, over = PromiseState.PENDING, PromiseState.REJECTED_TIMEDOUT
    assert seen == [[pending], [pending], [over], [pending]]


async def test_a_sweep_that_is_on_its_way_is_over_when_a_start_is_answered() -> None:
    async with mode() as store:
        await store.at(1, external("p", timeout_at_ms=2))
        store.debug.stop()
        store.engine.sweep()

        await store.debug.start()
        before = await store.debug.snap()
        store.engine.sweep()
        await store.at(1, external("q", timeout_at_ms=2))
        after = await store.debug.snap()

    assert before.promises["p"] == after.promises["p"]
    assert after.promises["q"].state is PromiseState.PENDING


# Ticks


async def test_a_tick_goes_on_until_nothing_is_due_in_small_transactions() -> None:
    async with mode(settings=EngineSettings(due_max=2)) as store:
        for number in range(25):
            await store.at(1_000, external(f"p{number}", timeout_at_ms=2_000))
            await store.at(1_000, targeted(f"dead{number}", timeout_at_ms=2_000))
            await store.at(
                1_000, TaskCreate(pid="w", ttl_ms=500, action=targeted(f"leased{number}"))
            )

        await store.debug.tick(1_999)
        before = await store.debug.snap()
        await store.debug.tick(2_000)
        after = await store.debug.snap()

    assert {p.state for i, p in before.promises.items() if i[0] in "pd"} == {PromiseState.PENDING}
    assert len(before.executes) == 50
    assert not [i for i in after.promise_timeouts if i[0] in "pd"]
    assert {t.state for i, t in after.tasks.items() if i[0] == "d"} == {TaskState.FULFILLED}
    assert {i for _, i, _ in after.executes} == {f"leased{number}" for number in range(25)}


async def test_a_dead_awaiter_is_not_woken_whichever_transaction_comes_first() -> None:
    """Both deadlines pass in one tick; one row at a time, the awaited one comes first."""
    async with mode(settings=EngineSettings(due_max=1)) as store:
        await store.at(1, external("a.awaited", timeout_at_ms=100))
        await store.at(
            1, TaskCreate(pid="w", ttl_ms=50, action=targeted("b.awaiter", timeout_at_ms=100))
        )
        wait = PromiseRegisterCallback(awaited="a.awaited", awaiter="b.awaiter")
        await store.at(2, TaskSuspend(id="b.awaiter", version=1, actions=(wait,)))

        await store.debug.tick(100)
        state = await store.debug.snap()

    assert state.tasks["b.awaiter"].state is TaskState.FULFILLED
    assert state.executes == frozenset()


async def test_what_a_step_makes_due_is_done_by_the_same_tick() -> None:
    """A timer ends, its awaiter is woken and dispatched; a listener's message waits."""
    async with mode() as store:
        await store.at(
            1, PromiseCreate(id="nap", timeout_at_ms=100, tags={"resonate:timer": "true"})
        )
        await store.at(1, TaskCreate(pid="w", ttl_ms=FAR_MS, action=targeted("t")))
        wait = PromiseRegisterCallback(awaited="nap", awaiter="t")
        await store.at(2, TaskSuspend(id="t", version=1, actions=(wait,)))
        await store.at(2, PromiseRegisterListener(awaited="nap", address="poll://uni@g/c"))

        await store.debug.tick(100)
        state = await store.debug.snap()

    assert state.executes == {("poll://any@g", "t", 1)}
    assert state.unblocks == {("poll://uni@g/c", "nap")}
    assert state.tasks["t"].resumes == {"nap"}
    assert state.callbacks == state.listeners == frozenset()


async def test_a_tick_in_the_past_finds_nothing() -> None:
    async with mode() as store:
        await store.at(1_000, external("p", timeout_at_ms=2_000))

        await store.debug.tick(500)

        assert (await store.promise("p", 1_999)).state is PromiseState.PENDING


async def test_a_tick_at_the_end_of_time_ends() -> None:
    """A message that nobody takes is due again at once there, since instants go no further."""
    drops = Profile(undeliverable=Undeliverable.DROP)
    async with mode(profile=drops) as store, asyncio.timeout(10):
        await store.at(1_000, targeted("t", timeout_at_ms=INTEGER_MAX))
        await store.at(1_000, targeted("u", timeout_at_ms=INTEGER_MAX))

        await store.debug.tick(INTEGER_MAX)
        state = await store.debug.snap()

    assert {t.state for t in state.tasks.values()} == {TaskState.FULFILLED}


async def test_a_tick_at_the_end_of_time_leaves_a_schedule_that_is_over() -> None:
    december_9999 = 253_400_000_000_000
    yearly = ScheduleCreate(
        id="yearly",
        cron="0 0 31 12 *",
        promise_id="{{.id}}.{{.timestamp}}",
        promise_timeout_ms=1,
        promise_tags=TARGET,
    )
    async with mode() as store, asyncio.timeout(10):
        await store.engine.apply(yearly, at_ms=december_9999)

        await store.debug.tick(INTEGER_MAX)
        state = await store.debug.snap()

    assert list(state.promises) == ["yearly.253402214400000"]


async def test_a_tick_that_the_database_fails_says_so_and_can_be_repeated() -> None:
    async with mode() as store:
        await store.at(1_000, external("p", timeout_at_ms=2_000))
        store.storage.away = True

        with pytest.raises(StorageUnavailable):
            await store.debug.tick(2_000)
        store.storage.away = False
        await store.debug.tick(2_000)
        state = await store.debug.snap()

    assert state.promises["p"].settled_at_ms == 2_000


@pytest.mark.parametrize("held_s", [1, 60])
def test_a_tick_waits_a_while_for_rows_that_another_store_has(held_s: float) -> None:
    loop = VirtualTime()
    storage = HeldStorage()

    async def play() -> PromiseState:
        engine = Engine(storage)
        debug = Debug(engine, storage, snapshot=storage.snapshot)
        await engine.start()
        await engine.apply(external("p", timeout_at_ms=2_000), at_ms=1_000)
        storage.held = {"p"}
        loop.call_later(held_s, storage.held.clear)
        try:
            await debug.tick(2_000)
        finally:
            await engine.stop()
        return (await debug.snap()).promises["p"].state

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        if held_s < BUSY_S_MAX:
            assert runner.run(play()) is PromiseState.REJECTED_TIMEDOUT
        else:
            with pytest.raises(StorageUnavailable, match="in use: tick again"):
                runner.run(play())


# What is stored


async def test_a_snapshot_shows_rows_as_they_are_stored() -> None:
    async with mode() as store:
        await store.at(1_000, targeted("t", timeout_at_ms=2_000))
        await store.at(1_000, TaskAcquire(id="t", version=0, pid="w", ttl_ms=100))
        await store.promise("t", 3_000)

        state = await store.debug.snap()

    assert state.promises["t"].state is PromiseState.PENDING
    assert (state.tasks["t"].state, state.tasks["t"].pid) == (TaskState.ACQUIRED, "w")
    assert state.promise_timeouts == {"t": 2_000}
    assert state.task_leases == {"t": 1_100}
    assert state.task_retries == {}


async def test_a_reset_forgets_what_is_remembered_of_the_records() -> None:
    """Room and hunger of a group are remembered beside the database; new tasks start afresh."""
    async with mode() as store:
        inbox = Inbox()
        worker = Member(pid="w", instance="i", groups=("g",), credits=1, lease_ttl_ms=500)
        session = store.engine.connect(worker, inbox)
        for name in ("first", "second", "third"):
            await store.at(1_000, targeted(name))
        assert (await inbox.tasks.get()).task.id == "first"

        await store.debug.reset()
        empty = await store.debug.snap()
        await store.at(1_000, targeted("fourth"))
        session.give_back(1)
        push = await inbox.tasks.get()

    assert empty == StoredState()
    assert push.task.id == "fourth"
    assert inbox.tasks.empty()


async def test_after_a_reset_nobody_is_preferred_for_what_was_there_before() -> None:
    async with mode() as store:
        warm, roomy = Inbox(), Inbox()
        worker = Member(pid="warm", instance="i", groups=("g",), credits=2, lease_ttl_ms=500)
        store.engine.connect(worker, warm)
        await store.at(1_000, targeted("t"))
        await warm.tasks.get()
        other = Member(pid="roomy", instance="i", groups=("g",), credits=9, lease_ttl_ms=500)
        store.engine.connect(other, roomy)

        await store.debug.reset()
        await store.at(1_000, targeted("t"))
        push = await roomy.tasks.get()

    assert push.task.id == "t"
    assert warm.tasks.empty()


async def test_a_reset_is_whole_even_if_its_caller_goes_away() -> None:
    async with mode() as store:
        await store.at(1_000, targeted("t"))
        store.storage.may_reset.clear()
        asked = asyncio.create_task(store.debug.reset())
        await store.storage.resetting.wait()

        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        store.storage.may_reset.set()
        await store.debug.tick(0)  # has its turn behind the reset

        assert await store.debug.snap() == StoredState()


async def test_a_reset_that_another_store_was_in_the_way_of_is_tried_again() -> None:
    async with mode() as store:
        await store.at(1_000, targeted("t"))

        store.storage.aborts = RESET_ATTEMPTS_MAX
        with pytest.raises(TransactionAborted):
            await store.debug.reset()
        kept = await store.debug.snap()
        store.storage.aborts = RESET_ATTEMPTS_MAX - 1
        await store.debug.reset()

        assert kept.tasks.keys() == {"t"}
        assert await store.debug.snap() == StoredState()


async def test_a_settlement_outlives_no_reset() -> None:
    async with mode() as store:
        await store.at(1_000, external("p"))
        await store.at(1_001, PromiseSettle(id="p", state=PromiseState.RESOLVED))

        await store.debug.reset()
        made = await store.at(1_002, external("p"))

    assert made.created
