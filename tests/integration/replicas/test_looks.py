"""What another store has in its hands at this moment is not taken for the end of a queue."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import psycopg
import pytest

from holdfast.core.membership import Member, TaskOffer, TaskPush
from holdfast.core.records import Promise, PromiseState, Unblock
from holdfast.core.requests import PromiseGet
from holdfast_store import background
from holdfast_store.db.dialects import Postgres
from holdfast_store.db.postgres import statements as postgres_statements
from holdfast_store.db.postgres.storage import PostgresStorage
from holdfast_store.engine import Engine
from holdfast_store.storage import Behind, Loaded, Plan, Storage
from holdfast_store.wakeups import News
from tests.integration.store_db.records import promise, queued, save, targeted

LOCK = "SELECT id FROM promises WHERE id = %s FOR UPDATE"
LOOK = postgres_statements.build(Postgres()).queued_tasks


@pytest.fixture
async def storage(postgres_url: str) -> AsyncIterator[PostgresStorage]:
    """Open a storage at the instants that tests name."""
    storage = PostgresStorage(postgres_url, tells_time=False)
    await storage.open()
    yield storage
    await storage.close()


async def fill(storage: Storage, count: int) -> None:
    ids = [f"t{n}" for n in range(count)]
    await save(
        storage,
        promises_created=[targeted(i) for i in ids],
        tasks_created=[queued(i, at_ms=n) for n, i in enumerate(ids)],
    )


async def look(storage: Storage, plan: Plan) -> Loaded:
    async with storage.transaction() as transaction:
        return await transaction.load(plan, now_ms=100)


async def both_looks(storage: Storage, limit: int) -> Sequence[Loaded]:
    behind = Behind(group="workers", queued_at_ms=0, id="t0", limit=limit)
    return [
        await look(storage, Plan(queued={"workers": limit, "nobody": 3})),
        await look(storage, Plan(behind=behind)),
    ]


async def test_a_queue_is_seen_to_its_end_when_nobody_else_has_any_of_it(
    storage: PostgresStorage,
) -> None:
    await fill(storage, 3)

    found = await both_looks(storage, 5)

    assert [loaded.queued for loaded in found] == [["t0", "t1", "t2"], ["t1", "t2"]]
    assert [set(loaded.passed_by) for loaded in found] == [set(), set()]


@pytest.mark.parametrize("taken", ["t1", "t2"])
async def test_what_is_locked_elsewhere_is_told_apart_from_what_is_not_there(
    storage: PostgresStorage, postgres_url: str, taken: str
) -> None:
    await fill(storage, 3)
    with psycopg.connect(postgres_url) as other:
        other.execute(LOCK, [taken])

        found = await both_looks(storage, 5)

    assert all(taken not in loaded.queued for loaded in found)
    assert [set(loaded.passed_by) for loaded in found] == [{"workers"}, {"workers"}]


class Inbox:
    """Keeps what a member is given."""

    def __init__(self) -> None:
        self.tasks: asyncio.Queue[TaskPush] = asyncio.Queue()
        self.settled: asyncio.Queue[Promise] = asyncio.Queue()

    def push_task(self, push: TaskPush) -> None:
        self.tasks.put_nowait(push)

    def push_offer(self, offer: TaskOffer) -> None: ...

    def push_settled(self, promise: Promise) -> None:
        self.settled.put_nowait(promise)

    def replaced(self) -> None: ...


@pytest.fixture
async def engine(postgres_url: str) -> AsyncIterator[Engine]:
    """Run an engine without loops: nothing looks again by the clock."""
    storage = PostgresStorage(postgres_url)
    await storage.open()
    engine = Engine(storage, clock=storage.clock)
    await engine.start()
    yield engine
    await engine.stop()
    await storage.close()


def member() -> Member:
    return Member(pid="p", instance="1", groups=("workers",), credits=5)


async def test_tasks_that_another_store_had_and_left_are_found_again(
    storage: PostgresStorage, engine: Engine, postgres_url: str
) -> None:
    """That store took them up, could not place them, and says nothing."""
    far_ms = 2**50
    await save(
        storage,
        promises_created=[targeted(i, timeout_at_ms=far_ms) for i in ("free", "taken")],
        tasks_created=[queued("free", at_ms=1), queued("taken", at_ms=2)],
    )
    inbox = Inbox()
    async with asyncio.timeout(20):
        with psycopg.connect(postgres_url) as other:
            other.execute(LOCK, ["taken"])
            engine.connect(member(), inbox)
            assert (await inbox.tasks.get()).task.id == "free"
            for _ in range(3):  # batches in which there is nothing to look at any more
                await engine.apply(PromiseGet(id="nothing"))
            assert inbox.tasks.empty()

        assert (await inbox.tasks.get()).task.id == "taken"


async def test_messages_that_another_store_has_in_hand_are_waited_for(
    storage: PostgresStorage, engine: Engine, postgres_url: str
) -> None:
    settled = [promise(i, state=PromiseState.RESOLVED) for i in ("a", "b")]
    address = "poll://uni@workers/p"
    await save(
        storage,
        promises_created=settled,
        unblocks=[Unblock(promise_id=p.id, address=address, enqueued_at_ms=1) for p in settled],
    )
    inbox = Inbox()
    async with asyncio.timeout(20):
        with psycopg.connect(postgres_url) as other:
            other.execute("SELECT 1 FROM outbox WHERE promise_id = 'a' FOR UPDATE")
            engine.connect(member(), inbox)
        seen = {(await inbox.settled.get()).id for _ in range(2)}

    assert seen == {"a", "b"}


async def test_a_task_that_another_store_keeps_is_not_looked_for_ever_more_often(
    storage: PostgresStorage, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often others told of the queue meanwhile, there is a pause before the next look."""
    pause_s, looks_wanted = 0.1, 10
    monkeypatch.setattr(background, "PASSED_PAUSE_S_MIN", pause_s)
    monkeypatch.setattr(background, "PASSED_PAUSE_S_MAX", pause_s)
    await save(
        storage,
        promises_created=[targeted("taken", timeout_at_ms=2**50)],
        tasks_created=[queued("taken", at_ms=1)],
    )
    loop = asyncio.get_running_loop()
    looks: list[float] = []
    seen = asyncio.Event()

    def count(text: str) -> None:
        if text == LOOK:
            looks.append(loop.time())
        if len(looks) == looks_wanted:
            seen.set()

    engine = Engine(storage)
    await engine.start()
    async with asyncio.timeout(20):
        with psycopg.connect(postgres_url) as other:
            other.execute(LOCK, ["taken"])
            engine.connect(member(), Inbox())
            for _ in range(50):
                engine.hear(News(groups=frozenset({"workers"})))
                await engine.apply(PromiseGet(id="nothing"))
            storage.on_statement = count
            await seen.wait()
    await engine.stop()

    assert looks[-1] - looks[0] >= (looks_wanted - 2) * pause_s
