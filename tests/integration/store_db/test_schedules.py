"""Schedules in every storage: the same rows, the same order, and each occurrence exactly once."""

import asyncio
import dataclasses
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from holdfast.core.limits import INTEGER_MAX, SEARCH_BYTES_MAX
from holdfast.core.records import TARGET, Preload, Schedule, Value
from holdfast.core.requests import (
    Outcome,
    PromiseCreate,
    PromiseGet,
    Request,
    ScheduleCreate,
    ScheduleDelete,
    ScheduleGet,
    SchedulePause,
)
from holdfast.core.search import PromiseSearch, ScheduleSearch
from holdfast.core.working_set import Changes
from holdfast_store.db.migrate import migrate
from holdfast_store.db.postgres.storage import PostgresStorage
from holdfast_store.db.sqlite.storage import SqliteStorage
from holdfast_store.engine import Engine
from holdfast_store.firing import OCCURRENCES_MAX
from holdfast_store.memory.storage import MemoryStorage
from holdfast_store.storage import (
    BatchRejected,
    InsertConflict,
    Loaded,
    Plan,
    Storage,
    StorageUnavailable,
    Transaction,
)
from tests.integration.store_db.records import load, save

TARGETED = {TARGET: "poll://any@workers"}
MINUTE_MS = 60_000
Start = Callable[[Storage], Awaitable[Engine]]
Hook = Callable[[Changes], None]


def schedule(schedule_id: str, *, at_ms: int = MINUTE_MS, **fields: Any) -> Schedule:
    plain = Schedule(
        id=schedule_id,
        cron="* * * * *",
        promise_id="{{.id}}.{{.timestamp}}",
        promise_timeout_ms=MINUTE_MS,
        promise_tags=TARGETED,
        created_at_ms=0,
        next_run_at_ms=at_ms,
    )
    return replace(plain, **fields)


def creation(schedule_id: str = "nightly", **fields: Any) -> ScheduleCreate:
    plain = ScheduleCreate(
        id=schedule_id,
        cron="* * * * *",
        promise_id="{{.id}}.{{.timestamp}}",
        promise_timeout_ms=MINUTE_MS,
        promise_tags=TARGETED,
    )
    return replace(plain, **fields)


@pytest.fixture
async def started() -> AsyncIterator[Start]:
    engines: list[Engine] = []

    async def start(storage: Storage) -> Engine:
        engine = Engine(storage)
        await engine.start()
        engines.append(engine)
        return engine

    yield start
    for engine in engines:
        await engine.stop()


class _Hooked:
    """A transaction that calls a hook with its changes before it commits."""

    def __init__(self, real: Transaction, hook: Hook) -> None:
        self._real = real
        self._hook = hook

    async def load(self, plan: Plan, *, now_ms: int) -> Loaded:
        return await self._real.load(plan, now_ms=now_ms)

    async def commit(self, changes: Changes, **options: Any) -> Mapping[str, Preload]:
        self._hook(changes)
        return await self._real.commit(changes, **options)


class _Hooking:
    """A storage like another, but for its commits."""

    def __init__(self, real: Storage, hook: Hook) -> None:
        self._real = real
        self._hook = hook

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        async with self._real.transaction() as real:
            yield _Hooked(real, self._hook)


def hooked(storage: Storage, hook: Hook) -> Storage:
    return cast("Storage", _Hooking(storage, hook))


async def read(storage: Storage, *ids: str) -> list[Schedule | None]:
    loaded = await load(storage, schedules=ids)
    return [loaded.working_set.schedule(schedule_id) for schedule_id in ids]


async def promise_ids(storage: Storage) -> list[str]:
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await storage.search_promises(
            PromiseSearch(limit=1_000, cursor=cursor), now_ms=INTEGER_MAX
        )
        found += [each.id for each in page.promises]
        cursor = page.cursor
    return found


# Rows


async def test_everything_about_a_schedule_comes_back(storage: Storage) -> None:
    rows = [
        schedule("plain"),
        schedule(
            "full",
            promise_param=Value(data=b"\0\xff", headers={"a": "é"}),
            promise_tags=TARGETED | {"näme": '"x",'},
            last_run_at_ms=1,
            next_run_at_ms=INTEGER_MAX,
            paused=True,
            time_zone="Europe/Berlin",
        ),
        schedule("empty", promise_param=Value(data=b"", headers={}), promise_tags={}),
    ]
    await save(storage, schedules_created=rows)

    assert await read(storage, *(row.id for row in rows), "none") == [*rows, None]


async def test_a_schedule_changes_and_goes(storage: Storage) -> None:
    await save(storage, schedules_created=[schedule("a"), schedule("b")])
    moved = schedule("a", next_run_at_ms=120_000, last_run_at_ms=60_000, cron="0 0 * * *")

    await save(storage, schedules_updated=[moved], schedules_deleted=["b"])

    assert await read(storage, "a", "b") == [moved, None]


