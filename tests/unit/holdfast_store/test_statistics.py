"""Queue numbers for whoever only looks: bounded, never asked for, and absent rather than wrong."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from holdfast.core.membership import Member, TaskOffer, TaskPush
from holdfast.core.records import Promise
from holdfast_store import statistics as statistics_module
from holdfast_store.loops import readings as readings_module
from holdfast_store.loops.readings import Readings
from holdfast_store.members import Members
from holdfast_store.memory.storage import MemoryStorage
from holdfast_store.statistics import (
    GROUPS_SHOWN_MAX,
    OTHER_GROUPS,
    Queue,
    Statistics,
    pause_after,
)
from holdfast_store.storage import QueueCounts, StorageUnavailable

NOW_MS = 10_000


class Counted(MemoryStorage):
    """A storage with given counts, which can be away, and can take its time."""

    def __init__(self, *counts: QueueCounts) -> None:
        super().__init__()
        self.counts = list(counts)
        self.is_away = False
        self.hangs: asyncio.Event | None = None
        self.reads = 0
        self.has_read = asyncio.Event()

    async def queue_counts(self, *, now_ms: int) -> Sequence[QueueCounts]:
        self.reads += 1
        self.has_read.set()
        if self.hangs is not None:
            await self.hangs.wait()
        if self.is_away:
            raise StorageUnavailable("away")
        return list(self.counts)


class Inbox:
    def push_task(self, push: TaskPush) -> None: ...

    def push_offer(self, offer: TaskOffer) -> None: ...

    def push_settled(self, promise: Promise) -> None: ...

    def replaced(self) -> None: ...


def statistics_of(storage: Counted, members: Members | None = None) -> Statistics:
    return Statistics(storage, members or Members(), clock=lambda: NOW_MS)


def join(members: Members, pid: str, *groups: str, credits: int = 2) -> None:
    members.join(Member(pid=pid, instance="i", groups=groups, credits=credits), Inbox(), now_ms=0)


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let readings follow each other at once."""
    monkeypatch.setattr(statistics_module, "REFRESH_S", 0.0)
    monkeypatch.setattr(readings_module, "REFRESH_S", 0.0)


async def test_nothing_is_shown_before_the_first_reading() -> None:
    assert statistics_of(Counted()).shown() is None


async def test_what_was_read_is_shown_with_the_members_of_now() -> None:
    members = Members()
    storage = Counted(
        QueueCounts(group="w", due=3, running=2, suspended=1, halted=4, oldest_due_at_ms=9_000)
    )
    statistics = statistics_of(storage, members)
    await statistics.refresh()
    join(members, "a", "w")

    assert statistics.shown() == [
        Queue(
            group="w",
            due=3,
            running=2,
            suspended=1,
            halted=4,
            oldest_due_age_ms=1_000,
            members=1,
            free_credits=2,
        )
    ]
    assert storage.reads == 1


async def test_groups_that_have_only_members_are_shown() -> None:
    members = Members()
    join(members, "a", "idle")
    statistics = statistics_of(Counted(), members)

    await statistics.refresh()

    assert [(q.group, q.due, q.members) for q in statistics.shown() or ()] == [("idle", 0, 1)]


async def test_beyond_the_bound_groups_are_summed_up_and_those_with_members_come_first() -> None:
    members = Members()
    join(members, "a", "zz", credits=5)
    counts = [
        QueueCounts(group=f"g{n:03}", due=1, running=2, oldest_due_at_ms=NOW_MS - n)
        for n in range(GROUPS_SHOWN_MAX + 50)
    ]
    statistics = statistics_of(Counted(*counts, QueueCounts(group=OTHER_GROUPS, due=7)), members)
    await statistics.refresh()

    shown = statistics.shown()

    assert shown is not None
    *known, other = shown
    assert [q.group for q in known] == ["zz", *(f"g{n:03}" for n in range(GROUPS_SHOWN_MAX - 1))]
    assert (other.group, other.due, other.running) == (OTHER_GROUPS, 51 + 7, 102)
    assert other.oldest_due_age_ms == GROUPS_SHOWN_MAX + 49
    assert (other.members, other.free_credits) == (0, 0)


