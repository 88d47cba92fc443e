"""What is decided without a look at the rows is written only if that was right."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from holdfast.core.decide import Keys, decide_chain
from holdfast.core.profile import DEFAULT_PROFILE
from holdfast.core.records import BRANCH, ORIGIN, PARENT, TARGET, Preload, PromiseState, TaskState
from holdfast.core.requests import (
    Done,
    PromiseCreate,
    PromiseGet,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Request,
    TaskAcquire,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskHalt,
    TaskRelease,
    TaskSuspend,
)
from holdfast.core.steps import expire_promises
from holdfast_store.db.postgres.clock import DatabaseClock
from holdfast_store.db.postgres.statements import STALE_MS
from holdfast_store.db.postgres.storage import PostgresStorage
from holdfast_store.storage import (
    BatchRejected,
    CommitOutcomeUnknown,
    InsertConflict,
    NotCertain,
    Plan,
    TransactionAborted,
)
from tests.integration.kill.processes import until
from tests.integration.postgres import Server, query
from tests.integration.store_db.records import BYTES_MAX
from tests.integration.store_postgres.conftest import IMPATIENT, Wired
from tests.integration.store_postgres.cutting import Cut

FAR_MS = 2**50
AWAITABLE: Mapping[str, str] = {"resonate:scope": "global"}
NO_TAGS: Mapping[str, str] = {}


@dataclass(slots=True)
class Store:
    """A storage with the rules on top, as the engine has them, and what it asked the database."""

    storage: PostgresStorage
    statements: list[str] = field(default_factory=list)
    preloads: Mapping[str, Preload] = field(default_factory=dict)

    async def run(self, *requests: Request, at_ms: int | None = None) -> list[Any]:
        """Carry out requests as one batch; answer their outcomes."""
        keys = Keys()
        for request in requests:
            keys.add(request)
        plan = Plan(ids=keys.ids, created=keys.created, told=at_ms is not None)
        self.statements.clear()
        async with self.storage.transaction() as transaction:
            loaded = await transaction.load(plan, now_ms=at_ms or 0)
            outcomes = decide_chain(
                loaded.working_set, requests, now_ms=loaded.now_ms, profile=DEFAULT_PROFILE
            )
            self.preloads = await transaction.commit(
                loaded.working_set.changes(),
                preload_of=[o.preload_of for o in outcomes if isinstance(o, Done) and o.preload_of],
                preload_bytes_max=BYTES_MAX,
            )
        return outcomes

    async def sweep(self) -> None:
        """Settle what is due."""
        self.statements.clear()
        async with self.storage.transaction() as transaction:
            loaded = await transaction.load(Plan(due_max=10), now_ms=0)
            expire_promises(loaded.working_set, loaded.due_promises, now_ms=loaded.now_ms)
            await transaction.commit(
                loaded.working_set.changes(), preload_of=[], preload_bytes_max=BYTES_MAX
            )

    async def again(self, *requests: Request) -> list[Any]:
        """Carry out requests that fail once, because what is known is not so any more."""
        with pytest.raises((TransactionAborted, InsertConflict)):
            await self.run(*requests)
        return await self.run(*requests)

    async def settle_again(self, promise_id: str) -> None:
        """Settle a promise, with as many tries as it takes."""
        while True:
            try:
                await self.run(settle(promise_id))
            except TransactionAborted:
                continue
            return


def around(storage: PostgresStorage) -> Store:
    store = Store(storage)
    storage.on_statement = store.statements.append
    return store


async def opened(url: str) -> Store:
    storage = PostgresStorage(url, bounds=IMPATIENT)
    await storage.open()
    return await warm(around(storage))


async def warm(store: Store) -> Store:
    """Write once on the connection, from when on its batches follow one another."""
    await store.run(create(f"warm-{secrets.token_hex(4)}"))
    return store


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[Store]:
    """Open the store whose knowledge is in question."""
    store = await opened(postgres_url)
    yield store
    await store.storage.close()


@pytest.fixture
async def other(postgres_url: str) -> AsyncIterator[Store]:
    """Open another store on the same database; neither has heard of the other."""
    other = await opened(postgres_url)
    yield other
    await other.storage.close()


def create(
    promise_id: str, *, timeout_at_ms: int = FAR_MS, tags: Mapping[str, str] = NO_TAGS
) -> PromiseCreate:
    return PromiseCreate(id=promise_id, timeout_at_ms=timeout_at_ms, tags=tags)


def start(task_id: str) -> TaskCreate:
    tags = {TARGET: "poll://any@workers", BRANCH: task_id, ORIGIN: task_id}
    action = PromiseCreate(id=task_id, timeout_at_ms=FAR_MS, tags=tags)
    return TaskCreate(pid="pid", ttl_ms=60_000, action=action)


def step(task_id: str, child: str) -> TaskFence:
    action = PromiseCreate(
        id=child, timeout_at_ms=FAR_MS, tags={PARENT: task_id, BRANCH: task_id, ORIGIN: task_id}
    )
    return TaskFence(id=task_id, version=1, action=action, skip_preload=True)


def suspend(task_id: str, *awaited: str) -> TaskSuspend:
    actions = tuple(PromiseRegisterCallback(awaited=i, awaiter=task_id) for i in awaited)
    return TaskSuspend(id=task_id, version=1, actions=actions)


def settle(promise_id: str) -> PromiseSettle:
    return PromiseSettle(id=promise_id, state=PromiseState.RESOLVED)


def fulfill(task_id: str) -> TaskFulfill:
    return TaskFulfill(id=task_id, version=1, action=settle(task_id))


async def test_a_workflow_takes_one_statement_for_each_batch(
    store: Store, postgres_url: str
) -> None:
    counts = []
    for request in (start("w"), step("w", "w.1"), settle("w.1"), fulfill("w")):
        outcomes = await store.run(request)
        assert [o.status for o in outcomes] == [200]
        counts.append(len(store.statements))

    assert counts == [1, 1, 1, 1]
    found = query(
        postgres_url, "SELECT id, state FROM promises WHERE state != 'pending' ORDER BY id"
    )
    assert found == [("w", "resolved"), ("w.1", "resolved")]


async def test_reading_is_certain_as_well(store: Store, other: Store) -> None:
    await store.run(create("p"))
    await other.run(settle("p"))

    [outcome] = await store.again(PromiseGet(id="p"))

    assert outcome.promise.state is PromiseState.RESOLVED


CHANGES: dict[str, tuple[Request, Request]] = {
    "the promise": (settle("w"), settle("w")),
    "the task": (TaskHalt(id="w"), fulfill("w")),
    "a callback": (PromiseRegisterCallback(awaited="c", awaiter="w"), settle("c")),
    "a listener": (PromiseRegisterListener(awaited="c", address="poll://any@g"), settle("c")),
    "a suspended task": (suspend("w", "c"), settle("c")),
}


@pytest.mark.parametrize("what", CHANGES)
async def test_whatever_another_store_changed_is_noticed(
    store: Store, other: Store, postgres_url: str, what: str
) -> None:
    change, request = CHANGES[what]
    await store.run(start("w"), create("c", tags=AWAITABLE))
    await other.run(change)

    await store.again(request)

    assert query(postgres_url, "SELECT awaited FROM callbacks") == []
    assert query(postgres_url, "SELECT promise_id FROM listeners") == []


async def test_a_task_that_was_suspended_elsewhere_is_woken(
    store: Store, other: Store, postgres_url: str
) -> None:
    await store.run(start("w"), create("c", tags=AWAITABLE))
    await other.run(suspend("w", "c"))

    await store.again(settle("c"))

    assert query(postgres_url, "SELECT state FROM tasks") == [(TaskState.PENDING.value,)]


async def test_an_awaiter_that_changed_elsewhere_is_noticed(
    store: Store, other: Store, postgres_url: str
) -> None:
    await store.run(start("w"), create("c", tags=AWAITABLE), suspend("w", "c"))
    await other.run(TaskHalt(id="w"))

    await store.again(settle("c"))

    assert query(postgres_url, "SELECT state FROM tasks") == [(TaskState.HALTED.value,)]


async def test_an_awaiter_that_changed_while_another_store_was_there_is_not_known_any_more(
    store: Store, other: Store, postgres_url: str
) -> None:
    """Its store reads it as an awaiter meanwhile, and gives it a new revision itself."""
    await store.run(start("x"), start("y"), create("c", tags=AWAITABLE))
    store.storage.is_alone = False
    await other.run(PromiseRegisterCallback(awaited="x", awaiter="y"))
    await other.run(suspend("x", "c"), suspend("y", "x"))
    await store.run(settle("c"))
    store.storage.is_alone = True

    await store.settle_again("x")

    assert query(postgres_url, "SELECT awaited FROM callbacks") == []
    assert query(postgres_url, "SELECT id FROM tasks WHERE state = 'suspended'") == []


async def test_a_decision_that_took_long_to_arrive_is_not_written(postgres_url: str) -> None:
    storage = PostgresStorage(postgres_url, bounds=IMPATIENT)
    storage.clock = DatabaseClock(monotonic_ns=lambda: 0)  # goes on only when it hears
    await storage.open()
    store = await warm(around(storage))
    await store.run(create("p"))
    query(postgres_url, f"SELECT pg_sleep({STALE_MS / 1_000 + 0.1})")

    [outcome] = await store.again(settle("p"))

    assert outcome.promise.state is PromiseState.RESOLVED
    await storage.close()


async def test_reading_what_is_known_flushes_nothing(store: Store) -> None:
    await store.run(create("p"))

    await store.run(PromiseGet(id="p"))

    assert len(store.statements) == 3
    assert (store.statements[0], store.statements[-1]) == ("BEGIN", "ROLLBACK")


async def test_what_was_taken_for_absent_may_exist(store: Store, other: Store) -> None:
    await other.run(create("p"), settle("p"))

    [outcome] = await store.again(create("p"))

    assert outcome.promise.state is PromiseState.RESOLVED


async def test_what_was_not_created_after_all_is_looked_for(store: Store) -> None:
    await store.run(start("w"))
    await store.run(TaskHalt(id="w"))

    [outcome] = await store.again(step("w", "w.1"))

    assert outcome.status == 409


async def test_what_was_deleted_meanwhile_is_noticed(store: Store, postgres_url: str) -> None:
    await store.run(create("p"))
    query(postgres_url, "DELETE FROM promises")

    [outcome] = await store.again(settle("p"))

    assert outcome.status == 404


async def test_a_new_promise_that_somebody_has_named_gets_its_preload(
    store: Store, other: Store
) -> None:
    await other.run(create("early", tags={PARENT: "w"}))
    async with store.storage.transaction() as transaction:
        loaded = await transaction.load(Plan(ids={"w"}, created={"w"}), now_ms=0)
        decide_chain(
            loaded.working_set, [start("w")], now_ms=loaded.now_ms, profile=DEFAULT_PROFILE
        )
        with pytest.raises(TransactionAborted):
            await transaction.commit(
                loaded.working_set.changes(), preload_of=["w"], preload_bytes_max=BYTES_MAX
            )


def take(task_id: str, *, version: int) -> TaskAcquire:
    return TaskAcquire(id=task_id, version=version, pid="pid", ttl_ms=60_000)


async def test_a_task_that_is_handed_out_again_takes_its_preload_from_memory(
    store: Store,
) -> None:
    await store.run(start("w"))
    await store.run(step("w", "w.1"))
    await store.run(settle("w.1"), TaskRelease(id="w", version=1))

    await store.run(take("w", version=1))

    assert len(store.statements) == 1
    [(_, preload)] = store.preloads.items()
    assert [(p.id, p.state) for p in preload.promises] == [("w.1", PromiseState.RESOLVED)]
    assert preload.complete


async def test_a_preload_that_was_read_is_known_from_then_on(store: Store, other: Store) -> None:
    await other.run(start("w"), step("w", "w.1"), TaskRelease(id="w", version=1))
    await store.run(PromiseGet(id="w"))
    counts, preloads = [], []
    for version in (1, 2):
        await store.run(take("w", version=version))
        counts.append(len(store.statements))
        preloads.append(store.preloads["w"])
        await store.run(TaskRelease(id="w", version=version + 1))

    assert counts == [3, 1]
    assert preloads[0] == preloads[1]
    assert [promise.id for promise in preloads[0].promises] == ["w.1"]


@pytest.mark.parametrize("is_heard_of", [False, True])
async def test_children_that_were_made_at_another_store_are_in_the_preload(
    store: Store, other: Store, *, is_heard_of: bool
) -> None:
    await store.run(start("w"))
    await store.run(TaskRelease(id="w", version=1))
    store.storage.is_alone = not is_heard_of
    await other.run(take("w", version=1))
    await other.run(TaskFence(id="w", version=2, action=step("w", "w.1").action))
    await other.run(TaskRelease(id="w", version=2))

    if is_heard_of:
        await store.run(PromiseGet(id="w"))
        store.storage.is_alone = True
        await store.run(take("w", version=2))
    else:
        await store.again(take("w", version=2))

    assert [promise.id for promise in store.preloads["w"].promises] == ["w.1"]


async def test_children_that_were_made_while_another_store_was_there_are_in_the_preload(
    store: Store, other: Store
) -> None:
    """Nothing was done here meanwhile; what a holder does there renews no revision of its own."""
    await store.run(start("w"))
    await other.storage.exchange("{}")
    await store.storage.exchange("{}")
    await other.run(step("w", "w.1"))
    await other.storage.depart()
    await store.storage.exchange("{}")
    assert store.storage.is_alone

    await store.run(TaskRelease(id="w", version=1))
    await store.run(take("w", version=1))

    assert [promise.id for promise in store.preloads["w"].promises] == ["w.1"]


async def test_a_child_that_retention_has_deleted_is_in_no_preload(store: Store) -> None:
    storage = store.storage
    await store.run(start("w"), create("z"))
    of_another_tree = {PARENT: "w", BRANCH: "w", ORIGIN: "z"}
    await store.run(create("x", tags=of_another_tree), settle("x"))
    await store.run(settle("z"))
    while not await storage.file_origins(limit=100):
        pass
    pruned = await storage.prune(["z"], before_ms=storage.clock() + 1_000, behind="", limit=100)
    assert pruned.promises == 2

    await store.run(TaskRelease(id="w", version=1))
    await store.run(take("w", version=1))

    assert store.preloads["w"] == Preload(promises=(), complete=True)


async def test_a_preload_that_cannot_be_read_any_more_is_left_to_its_reader(
    wired: Wired, other: Store
) -> None:
    store = await warm(around(wired.storage))
    await other.run(start("w"), step("w", "w.1"), TaskRelease(id="w", version=1))
    await store.run(PromiseGet(id="w"))
    wired.cutter.cut_next(b"WITH wanted AS", Cut.BEFORE_SERVER)

    await store.run(take("w", version=1))

    assert wired.cutter.cuts == 1
    assert store.preloads == {"w": Preload(promises=(), complete=False)}
    assert query(wired.url, "SELECT state FROM tasks") == [(TaskState.ACQUIRED.value,)]


async def test_children_that_were_written_in_doubt_are_in_the_preload(wired: Wired) -> None:
    store = await warm(around(wired.storage))
    await store.run(start("w"))
    wired.cutter.cut_next(b"w.1", Cut.BEFORE_ANSWER, stay_away=True)
    with pytest.raises(CommitOutcomeUnknown):
        await store.run(step("w", "w.1"))
    wired.cutter.come_back()
    await warm(store)

    await store.run(TaskRelease(id="w", version=1))
    await store.run(take("w", version=1))

    assert [promise.id for promise in store.preloads["w"].promises] == ["w.1"]


async def test_what_is_due_is_swept_by_what_is_known(store: Store, postgres_url: str) -> None:
    """One statement finds it, and the one that writes makes certain of it."""
    deadline_ms = store.storage.clock() + 50
    sleep = create("s", timeout_at_ms=deadline_ms, tags={**AWAITABLE, "resonate:timer": "true"})
    await store.run(start("w"), sleep, suspend("w", "s"))
    query(postgres_url, SLEEP_UNTIL.format(deadline_ms))

    await store.sweep()

    assert len(store.statements) == 2
    assert query(postgres_url, "SELECT state FROM promises WHERE id = 's'") == [("resolved",)]
    assert query(postgres_url, "SELECT state FROM tasks") == [(TaskState.PENDING.value,)]


async def test_a_sweep_that_finds_nothing_has_looked_and_that_is_all(store: Store) -> None:
    await store.run(create("p"))

    await store.sweep()

    assert len(store.statements) == 1


async def test_what_became_of_it_elsewhere_before_it_was_swept_is_noticed(
    store: Store, other: Store, postgres_url: str
) -> None:
    deadline_ms = store.storage.clock() + 50
    await store.run(start("w"))
    await store.run(create("s", timeout_at_ms=deadline_ms, tags=AWAITABLE), suspend("w", "s"))
    await other.run(TaskHalt(id="w"))
    query(postgres_url, SLEEP_UNTIL.format(deadline_ms))

    with pytest.raises(TransactionAborted):
        await store.sweep()
    await store.sweep()

    found = query(postgres_url, "SELECT state FROM promises WHERE id = 's'")
    assert found == [("rejected_timedout",)]
    assert query(postgres_url, "SELECT state FROM tasks") == [(TaskState.HALTED.value,)]


async def test_a_sweep_on_a_connection_that_broke_meanwhile_looks_on_another(
    wired: Wired, postgres_url: str
) -> None:
    store = await warm(around(wired.storage))
    deadline_ms = wired.storage.clock() + 50
    await store.run(create("s", timeout_at_ms=deadline_ms, tags={"resonate:timer": "true"}))
    query(postgres_url, SLEEP_UNTIL.format(deadline_ms))
    wired.cutter.cut_next(b"due_promises", Cut.BEFORE_SERVER)

    await store.sweep()

    assert wired.cutter.cuts == 1
    assert query(wired.url, "SELECT state FROM promises WHERE id = 's'") == [("resolved",)]


async def test_a_deadline_that_passes_while_a_lock_is_waited_for_is_noticed(
    postgres_url: str,
) -> None:
    storage = PostgresStorage(postgres_url)
    await storage.open()
    store = await warm(around(storage))
    deadline_ms = storage.clock() + 300
    await store.run(create("a", timeout_at_ms=deadline_ms), create("b"))
    with psycopg.connect(postgres_url) as holder:
        holder.execute("SELECT 1 FROM promises WHERE id = 'b' FOR UPDATE")
        running = asyncio.create_task(store.run(settle("a"), settle("b")))
        await asyncio.to_thread(until, lambda: query(postgres_url, WAITING_TO_WRITE), "it waits")
        await asyncio.to_thread(query, postgres_url, SLEEP_UNTIL.format(deadline_ms))

    with pytest.raises(NotCertain):
        await running
    [of_a, of_b] = await store.run(settle("a"), settle("b"))

    assert of_a.promise.state is PromiseState.REJECTED_TIMEDOUT
    assert of_b.promise.state is PromiseState.RESOLVED
    await storage.close()


WAITING_TO_WRITE = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


async def test_a_deadline_that_had_passed_at_the_decision_was_part_of_it(
    store: Store, postgres_url: str
) -> None:
    deadline_ms = store.storage.clock() + 50
    await store.run(create("p", timeout_at_ms=deadline_ms))
    query(postgres_url, SLEEP_UNTIL.format(deadline_ms))

    [outcome] = await store.run(settle("p"))

    assert len(store.statements) == 3, "it begins, makes certain, and ends: nothing is written"
    assert outcome.promise.state is PromiseState.REJECTED_TIMEDOUT


async def test_a_deadline_that_passed_by_the_databases_clock_is_noticed(
    postgres_url: str,
) -> None:
    storage = PostgresStorage(postgres_url, bounds=IMPATIENT)
    storage.clock = DatabaseClock(monotonic_ns=lambda: 0)  # goes on only when it hears
    await storage.open()
    store = await warm(around(storage))
    deadline_ms = storage.clock() + 200
    await store.run(create("p", timeout_at_ms=deadline_ms))
    query(postgres_url, SLEEP_UNTIL.format(deadline_ms))

    [outcome] = await store.again(settle("p"))

    assert outcome.promise.state is PromiseState.REJECTED_TIMEDOUT
    await storage.close()


SLEEP_UNTIL = """
SELECT pg_sleep(greatest(0, ({0} - extract(epoch FROM clock_timestamp()) * 1000) / 1000 + 0.01))
"""


async def test_a_refused_write_leaves_knowledge_as_it_was(store: Store) -> None:
    await store.run(create("p"))

    with pytest.raises(BatchRejected):
        await store.run(settle("p"), create("q\x00"))

    assert [o.status for o in await store.run(settle("p"))] == [200]
    assert len(store.statements) == 1


@pytest.mark.parametrize("cut", [Cut.BEFORE_ANSWER, Cut.AT_ONCE])
async def test_a_statement_whose_answer_was_lost_is_a_commit(wired: Wired, cut: Cut) -> None:
    store = await warm(around(wired.storage))
    await store.run(create("prepared"))
    wired.cutter.cut_next(b"in-doubt", cut)

    await store.run(create("in-doubt"))

    assert wired.cutter.cuts == 1
    assert query(wired.url, "SELECT 1 FROM promises WHERE id = 'in-doubt'") == [(1,)]
    assert [o.status for o in await store.run(settle("in-doubt"))] == [200]


async def test_a_statement_that_waits_while_its_connection_breaks_is_waited_for(
    wired: Wired,
) -> None:
    store = await warm(around(wired.storage))
    await store.run(create("in-doubt"), create("prepared"))
    await store.run(settle("prepared"))
    wired.cutter.cut_next(b"in-doubt", Cut.AT_ONCE)
    with psycopg.connect(wired.url) as holder:
        holder.execute("SELECT 1 FROM promises WHERE id = 'in-doubt' FOR UPDATE")
        running = asyncio.create_task(store.run(settle("in-doubt")))
        await asyncio.to_thread(until, lambda: query(wired.url, WAITING), "it asks how it ended")

    [outcome] = await running

    assert outcome.promise.state is PromiseState.RESOLVED
    assert query(wired.url, "SELECT state FROM promises WHERE id = 'in-doubt'") == [("resolved",)]


WAITING = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ '^INSERT'"


async def test_a_statement_that_arrives_after_it_was_given_up_writes_nothing(
    wired: Wired,
) -> None:
    store = await warm(around(wired.storage))
    await store.run(create("in-doubt"), create("prepared"))
    await store.run(settle("prepared"))
    wired.cutter.cut_next(b"in-doubt", Cut.LATER)
    with pytest.raises(TransactionAborted):
        await store.run(settle("in-doubt"))

    answer = await wired.cutter.deliver()

    assert b"division by zero" in answer
    assert query(wired.url, "SELECT state FROM promises WHERE id = 'in-doubt'") == [("pending",)]
    assert [o.status for o in await store.run(settle("in-doubt"))] == [200]


async def test_a_statement_that_never_arrived_is_to_be_repeated(wired: Wired) -> None:
    store = await warm(around(wired.storage))
    await store.run(create("prepared"))
    wired.cutter.cut_next(b"in-doubt", Cut.BEFORE_SERVER)

    await store.again(create("in-doubt"))

    assert wired.cutter.cuts == 1
    assert query(wired.url, "SELECT 1 FROM promises WHERE id = 'in-doubt'") == [(1,)]


async def test_beside_another_store_everything_is_looked_at(store: Store, other: Store) -> None:
    await other.storage.exchange("{}")
    await store.storage.exchange("{}")
    await store.run(create("p"))

    await store.run(settle("p"))

    assert len(store.statements) > 1


async def test_where_an_older_version_may_write_everything_is_looked_at(
    postgres_server: Server,
) -> None:
    url = postgres_server.create_database()  # others get theirs as it was
    query(url, "DELETE FROM schema_floors")
    query(url, "DELETE FROM schema_revisions WHERE revision = '0010'")
    store = await opened(url)
    await store.run(create("p"))

    await store.run(settle("p"))

    assert len(store.statements) > 1
    await store.storage.close()


async def test_suspends_and_settlements_at_once_leave_nobody_asleep(
    store: Store, other: Store, postgres_url: str
) -> None:
    for n in range(40):
        await store.run(start(f"w{n}"), create(f"c{n}", tags=AWAITABLE))
        await other.run(PromiseGet(id=f"w{n}"), PromiseGet(id=f"c{n}"))

    async def insist(which: Store, *requests: Request) -> None:
        while True:
            try:
                await which.run(*requests)
            except TransactionAborted:
                await asyncio.sleep(0)
            else:
                return

    async with asyncio.TaskGroup() as group:
        for n in range(40):
            group.create_task(insist(store, suspend(f"w{n}", f"c{n}")))
            group.create_task(insist(other, settle(f"c{n}")))

    assert query(postgres_url, "SELECT id FROM tasks WHERE state = 'suspended'") == []
    assert query(postgres_url, "SELECT awaited FROM callbacks") == []