async def test_a_schedule_that_exists_already_is_a_conflict(storage: Storage) -> None:
    await save(storage, schedules_created=[schedule("a")])

    with pytest.raises(InsertConflict):
        await save(storage, schedules_created=[schedule("b"), schedule("a", at_ms=7)])

    assert await read(storage, "a", "b") == [schedule("a"), None]


async def test_what_is_due_comes_in_order_and_the_paused_never(storage: Storage) -> None:
    rows = [schedule("late", at_ms=30), schedule("early", at_ms=10), schedule("same", at_ms=30)]
    assert await storage.next_schedule_at_ms() is None
    await save(
        storage,
        schedules_created=[
            *rows,
            schedule("paused", at_ms=5, paused=True),
            schedule("ahead", at_ms=31),
        ],
    )

    assert await storage.next_schedule_at_ms() == 10
    due = await storage.due_schedules(now_ms=30, limit=10, bytes_max=1_000)
    assert [each.id for each in due] == ["early", "late", "same"]
    some = await storage.due_schedules(now_ms=30, limit=1, bytes_max=1_000, skip=["early"])
    assert [each.id for each in some] == ["late"]
    assert await storage.due_schedules(now_ms=9, limit=10, bytes_max=1_000) == []


async def test_no_more_is_read_at_once_than_fits_but_one_in_any_case(storage: Storage) -> None:
    large = Value(data=b"x" * 600)
    rows = [schedule(name, at_ms=1, promise_param=large) for name in "abc"]
    await save(storage, schedules_created=rows)

    for bytes_max, count in ((1, 1), (1_400, 2), (10_000, 3)):
        due = await storage.due_schedules(now_ms=1, limit=10, bytes_max=bytes_max)
        assert len(due) == count


async def pages(storage: Storage, search: ScheduleSearch) -> list[list[str]]:
    found: list[list[str]] = []
    cursor: str | None = search.cursor
    while cursor is not None:
        page = await storage.search_schedules(dataclasses.replace(search, cursor=cursor))
        found.append([each.id for each in page.schedules])
        cursor = page.cursor
    return found


async def test_schedules_are_listed_in_the_order_of_bytes(storage: Storage) -> None:
    ids = ["a", "B", "é", "😀", "~", "\uffff", "a.b", "a b"]
    await save(storage, schedules_created=[schedule(each) for each in ids])
    ordered = sorted(ids, key=str.encode)

    assert await pages(storage, ScheduleSearch(limit=3)) == [
        *(ordered[:3], ordered[3:6], ordered[6:])
    ]
    assert await pages(storage, ScheduleSearch(cursor=ordered[4])) == [ordered[5:]]


async def test_schedules_are_found_by_the_tags_of_their_promises(storage: Storage) -> None:
    tags = [{}, {"a": "b"}, {"a": "b", "c": "d"}, {"a": 'b","c":"d'}, {'x","a': "b"}]
    rows = [schedule(str(n), promise_tags=TARGETED | each) for n, each in enumerate(tags)]
    await save(storage, schedules_created=rows)

    assert await pages(storage, ScheduleSearch(tags={"a": "b"})) == [["1", "2"]]
    assert await pages(storage, ScheduleSearch(tags={"a": "b", "c": "d"})) == [["2"]]
    assert await pages(storage, ScheduleSearch(tags=TARGETED)) == [["0", "1", "2", "3", "4"]]


async def test_a_prefix_bounds_the_schedules_of_every_page(storage: Storage) -> None:
    ids = ["a", "a/1", "a/2", "a0", "b/1"]
    rows = [schedule(each, promise_tags={"x": each}) for each in ids]
    await save(storage, schedules_created=rows)

    assert await pages(storage, ScheduleSearch(id_prefix="a/", limit=1)) == [["a/1"], ["a/2"]]
    assert await pages(storage, ScheduleSearch(id_prefix="a/", cursor="a/1")) == [["a/2"]]
    assert await pages(storage, ScheduleSearch(id_prefix="a/", tags={"x": "b/1"})) == [[]]