async def test_members_of_groups_that_are_not_shown_count_under_the_others() -> None:
    members = Members()
    for n in range(GROUPS_SHOWN_MAX + 10):
        join(members, f"p{n}", f"g{n:03}", credits=3)
    statistics = statistics_of(Counted(), members)
    await statistics.refresh()

    *known, other = statistics.shown() or ()

    assert len(known) == GROUPS_SHOWN_MAX
    assert (other.group, other.members, other.free_credits) == (OTHER_GROUPS, 10, 30)


async def test_readings_are_never_closer_than_a_second() -> None:
    """However many scrape, watch and scale."""
    storage = Counted()
    statistics = statistics_of(storage)

    for _ in range(5):
        statistics.invalidate()
        await statistics.refresh()
        await statistics.queues()
        statistics.shown()

    assert storage.reads == 1


async def test_what_one_watcher_reads_does_not_hide_a_change_from_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever saw the numbers before the change must still be told, even if it sleeps meanwhile."""
    monkeypatch.setattr(statistics_module, "REFRESH_S", 0.0)
    statistics = statistics_of(Counted())
    await statistics.queues()
    seen_by_the_sleeper = statistics.version
    statistics.invalidate()

    await statistics.refresh()
    await statistics.queues()

    async with asyncio.timeout(5):
        await statistics.changed(since=seen_by_the_sleeper)


async def test_a_watcher_that_saw_everything_waits() -> None:
    statistics = statistics_of(Counted())
    await statistics.queues()
    statistics.invalidate()
    watcher = asyncio.create_task(statistics.changed(since=statistics.version + 1))
    await asyncio.sleep(0)

    assert not watcher.done()
    statistics.invalidate()
    async with asyncio.timeout(5):
        await watcher


# The loop


@asynccontextmanager
async def reading(storage: Counted, *, slow_poll_s: float = 3600) -> AsyncIterator[Statistics]:
    statistics = statistics_of(storage)
    readings = asyncio.create_task(Readings(statistics, slow_poll_s=slow_poll_s).run())
    yield statistics
    readings.cancel()
    await asyncio.gather(readings, return_exceptions=True)


async def next_reading(storage: Counted) -> None:
    storage.has_read.clear()
    async with asyncio.timeout(5):
        await storage.has_read.wait()


async def until(condition: Callable[[], bool]) -> None:
    """Return when the loop of the readings has come so far."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - nobody is told of a reading
            await asyncio.sleep(0)


async def shown(statistics: Statistics, *, known: bool) -> None:
    """Wait until numbers are shown, or are not."""
    await until(lambda: (statistics.shown() is not None) is known)


@pytest.mark.usefixtures("no_pause")
async def test_a_change_is_read_and_nothing_else_is() -> None:
    storage = Counted()
    async with reading(storage) as statistics:
        await shown(statistics, known=True)
        reads = storage.reads
        for _ in range(100):
            await asyncio.sleep(0)
        assert storage.reads == reads, "an idle store reads nothing"

        storage.counts = [QueueCounts(group="w", due=1)]
        statistics.invalidate()
        await until(lambda: [q.group for q in statistics.shown() or ()] == ["w"])


@pytest.mark.usefixtures("no_pause")
async def test_an_idle_store_reads_as_often_as_it_looks_at_all() -> None:
    """Another replica may have changed something."""
    storage = Counted()
    async with reading(storage, slow_poll_s=0.001):
        await next_reading(storage)
        await next_reading(storage)


@pytest.mark.usefixtures("no_pause")
async def test_nothing_is_shown_while_the_database_is_away_and_again_when_it_is_back() -> None:
    storage = Counted(QueueCounts(group="w", due=1))
    async with reading(storage) as statistics:
        await shown(statistics, known=True)

        storage.is_away = True
        statistics.invalidate()
        await shown(statistics, known=False)
        storage.is_away = False
        await shown(statistics, known=True)


