"""What fires when many schedules cannot be fired: however many they are, the others go on."""

from collections.abc import Callable, Collection, Sequence

import pytest
from msgspec.structs import replace

from holdfast.core.records import TARGET, Schedule
from holdfast.core.requests import ScheduleCreate, ScheduleDelete
from holdfast.core.schedule import Due
from holdfast.core.working_set import Changes
from holdfast_store import firing as module
from holdfast_store.engine import Engine
from holdfast_store.firing import Firing, FiringRefused
from holdfast_store.memory.storage import MemoryStorage
from holdfast_store.observer import NullObserver
from holdfast_store.storage import UnreadableSchedule

NOW_MS = 10_000_000
LOST_ZONE = "Mars/Olympus"


def plan(schedule_id: str, *, at_ms: int, time_zone: str = "") -> Schedule:
    return Schedule(
        id=schedule_id,
        cron="* * * * *",
        promise_id="{{.id}}.{{.timestamp}}",
        promise_timeout_ms=1,
        promise_tags={TARGET: "poll://any@w"},
        created_at_ms=0,
        next_run_at_ms=at_ms,
        time_zone=time_zone,
    )


class Watch(NullObserver):
    """Keeps what was counted."""

    refused = 0
    set_aside = 0

    def schedule_refused(self) -> None:
        self.refused += 1

    def schedules_set_aside(self, now: int) -> None:
        self.set_aside = now


class Bench:
    """A firing over a storage in memory, of which a test is the database."""

    def __init__(
        self,
        *,
        refuses: Callable[[Schedule], bool] = lambda _: False,
        storage: MemoryStorage | None = None,
        observer: NullObserver | None = None,
    ) -> None:
        self.storage = storage or MemoryStorage()
        self.now_ms = NOW_MS
        self.fired: list[str] = []
        self.tried: list[str] = []
        self._refuses = refuses
        self.firing = Firing(
            self.storage,
            self._fire,
            clock=lambda: self.now_ms,
            observer=observer or NullObserver(),
        )

    async def save(self, *schedules: Schedule) -> None:
        await self._commit(Changes(schedules_created=list(schedules)))

    async def drop(self, *ids: str) -> None:
        await self._commit(Changes(schedules_deleted=list(ids)))

    async def _commit(self, changes: Changes) -> None:
        async with self.storage.transaction() as transaction:
            await transaction.commit(changes, preload_of=(), preload_bytes_max=0)

    async def _fire(self, dues: Sequence[Due], _at_ms: int | None) -> list[int]:
        self.tried += [due.schedule.id for due in dues]
        if any(self._refuses(due.schedule) for due in dues):
            raise FiringRefused("a row that cannot be")
        late: list[int] = []
        for due in dues:
            last = due.occurrences[-1]
            moved = replace(
                due.schedule, last_run_at_ms=last.at_ms, next_run_at_ms=self.now_ms + 60_000
            )
            await self._commit(Changes(schedules_updated=[moved]))
            self.fired.append(due.schedule.id)
            late += [0] * len(due.occurrences)
        return late


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OCCURRENCES_MAX", 2)
    monkeypatch.setattr(module, "ASIDE_MAX", 4)


class Damaged(MemoryStorage):
    """Of its schedules some rows cannot be read, as only a database has them."""

    async def due_schedules(
        self, *, now_ms: int, limit: int, bytes_max: int, skip: Collection[str] = ()
    ) -> Sequence[Schedule | UnreadableSchedule]:
        found = await super().due_schedules(
            now_ms=now_ms, limit=limit, bytes_max=bytes_max, skip=skip
        )
        return [unreadable(each.id) if each.id.startswith("bad") else each for each in found]


def unreadable(schedule_id: str) -> UnreadableSchedule:
    return UnreadableSchedule(id=schedule_id, next_run_at_ms=1, reason="cut off")