async def test_a_page_of_large_schedules_ends_early(storage: Storage) -> None:
    large = Value(data=b"x" * (SEARCH_BYTES_MAX // 2 - 100))
    rows = [schedule(name, promise_param=large) for name in "abc"]
    await save(storage, schedules_created=rows)

    assert await pages(storage, ScheduleSearch()) == [["a", "b"], ["c"]]


# Firing


async def test_missed_occurrences_all_fire_in_transactions_of_bounded_size(
    storage: Storage, started: Start
) -> None:
    count = 2 * OCCURRENCES_MAX + 7
    sizes: list[int] = []
    engine = await started(hooked(storage, lambda c: sizes.append(len(c.promises_created))))
    await engine.apply(creation(), creation("other"), at_ms=0)

    fired = await engine.firing.fire_due(at_ms=count * MINUTE_MS)

    assert fired == 2 * count
    assert max(sizes) <= OCCURRENCES_MAX
    expected = {
        f"{name}.{n * MINUTE_MS}" for name in ("nightly", "other") for n in range(1, count + 1)
    }
    assert set(await promise_ids(storage)) == expected
    (last,) = await read(storage, "nightly")
    assert last is not None
    assert (last.last_run_at_ms, last.next_run_at_ms) == (
        *(count * MINUTE_MS, (count + 1) * MINUTE_MS),
    )


async def test_large_payloads_make_smaller_transactions(storage: Storage, started: Start) -> None:
    sizes: list[int] = []
    engine = await started(hooked(storage, lambda c: sizes.append(len(c.promises_created))))
    await engine.apply(creation(promise_param=Value(data=b"x" * 1_000_000)), at_ms=0)

    assert await engine.firing.fire_due(at_ms=20 * MINUTE_MS) == 20

    assert max(sizes) == 8


async def test_a_batch_that_is_not_committed_has_fired_nothing(
    storage: Storage, started: Start
) -> None:
    def break_off(_: Changes) -> None:
        raise StorageUnavailable("away")

    engine = await started(storage)
    await engine.apply(creation(), at_ms=0)
    away = await started(hooked(storage, break_off))
    with pytest.raises(StorageUnavailable):
        await away.firing.fire_due(at_ms=MINUTE_MS)

    assert await promise_ids(storage) == []
    assert await engine.firing.fire_due(at_ms=MINUTE_MS) == 1


async def test_a_schedule_that_the_database_refuses_delays_no_other(
    storage: Storage, started: Start
) -> None:
    def refuse(changes: Changes) -> None:
        if any(promise.id.startswith("bad") for promise in changes.promises_created):
            raise BatchRejected("bad")

    engine = await started(hooked(storage, refuse))
    await engine.apply(*(creation(name) for name in ("a", "bad", "c")), at_ms=0)

    assert await engine.firing.fire_due(at_ms=MINUTE_MS) == 2

    assert await promise_ids(storage) == ["a.60000", "c.60000"]
    assert await engine.firing.fire_due(at_ms=2 * MINUTE_MS) == 2


async def test_a_time_zone_that_is_gone_delays_no_other(storage: Storage, started: Start) -> None:
    engine = await started(storage)
    await save(
        storage,
        schedules_created=[schedule("bad", at_ms=1, time_zone="Nowhere"), schedule("good")],
    )

    assert await engine.firing.fire_due(at_ms=MINUTE_MS) == 1

    assert await promise_ids(storage) == ["good.60000"]


async def test_an_occurrence_that_somebody_creates_at_the_same_time_is_there_once(
    storage: Storage, started: Start
) -> None:
    engine = await started(storage)
    await engine.apply(creation(), at_ms=0)
    mine = PromiseCreate(id="nightly.60000", timeout_at_ms=INTEGER_MAX)

    fired, _ = await asyncio.gather(
        engine.firing.fire_due(at_ms=MINUTE_MS), engine.apply(mine, at_ms=MINUTE_MS)
    )

    assert fired == 1
    assert await promise_ids(storage) == ["nightly.60000"]


# The same answers


def random_request(dice: random.Random) -> Request:
    name = dice.choice(["a", "b", "c", "é"])
    kinds: list[Request] = [
        creation(
            name,
            cron=dice.choice(["* * * * *", "*/2 * * * *", "*/20 * * * * *", "30 2 * * *"]),
            promise_timeout_ms=dice.choice([0, 1_000, 90_000]),
            promise_id=dice.choice(["{{.id}}.{{.timestamp}}", "fixed", "x{{.timestamp}}"]),
            paused=dice.random() < 0.2,
            time_zone=dice.choice(["", "Europe/Berlin"]),
        ),
        ScheduleGet(id=name),
        ScheduleDelete(id=name),
        SchedulePause(id=name, paused=dice.random() < 0.5),
        PromiseGet(id="fixed"),
    ]
    return dice.choice(kinds)


async def played(engine: Engine, storage: Storage, seed: int) -> list[object]:
    dice = random.Random(seed)
    now_ms = 0
    seen: list[object] = []
    for _ in range(60):
        now_ms += dice.choice([0, 999, 20_000, 60_000, 300_000])
        chain = [random_request(dice) for _ in range(dice.randint(1, 3))]
        outcomes: Sequence[Outcome] = await engine.apply(*chain, at_ms=now_ms)
        seen.append(outcomes)
        if dice.random() < 0.6:
            seen.append(await engine.firing.fire_due(at_ms=now_ms))
        seen.append((await storage.next_schedule_at_ms(), await promise_ids(storage)))
    page = await storage.search_schedules(ScheduleSearch(limit=100))
    return [*seen, page]


@pytest.mark.parametrize("seed", range(3))
async def test_all_storages_answer_the_same(
    tmp_path: Path, postgres_url: str, started: Start, seed: int
) -> None:
    url = f"sqlite:///{tmp_path / 'h.db'}"
    migrate(url)
    storages: list[Storage] = [
        MemoryStorage(),
        SqliteStorage(tmp_path / "h.db"),
        PostgresStorage(postgres_url, tells_time=False),
    ]
    histories = []
    for storage in storages:
        await storage.open()
        engine = await started(storage)
        histories.append(await played(engine, storage, seed))
        await engine.stop()
        await storage.close()

    assert histories[0] == histories[1] == histories[2]