@pytest.mark.usefixtures("no_pause")
async def test_nothing_is_shown_while_a_reading_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Counted(QueueCounts(group="w", due=1))
    async with reading(storage) as statistics:
        await shown(statistics, known=True)

        storage.hangs = asyncio.Event()
        statistics.invalidate()
        await next_reading(storage)
        assert statistics.shown() is not None, "a slow reading is no reason yet"
        monkeypatch.setattr(statistics_module, "STALE_S", -1.0)
        assert statistics.shown() is None


async def test_an_outage_is_logged_once(no_pause: None, caplog: pytest.LogCaptureFixture) -> None:
    storage = Counted()
    storage.is_away = True
    async with reading(storage):
        for _ in range(3):
            await next_reading(storage)

    assert [r.msg for r in caplog.records].count("queues_not_read") == 1


async def test_reading_takes_a_bounded_share_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A count over millions of tasks must not be made all the time."""
    pauses: list[float] = []
    took = iter([0.0, 0.2, 60.0])

    class Slow(Statistics):
        async def refresh(self) -> float:
            return next(took)

        async def unread(self) -> None:
            return

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr("asyncio.sleep", sleep)
    slow = Slow(Counted(), Members(), clock=lambda: NOW_MS)
    with pytest.raises(asyncio.CancelledError):
        await Readings(slow, slow_poll_s=1).run()

    assert pauses == [1.0, 4.0, 10.0]


def test_the_longer_a_read_takes_the_longer_is_the_pause_behind_it() -> None:
    assert pause_after(0.001) == 1
    assert pause_after(0.2) == pytest.approx(4)
    assert pause_after(60) == 10


async def test_whoever_asks_during_the_pause_gets_the_last_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A million tasks take a good part of a second to count: not for everybody who asks."""
    now_s = 100.0
    monkeypatch.setattr(statistics_module, "monotonic", lambda: now_s)
    storage = Counted(QueueCounts(group="g", due=3))
    storage.hangs = asyncio.Event()
    statistics = statistics_of(storage)

    first = asyncio.create_task(statistics.queues())
    await storage.has_read.wait()
    now_s += 0.25  # that is what the read takes
    storage.hangs.set()
    await first
    reads = []
    for _ in range(6):
        await statistics.queues()
        reads.append(storage.reads)
        now_s += 1.0

    assert reads == [1, 1, 1, 1, 1, 2]


async def test_numbers_that_cannot_be_counted_anew_are_told_with_their_age_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = 100.0
    monkeypatch.setattr(statistics_module, "monotonic", lambda: now_s)
    storage = Counted(QueueCounts(group="g", due=3))
    statistics = statistics_of(storage)
    told = [await statistics.queues()]

    storage.is_away = True
    for _ in range(2):
        now_s += statistics_module.STALE_S / 2
        told.append(await statistics.queues())
    now_s += 1
    with pytest.raises(StorageUnavailable):
        await statistics.queues()
    storage.is_away = False
    now_s += 1
    told.append(await statistics.queues())

    assert [(q.due, q.counted_age_ms) for [q] in told] == [(3, 0), (3, 15_000), (3, 30_000), (3, 0)]


async def test_a_count_that_takes_too_long_is_not_tried_again_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten seconds of counting for nothing, again and again, would be all that the database does."""
    now_s = 100.0
    monkeypatch.setattr(statistics_module, "monotonic", lambda: now_s)
    storage = Counted()
    storage.is_away = True
    storage.hangs = asyncio.Event()
    statistics = statistics_of(storage)

    first = asyncio.create_task(statistics.queues())
    await storage.has_read.wait()
    now_s += 5.0
    storage.hangs.set()
    with pytest.raises(StorageUnavailable):
        await first
    tries = []
    for _ in range(6):
        with pytest.raises(StorageUnavailable, match="away"):
            await statistics.queues()
        tries.append(storage.reads)
        now_s += 12.0

    assert tries == [1, 1, 1, 1, 1, 2]