async def test_damaged_rows_are_set_aside_said_once_each_and_the_others_fire(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watch = Watch()
    bench = Bench(storage=Damaged(), observer=watch)
    bad = [plan(f"bad{n}", at_ms=1) for n in range(3)]
    await bench.save(*bad, plan("good", at_ms=NOW_MS))

    for _ in range(3):  # each time when all pauses are over
        await bench.firing.fire_due()
        bench.now_ms += module.PAUSE_MS_MAX

    said = [each for each in caplog.records if each.levelname == "ERROR"]
    assert bench.fired.count("good") == 3
    assert [each.msg for each in said] == ["schedule_set_aside"] * 3
    assert (watch.refused, watch.set_aside) == (9, 3)
    assert await bench.firing.flaw_at(bench.now_ms - module.PAUSE_MS_MAX) == (
        "bad0: cut off; bad1: cut off; bad2: cut off"
    )
    await bench.drop(*(each.id for each in bad))
    bench.now_ms += 2 * module.PAUSE_MS_MAX
    await bench.firing.next_at_ms()
    assert watch.set_aside == 0


async def test_more_lost_time_zones_than_are_remembered_for_long_delay_no_other() -> None:
    bench = Bench()
    lost = [plan(f"lost{n:03}", at_ms=1, time_zone=LOST_ZONE) for n in range(30)]
    await bench.save(*lost, plan("good", at_ms=NOW_MS))

    assert await bench.firing.fire_due() == 1

    assert bench.fired == ["good"]
    assert await bench.firing.fire_some() == 0


async def test_thousands_that_are_refused_one_by_one_delay_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One after the other is the worst case: payloads may be too large for two at once."""
    monkeypatch.setattr(module, "OCCURRENCES_MAX", 1)
    bench = Bench(refuses=lambda schedule: schedule.id.startswith("bad"))
    bad = [plan(f"bad{n:04}", at_ms=1) for n in range(1_500)]
    await bench.save(*bad, plan("good", at_ms=NOW_MS))

    assert await bench.firing.fire_due() == 1

    assert bench.fired == ["good"]
    assert len(bench.tried) == len(bad) + 1


async def test_pauses_grow_as_long_as_a_schedule_is_refused_however_many_are() -> None:
    bench = Bench()
    lost = [plan(f"lost{n:03}", at_ms=1, time_zone=LOST_ZONE) for n in range(10)]
    await bench.save(*lost)

    pauses = []
    for _ in range(3):
        assert await bench.firing.fire_due() == 0
        next_ms = await bench.firing.next_at_ms()
        assert next_ms is not None
        pauses.append(next_ms - bench.now_ms)
        bench.now_ms = next_ms

    assert pauses == [1_000, 2_000, 4_000]


async def test_a_schedule_that_is_gone_is_not_remembered_for_ever() -> None:
    bench = Bench()
    for n in range(20):
        await bench.save(plan(f"lost{n:03}", at_ms=1, time_zone=LOST_ZONE))
        assert await bench.firing.fire_due() == 0
        await bench.drop(f"lost{n:03}")
        bench.now_ms += 3 * module.PAUSE_MS_MAX

    assert len(bench.firing._aside) <= module.ASIDE_MAX + 1


async def test_what_was_found_due_and_is_not_any_more_is_neither_fired_nor_set_aside() -> None:
    """Another store may have fired it while it was read; the next look tells."""

    class Moved(MemoryStorage):
        async def due_schedules(
            self, *, now_ms: int, limit: int, bytes_max: int, skip: Collection[str] = ()
        ) -> Sequence[Schedule]:
            assert limit > 0 < bytes_max
            assert not skip
            return [plan("moved", at_ms=now_ms + 60_000)]

    bench = Bench()
    bench.firing._storage = Moved()

    assert await bench.firing.fire_some() == 0
    assert (bench.tried, bench.firing._aside) == ([], {})


async def test_a_schedule_that_is_made_anew_does_not_wait_for_the_pause_of_the_old_one() -> None:
    storage = MemoryStorage()
    engine = Engine(storage)
    await engine.start()
    anew = ScheduleCreate(
        id="nightly",
        cron="* * * * * *",
        promise_id="{{.id}}.{{.timestamp}}",
        promise_timeout_ms=1,
        promise_tags={TARGET: "poll://any@w"},
    )
    async with storage.transaction() as transaction:
        lost = plan("nightly", at_ms=1, time_zone=LOST_ZONE)
        changes = Changes(schedules_created=[lost])
        await transaction.commit(changes, preload_of=(), preload_bytes_max=0)
    for at_ms in (60_000, 61_000):  # set aside, the second time until 63_000
        assert await engine.firing.fire_due(at_ms=at_ms) == 0

    await engine.apply(ScheduleDelete(id="nightly"), at_ms=61_100)
    await engine.apply(anew, at_ms=61_100)

    assert await engine.firing.fire_due(at_ms=62_000) == 1
    await engine.stop()
