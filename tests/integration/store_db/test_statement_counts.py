"""The number of statements does not depend on the size of a batch, and idleness costs none."""

import re

import pytest

from holdfast.core.decide import Keys, decide
from holdfast.core.profile import DEFAULT_PROFILE
from holdfast.core.records import TARGET, PromiseState
from holdfast.core.requests import (
    Done,
    PromiseCreate,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Request,
    TaskAcquire,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskHeartbeat,
    TaskSuspend,
)
from holdfast_store.db.postgres.storage import PostgresStorage
from holdfast_store.db.sqlite.storage import SqliteStorage
from holdfast_store.storage import Plan
from tests.integration.store_db.records import BYTES_MAX

FAR_MS = 1_000_000

Database = SqliteStorage | PostgresStorage


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Database:
    """Take either database."""
    chosen: Database = request.getfixturevalue(request.param)
    return chosen


def create(promise_id: str, group: str | None = None) -> PromiseCreate:
    tags = {"resonate:scope": "global", "resonate:branch": promise_id}
    if group is not None:
        tags[TARGET] = f"poll://any@{group}"
    return PromiseCreate(id=promise_id, timeout_at_ms=FAR_MS, tags=tags)


def start(promise_id: str) -> TaskCreate:
    return TaskCreate(pid="p", ttl_ms=1_000, action=create(promise_id, "workers"))


def before(n: int) -> list[Request]:
    """Prepare what the measured operations find: tasks that run, and trees that wait for others."""
    return [
        start(f"{n}.running"),
        create(f"{n}.awaited"),
        create(f"{n}.listened"),
        start(f"other{n}"),
        start(f"third{n}"),
        PromiseRegisterCallback(awaited=f"{n}.awaited", awaiter=f"third{n}"),
        TaskSuspend(
            id=f"other{n}",
            version=1,
            actions=(PromiseRegisterCallback(awaited=f"{n}.awaited", awaiter=f"other{n}"),),
        ),
        PromiseRegisterListener(awaited=f"{n}.listened", address="http://l"),
        create(f"{n}.pending", "workers"),
        start(f"{n}.to-suspend"),
        create(f"{n}.to-await"),
    ]


def measured(n: int) -> list[Request]:
    """Operations that between them touch every table in every way."""
    return [
        start(f"{n}.new"),
        TaskFence(id=f"{n}.running", version=1, action=create(f"{n}.child")),
        PromiseSettle(id=f"{n}.awaited", state=PromiseState.RESOLVED),
        PromiseSettle(id=f"{n}.listened", state=PromiseState.RESOLVED),
        PromiseRegisterListener(awaited=f"{n}.to-await", address="http://m"),
        TaskSuspend(
            id=f"{n}.to-suspend",
            version=1,
            actions=(PromiseRegisterCallback(awaited=f"{n}.to-await", awaiter=f"{n}.to-suspend"),),
        ),
        TaskAcquire(id=f"{n}.pending", version=0, pid="p", ttl_ms=1_000),
        TaskFulfill(
            id=f"{n}.running",
            version=1,
            action=PromiseSettle(id=f"{n}.running", state=PromiseState.RESOLVED),
        ),
    ]


async def run(storage: Database, requests: list[Request], *, now_ms: int) -> None:
    """Carry out requests as one batch, as the engine does."""
    keys = Keys()
    for request in requests:
        keys.add(request)
    plan = Plan(ids=keys.ids, pids=keys.pids, due_max=100, queued={"workers": 1, "others": 2})
    async with storage.transaction() as transaction:
        loaded = await transaction.load(plan, now_ms=now_ms)
        outcomes = [
            decide(loaded.working_set, request, now_ms=now_ms, profile=DEFAULT_PROFILE)
            for request in requests
        ]
        refusals = [o for o in outcomes if not isinstance(o, Done) or o.status != 200]
        assert refusals == []
        await transaction.commit(
            loaded.working_set.changes(),
            preload_of=[o.preload_of for o in outcomes if isinstance(o, Done) and o.preload_of],
            preload_bytes_max=BYTES_MAX,
        )


async def statements_of(storage: Database, requests: list[Request]) -> list[str]:
    seen: list[str] = []
    storage.on_statement = seen.append
    await run(storage, [*requests, TaskHeartbeat(pid="p")], now_ms=20)
    storage.on_statement = None
    return seen


async def test_a_batch_of_one_and_of_256_take_the_same_statements(database: Database) -> None:
    trees = range(257)
    await run(database, [request for n in trees for request in before(n)], now_ms=10)

    of_one = await statements_of(database, measured(0))
    of_many = await statements_of(database, [r for n in trees[1:] for r in measured(n)])

    assert of_one == of_many
    assert len(of_one) == len(set(of_one)), "each statement once"


async def test_the_measured_batch_writes_to_every_table(database: Database) -> None:
    """Or the comparison above would say less than it seems to."""
    await run(database, before(0), now_ms=10)

    texts = await statements_of(database, measured(0))

    everything = "\n".join(texts)
    writes = set(re.findall(r"(INSERT|DELETE) (INTO|FROM) (\w+)", everything))
    updates = set(re.findall(r"UPDATE (\w+) SET", everything))
    tables = ("promises", "tasks", "callbacks", "listeners", "resumes", "outbox")
    assert {table for _, _, table in writes} - {"writers"} == set(tables)
    assert updates == {"promises", "tasks"}
    assert ("DELETE", "FROM", "callbacks") in writes
    assert ("DELETE", "FROM", "listeners") in writes


@pytest.mark.parametrize("count", [1, 64])
async def test_a_read_takes_six_statements(sqlite: SqliteStorage, count: int) -> None:
    seen: list[str] = []
    sqlite.on_statement = seen.append

    async with sqlite.transaction() as transaction:
        ids = {f"p{n}" for n in range(count)}
        loaded = await transaction.load(Plan(ids=ids), now_ms=0)
        await transaction.commit(
            loaded.working_set.changes(), preload_of=[], preload_bytes_max=BYTES_MAX
        )

    assert seen[0] == "BEGIN IMMEDIATE"
    assert seen[-1] == "COMMIT"
    assert len(seen) == 6


async def test_every_wait_costs_no_statement(database: Database) -> None:
    """An open storage that nobody asks has no timer of its own."""
    seen: list[str] = []
    database.on_statement = seen.append

    async with database.transaction():
        pass

    assert seen == []


async def test_on_postgres_a_read_takes_four_statements_and_flushes_nothing(
    postgres: PostgresStorage,
) -> None:
    """Begin, lock, read, and an end that need not wait for a disk."""
    await run(postgres, [create("p")], now_ms=0)
    postgres.is_alone = False
    seen: list[str] = []
    postgres.on_statement = seen.append

    async with postgres.transaction() as transaction:
        loaded = await transaction.load(Plan(ids={"p"}), now_ms=0)
        await transaction.commit(
            loaded.working_set.changes(), preload_of=[], preload_bytes_max=BYTES_MAX
        )

    assert seen[0] == "BEGIN"
    assert seen[-1] == "ROLLBACK"
    assert len(seen) == 4


async def test_on_postgres_what_does_not_exist_is_not_read_after_nothing_was_locked(
    postgres: PostgresStorage,
) -> None:
    seen: list[str] = []
    postgres.on_statement = seen.append

    async with postgres.transaction() as transaction:
        loaded = await transaction.load(Plan(ids={"p"}), now_ms=7)

    assert (loaded.now_ms, loaded.working_set.promise("p")) == (7, None)
    assert len(seen) == 3, "begin, lock, roll back"
