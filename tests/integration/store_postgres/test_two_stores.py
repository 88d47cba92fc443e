"""Two stores on one database: what they do at once comes out as if one had gone first."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import psycopg
import pytest

from holdfast.core.profile import DEFAULT_PROFILE
from holdfast.core.records import TARGET, Callback, PromiseState
from holdfast.core.requests import (
    Done,
    Outcome,
    PromiseCreate,
    PromiseRegisterCallback,
    PromiseSettle,
    TaskAcquire,
    TaskCreate,
    TaskFulfill,
    TaskSuspend,
)
from holdfast.core.working_set import Changes
from holdfast_store.archives.audit import Audit
from holdfast_store.db.postgres.archive import PostgresArchive
from holdfast_store.db.postgres.storage import PostgresStorage
from holdfast_store.engine import Engine
from holdfast_store.storage import InsertConflict, Loaded, Plan, TransactionAborted
from tests.integration.kill.processes import until
from tests.integration.postgres import query
from tests.integration.store_db.records import (
    BYTES_MAX,
    promise,
    queued,
    save,
    save_tasks,
    stored,
    targeted,
    task,
)

WAITING = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'SELECT%'"
SCOPE = {"resonate:scope": "global"}


@pytest.fixture
async def two(postgres_url: str) -> AsyncIterator[Sequence[PostgresStorage]]:
    """Open two storages at the instants that tests name."""
    storages = [PostgresStorage(postgres_url, tells_time=False) for _ in range(2)]
    for storage in storages:
        storage.is_alone = False  # as each has heard from the other
        await storage.open()
    yield storages
    for storage in storages:
        await storage.close()


async def until_one_waits(url: str) -> None:
    """Return when a batch waits for the locks of another."""
    await asyncio.to_thread(until, lambda: query(url, WAITING), "a batch waited for another")


async def test_no_increment_is_lost(two: Sequence[PostgresStorage]) -> None:
    await save_tasks(two[0], task("t"))

    async def increment(storage: PostgresStorage) -> None:
        async with storage.transaction() as transaction:
            loaded = await transaction.load(Plan(ids={"t"}), now_ms=0)
            found = loaded.working_set.task("t")
            assert found is not None
            await transaction.commit(
                Changes(tasks_updated=[task("t", version=found.version + 1)]),
                preload_of=[],
                preload_bytes_max=BYTES_MAX,
            )

    await asyncio.gather(*(increment(storage) for storage in two for _ in range(15)))

    found = (await stored(two[0], "t")).task("t")
    assert found is not None
    assert found.version == 30


async def test_the_same_promise_is_created_once(two: Sequence[PostgresStorage]) -> None:
    async def create(storage: PostgresStorage, state: PromiseState) -> str:
        try:
            await save(storage, promises_created=[promise("p", state=state)])
        except InsertConflict:
            return "conflict"
        return state

    for _ in range(5):
        done = await asyncio.gather(
            create(two[0], PromiseState.RESOLVED), create(two[1], PromiseState.REJECTED)
        )
        assert "conflict" in done

    found = (await stored(two[0], "p")).promise("p")
    assert found is not None


TWO_WAIT = (
    "SELECT 1 FROM pg_stat_activity"
    " WHERE wait_event_type = 'Lock' AND query LIKE '%INSERT INTO promises%' HAVING count(*) = 2"
)
INSERT_M = (
    "INSERT INTO promises"
    " (id, state, tags, timeout_at_ms, created_at_ms, armed, counted_bytes)"
    " VALUES ('m', 'pending', '{}', 1, 0, false, 0)"
)


async def test_two_batches_that_create_the_same_promises_do_not_wait_in_a_circle(
    two: Sequence[PostgresStorage], postgres_url: str
) -> None:
    """The order is that of the ids, whichever the requests came in: no row is there to be locked.

    A third transaction holds both back until each has whatever comes before the middle.
    """

    async def create(storage: PostgresStorage, ids: str) -> None:
        await save(storage, promises_created=[promise(i) for i in ids])

    with psycopg.connect(postgres_url) as other:
        other.execute(INSERT_M)
        creating = [
            asyncio.create_task(create(storage, ids))
            for storage, ids in zip(two, ("amz", "zma"), strict=True)
        ]
        both = "both waited"
        await asyncio.to_thread(until, lambda: query(postgres_url, TWO_WAIT), both)
        other.rollback()
    ended = await asyncio.gather(*creating, return_exceptions=True)

    assert sorted(type(each).__name__ for each in ended) == ["InsertConflict", "NoneType"]


async def test_what_is_due_and_what_is_queued_is_split_between_them(
    two: Sequence[PostgresStorage],
) -> None:
    await save(
        two[0],
        promises_created=[
            *(promise(f"p{n}", timeout_at_ms=n, armed=True) for n in range(4)),
            *(targeted(f"t{n}") for n in range(4)),
            *(targeted(f"q{n}") for n in range(4)),
        ],
        tasks_created=[
            *(task(f"t{n}", dispatch_at_ms=n) for n in range(4)),
            *(queued(f"q{n}", at_ms=n) for n in range(4)),
        ],
    )
    plan = Plan(due_max=2, queued={"workers": 2})

    async with two[0].transaction() as one, two[1].transaction() as other:
        first = await one.load(plan, now_ms=100)
        second = await other.load(plan, now_ms=100)

    assert (first.due_promises, second.due_promises) == (["p0", "p1"], ["p2", "p3"])
    assert (first.due_tasks, second.due_tasks) == (["t0", "t1"], ["t2", "t3"])
    assert (first.queued, second.queued) == (["q0", "q1"], ["q2", "q3"])


async def test_a_batch_has_the_awaiters_of_what_it_names(
    two: Sequence[PostgresStorage], postgres_url: str
) -> None:
    """Settling a promise changes whoever waits for it, which another batch may have in hand."""
    await save(
        two[0],
        promises_created=[promise("z"), targeted("a")],
        tasks_created=[task("a")],
        callbacks_saved=[Callback(awaited="z", awaiter="a")],
    )

    async def load_awaited() -> Loaded:
        async with two[1].transaction() as transaction:
            return await transaction.load(Plan(ids={"z"}), now_ms=0)

    async with two[0].transaction() as transaction:
        await transaction.load(Plan(ids={"a"}), now_ms=0)
        loading = asyncio.create_task(load_awaited())
        await until_one_waits(postgres_url)
        await transaction.commit(
            Changes(tasks_updated=[task("a", version=7)]), preload_of=[], preload_bytes_max=0
        )

    found = (await loading).working_set.task("a")
    assert found is not None
    assert found.version == 7


FREE = "SELECT id FROM promises WHERE id IN ('a', 'm') FOR UPDATE SKIP LOCKED"


async def register(storage: PostgresStorage, url: str) -> None:
    """Make `a` an awaiter of `m` while another batch already waits for `m`."""
    async with storage.transaction() as transaction:
        await transaction.load(Plan(ids={"m"}), now_ms=0)
        await until_one_waits(url)
        await transaction.commit(
            Changes(callbacks_saved=[Callback(awaited="m", awaiter="a")]),
            preload_of=[],
            preload_bytes_max=0,
        )


async def load_and_find_free(storage: PostgresStorage, url: str) -> tuple[Loaded, object]:
    """Load `m`, and see which of both rows others could still have."""
    async with storage.transaction() as transaction:
        loaded = await transaction.load(Plan(ids={"m"}), now_ms=0)
        return loaded, await asyncio.to_thread(query, url, FREE)


async def start_loading(
    two: Sequence[PostgresStorage], url: str
) -> asyncio.Task[tuple[Loaded, object]]:
    """Have the second store load `m`, whose awaiter it could not know when it chose its locks."""
    registering = asyncio.create_task(register(two[0], url))
    locked = "the first store had the row"
    await asyncio.to_thread(until, lambda: ("m",) not in query(url, FREE), locked)
    loading = asyncio.create_task(load_and_find_free(two[1], url))
    await registering
    return loading


async def test_an_awaiter_that_came_while_a_batch_waited_is_locked_too(
    two: Sequence[PostgresStorage], postgres_url: str
) -> None:
    await save(two[0], promises_created=[promise("m"), targeted("a")], tasks_created=[task("a")])

    loaded, free = await (await start_loading(two, postgres_url))

    assert [c.awaiter for c in loaded.working_set.callbacks("m")] == ["a"]
    assert loaded.working_set.task("a") == task("a")
    assert free == []


async def test_an_awaiter_that_somebody_has_is_waited_for_from_the_beginning(
    two: Sequence[PostgresStorage], postgres_url: str
) -> None:
    """What is locked already is given back first, because somebody may wait for that."""
    await save(two[0], promises_created=[promise("m"), targeted("a")], tasks_created=[task("a")])
    with psycopg.connect(postgres_url) as other:
        other.execute("SELECT id FROM promises WHERE id = 'a' FOR UPDATE")
        loading = await start_loading(two, postgres_url)
        await until_one_waits(postgres_url)
        free_meanwhile = await asyncio.to_thread(query, postgres_url, FREE)
        other.execute("UPDATE tasks SET version = 9 WHERE id = 'a'")

    loaded, free = await loading

    assert free_meanwhile == [("m",)]
    assert loaded.working_set.task("a") == task("a", version=9)
    assert free == []


async def test_two_batches_never_wait_for_each_other_in_a_circle(
    two: Sequence[PostgresStorage],
) -> None:
    """Whatever order they name their rows in; the database would break the circle by an error."""
    ids = [f"p{n:02}" for n in range(30)]
    await save(two[0], promises_created=[promise(i) for i in ids])

    async def work(storage: PostgresStorage, order: list[str]) -> None:
        for start in range(0, 30, 3):
            some = {*order[start : start + 9], *order[:3]}
            async with storage.transaction() as transaction:
                await transaction.load(Plan(ids=some), now_ms=0)
                await transaction.commit(
                    Changes(promises_updated=[promise(i) for i in some]),
                    preload_of=[],
                    preload_bytes_max=0,
                )

    await asyncio.gather(work(two[0], ids), work(two[1], ids[::-1]))


# With engines


async def _apply(engine: Engine, *requests: object) -> Outcome:
    [outcome] = await engine.apply(*requests)  # type: ignore[arg-type]
    return outcome


async def test_operations_through_two_engines_keep_every_invariant(postgres_url: str) -> None:
    storages = [PostgresStorage(postgres_url) for _ in range(2)]
    engines = []
    for storage in storages:
        await storage.open()
        engine = Engine(storage, clock=storage.clock)
        await engine.start()
        engines.append(engine)
    deadline_ms = engines[0].now_ms() + 600_000

    async def tree(number: int) -> list[int]:
        """Run a tree whose every operation goes through the other engine than the one before."""
        root, child = f"r{number}", f"r{number}.1"
        tags = SCOPE | {TARGET: "poll://any@nobody"}
        create = PromiseCreate(id=root, timeout_at_ms=deadline_ms, tags=tags)
        settle = PromiseSettle(id=root, state=PromiseState.RESOLVED)
        wait = PromiseRegisterCallback(awaited=child, awaiter=root)
        chain = [
            TaskCreate(pid="p", ttl_ms=60_000, action=create),
            PromiseCreate(id=child, timeout_at_ms=deadline_ms, tags=SCOPE),
            PromiseCreate(id="shared", timeout_at_ms=deadline_ms, tags=SCOPE),
            TaskSuspend(id=root, version=1, actions=(wait,)),
            PromiseSettle(id=child, state=PromiseState.RESOLVED),
            TaskAcquire(id=root, version=1, pid="p", ttl_ms=60_000),
            TaskFulfill(id=root, version=2, action=settle),
        ]
        statuses = []
        for turn, request in enumerate(chain):
            outcome = await _apply(engines[(number + turn) % 2], request)
            statuses.append(outcome.status if isinstance(outcome, Done) else -1)
        return statuses

    statuses = await asyncio.gather(*(tree(number) for number in range(40)))

    assert {tuple(each) for each in statuses} == {(200,) * 7}
    for engine, storage in zip(engines, storages, strict=True):
        await engine.stop()
        await storage.close()
    async with PostgresArchive(postgres_url).snapshot() as snapshot:
        audit = Audit(snapshot, now_ms=engines[0].now_ms(), profile=DEFAULT_PROFILE)
        await audit.run()
    assert audit.broken() == []
    assert query(postgres_url, "SELECT count(*) FROM promises") == [(81,)]


async def test_all_answer_by_the_clock_of_the_database(postgres_url: str) -> None:
    """A process whose own clock is wrong neither expires nor revives anything."""
    storage = PostgresStorage(postgres_url)
    await storage.open()
    wrong_ms = time.time_ns() // 1_000_000 + 3_600_000
    await save(
        storage,
        promises_created=[promise("p", timeout_at_ms=wrong_ms - 60_000, armed=True)],
    )

    async with storage.transaction() as transaction:
        loaded = await transaction.load(Plan(ids={"p"}, due_max=1), now_ms=wrong_ms)

    [(database_ms,)] = query(postgres_url, "SELECT extract(epoch FROM now()) * 1000")
    assert loaded.due_promises == []
    assert abs(loaded.now_ms - float(str(database_ms))) < 60_000
    assert abs(storage.clock() - loaded.now_ms) < 60_000
    await storage.close()


async def test_a_second_load_that_meets_another_batch_gives_up(
    two: Sequence[PostgresStorage], postgres_url: str
) -> None:
    await save(two[0], promises_created=[promise("a"), promise("b")])

    async def forth() -> None:
        async with two[0].transaction() as transaction:
            await transaction.load(Plan(ids={"a"}), now_ms=0)
            has_a.set()
            await has_b.wait()
            await transaction.load(Plan(ids={"b"}), now_ms=0)

    async def back() -> None:
        async with two[1].transaction() as transaction:
            await transaction.load(Plan(ids={"b"}), now_ms=0)
            has_b.set()
            await has_a.wait()
            await transaction.load(Plan(ids={"a"}), now_ms=0)

    has_a, has_b = asyncio.Event(), asyncio.Event()
    ended = await asyncio.gather(forth(), back(), return_exceptions=True)

    assert [type(each) for each in ended if each is not None] == [TransactionAborted]
