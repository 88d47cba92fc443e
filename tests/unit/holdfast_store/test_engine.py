"""The batch engine on the memory adapter: batches, answers, dispatch, failures."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from holdfast.core.membership import DeliveryMode, Member, TaskOffer, TaskPush
from holdfast.core.profile import DEFAULT_PROFILE, Profile, Undeliverable
from holdfast.core.records import Preload, Promise, PromiseState, TaskState, Value
from holdfast.core.requests import (
    SKIPPED,
    Done,
    Outcome,
    PromiseCreate,
    PromiseGet,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Refusal,
    Request,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskRelease,
    TaskSuspend,
)
from holdfast.core.working_set import Changes
from holdfast_store import background as background_module
from holdfast_store import backlog as backlog_module
from holdfast_store import suspects as suspects_module
from holdfast_store.engine import Engine, EngineSettings, Session
from holdfast_store.memory.storage import MemoryStorage
from holdfast_store.observer import NullObserver, Observer
from holdfast_store.storage import (
    BatchRejected,
    CommitOutcomeUnknown,
    InsertConflict,
    Loaded,
    Plan,
    StorageUnavailable,
    Transaction,
)

TARGET = {"resonate:target": "poll://any@w"}
EXTERNAL = {"resonate:external": "true"}
FAR = 1_000_000


class Now:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.ms = 1_000

    def __call__(self) -> int:
        return self.ms


@dataclass
class Inbox:
    """What a member was sent, with a way to wait for it."""

    tasks: "asyncio.Queue[TaskPush]" = field(default_factory=asyncio.Queue)
    offers: "asyncio.Queue[TaskOffer]" = field(default_factory=asyncio.Queue)
    settled: "asyncio.Queue[Promise]" = field(default_factory=asyncio.Queue)

    def push_task(self, push: TaskPush) -> None:
        self.tasks.put_nowait(push)

    def push_offer(self, offer: TaskOffer) -> None:
        self.offers.put_nowait(offer)

    def push_settled(self, promise: Promise) -> None:
        self.settled.put_nowait(promise)

    def replaced(self) -> None: ...


class FailingStorage(MemoryStorage):
    """A memory adapter whose commits fail as told, beside the tests on a real database."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[Exception] = []
        self.poison: str | None = None
        self.unreadable: str | None = None
        self.batch_sizes: list[int] = []
        self.on_load: Callable[[], None] = lambda: None
        self.blocked: asyncio.Event | None = None
        """With an event: commits wait for it."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:  # type: ignore[override]
        async with super().transaction() as inner:
            yield _FailingTransaction(self, inner)


@dataclass
class _FailingTransaction:
    storage: FailingStorage
    inner: Transaction

    async def load(self, plan: Plan, *, now_ms: int) -> Loaded:
        self.storage.batch_sizes.append(len(plan.ids))
        self.storage.on_load()
        loaded = await self.inner.load(plan, now_ms=now_ms)
        if any(p.id == self.storage.unreadable for p in loaded.working_set.promises()):
            raise BatchRejected("unreadable")
        return loaded

    async def commit(
        self, changes: Changes, *, preload_of: Sequence[str], preload_bytes_max: int
    ) -> Mapping[str, Preload]:
        if self.storage.failures:
            raise self.storage.failures.pop(0)
        touched = (*changes.promises_created, *changes.promises_updated)
        if any(p.id == self.storage.poison for p in touched):
            raise BatchRejected("poison")
        if self.storage.blocked is not None:
            await self.storage.blocked.wait()
        return await self.inner.commit(
            changes, preload_of=preload_of, preload_bytes_max=preload_bytes_max
        )


@asynccontextmanager
async def running(
    storage: MemoryStorage,
    now: Now,
    profile: Profile = DEFAULT_PROFILE,
    observer: Observer | None = None,
    **settings: int | None,
) -> AsyncIterator[Engine]:
    await storage.open()
    engine = Engine(
        storage,
        clock=now,
        profile=profile,
        observer=observer,
        settings=EngineSettings(**settings),  # type: ignore[arg-type]
    )
    await engine.start()
    yield engine
    await engine.stop()
    await storage.close()


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def storage() -> FailingStorage:
    return FailingStorage()


@pytest.fixture
async def engine(storage: FailingStorage, now: Now) -> AsyncIterator[Engine]:
    async with running(storage, now, stream_grace_ms=0) as engine:
        yield engine


def member(pid: str = "a", **fields: object) -> Member:
    defaults = {"pid": pid, "instance": "i", "groups": ("w",), "credits": 1, "lease_ttl_ms": 500}
    return Member(**(defaults | fields))  # type: ignore[arg-type]


def create(promise_id: str, tags: Mapping[str, str] = TARGET, timeout_at_ms: int = FAR) -> Request:
    return PromiseCreate(id=promise_id, timeout_at_ms=timeout_at_ms, tags=tags)


async def one(engine: Engine, request: Request) -> Done:
    (outcome,) = await engine.apply(request)
    assert isinstance(outcome, Done), outcome
    return outcome


async def soon(queue: "asyncio.Queue[TaskPush]") -> TaskPush:
    async with asyncio.timeout(5):
        return await queue.get()


async def test_requests_that_arrive_during_a_transaction_share_the_next_one(
    engine: Engine, storage: FailingStorage
) -> None:
    requests = [engine.apply(create(f"p{i}", {})) for i in range(50)]

    await asyncio.gather(*requests)

    assert sum(storage.batch_sizes) == 50
    assert len(storage.batch_sizes) <= 3


async def test_an_answer_goes_out_after_the_commit_only(
    engine: Engine, storage: FailingStorage
) -> None:
    storage.failures = [StorageUnavailable("disk full")]

    (outcome,) = await engine.apply(create("p", {}))

    assert isinstance(outcome, Refusal)
    assert (outcome.status, outcome.code) == (503, "database_unavailable")
    (after,) = await engine.apply(PromiseGet(id="p"))
    assert isinstance(after, Refusal)
    assert after.status == 404


async def test_an_unknown_commit_outcome_is_answered_as_unknown(
    engine: Engine, storage: FailingStorage
) -> None:
    storage.failures = [CommitOutcomeUnknown("connection lost")]

    (outcome,) = await engine.apply(create("p", {}))

    assert isinstance(outcome, Refusal)
    assert (outcome.status, outcome.code) == (503, "outcome_unknown")


async def test_an_insert_conflict_repeats_the_whole_batch(
    engine: Engine, storage: FailingStorage
) -> None:
    storage.failures = [InsertConflict("p"), InsertConflict("p")]

    done = await one(engine, create("p", {}))

    assert done.created
    assert len(storage.batch_sizes) == 3


async def test_one_poisoned_operation_does_not_fail_its_neighbours(
    engine: Engine, storage: FailingStorage
) -> None:
    storage.poison = "p5"

    outcomes = await asyncio.gather(*(engine.apply(create(f"p{i}", {})) for i in range(9)))

    refused = {i for i, (outcome,) in enumerate(outcomes) if isinstance(outcome, Refusal)}
    assert refused == {5}
    (culprit,) = outcomes[5]
    assert isinstance(culprit, Refusal)
    assert culprit.status == 500


async def test_a_due_row_that_the_database_refuses_costs_nobody_an_answer(
    engine: Engine, storage: FailingStorage, now: Now
) -> None:
    await one(engine, create("due", EXTERNAL, timeout_at_ms=now.ms + 10))
    storage.poison = "due"
    now.ms += 10

    engine.sweep()
    done = await one(engine, create("innocent", {}))

    assert done.created


class Watch(NullObserver):
    """Tells when a due row was set aside, or taken after all."""

    def __init__(self) -> None:
        self.refused = 0
        self.now = 0
        self.batches_failed = 0
        self.lateness_ms: list[int] = []
        self._changed = asyncio.Event()

    def due_rows_set_aside(self, *, refused: int, now: int) -> None:
        self.refused += refused
        self.now = now
        self._changed.set()

    def batch_failed(self, *, kind: str) -> None:
        self.batches_failed += 1

    def timers_swept(self, lateness_ms: Sequence[int]) -> None:
        self.lateness_ms += lateness_ms

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
def watch() -> Watch:
    return Watch()


async def states(engine: Engine, *ids: str) -> list[PromiseState]:
    """Read stored states: the deadline of a promise that was read would count in any case."""
    transaction = engine._runner._storage.transaction()
    async with transaction as opened:
        loaded = await opened.load(Plan(ids=set(ids)), now_ms=0)
    found = [loaded.working_set.promise(i) for i in ids]
    return [promise.state for promise in found if promise is not None]


@pytest.mark.parametrize("trouble", ["poison", "unreadable"])
async def test_a_due_row_that_the_database_refuses_does_not_keep_later_ones(
    storage: FailingStorage, now: Now, watch: Watch, trouble: str
) -> None:
    """The culprit is the first of many more than one sweep takes."""
    async with running(storage, now, observer=watch, due_max=4) as engine:
        rows = [f"due{n:02}" for n in range(20)]
        for n, row in enumerate(rows):
            await one(engine, create(row, EXTERNAL, timeout_at_ms=now.ms + 10 + n))
        setattr(storage, trouble, rows[0])
        now.ms += 100
        sweeping = swept_until_done(engine)

        await watch.until(lambda: watch.now == 1)
        await sweeping
        storage.unreadable = None

        assert await states(engine, *rows) == [
            PromiseState.PENDING,
            *[PromiseState.REJECTED_TIMEDOUT] * 19,
        ]


def swept_until_done(engine: Engine) -> "asyncio.Future[None]":
    """Sweep as the timers do: again while more is due, and after suspicion."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def look() -> None:
        due_ms = await engine.background.next_due_at_ms()
        if due_ms is None or due_ms > engine.now_ms():
            done.set_result(None)
        else:
            engine.sweep()

    looks: set[asyncio.Task[None]] = set()

    def on_swept(more: bool) -> None:  # noqa: FBT001 - the engine's callback
        if not more and not done.done():
            looks.add(asyncio.create_task(look()))

    engine.background.on_swept = on_swept
    engine.sweep()
    return done


async def test_a_row_that_was_set_aside_is_taken_when_the_database_takes_it(
    storage: FailingStorage, now: Now, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspects_module, "PAUSE_S_MIN", 0.001)
    async with running(storage, now, observer=watch) as engine:
        await one(engine, create("due", EXTERNAL, timeout_at_ms=now.ms + 10))
        storage.poison = "due"
        now.ms += 10
        engine.sweep()
        await watch.until(lambda: watch.refused == 3)

        storage.poison = None
        await watch.until(lambda: watch.now == 0)

        assert await states(engine, "due") == [PromiseState.REJECTED_TIMEDOUT]


async def test_each_pause_of_a_row_is_logged_once(
    storage: FailingStorage,
    now: Now,
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(suspects_module, "PAUSE_S_MIN", 0.001)
    async with running(storage, now, observer=watch) as engine:
        await one(engine, create("due", EXTERNAL, timeout_at_ms=now.ms + 10))
        storage.poison = "due"
        now.ms += 10
        engine.sweep()

        await watch.until(lambda: watch.refused == 3)

    told = [r.holdfast_keys for r in caplog.records if r.msg == "due_row_set_aside"]  # type: ignore[attr-defined]
    assert [(keys["id"], keys["tries"]) for keys in told[:3]] == [
        ("due", 1),
        ("due", 2),
        ("due", 3),
    ]
    assert [keys["pause_s"] for keys in told[:3]] == [0.001, 0.002, 0.004]


async def test_a_row_that_is_set_aside_makes_no_sweep_after_the_other(
    storage: FailingStorage, now: Now, watch: Watch
) -> None:
    """What is due and skipped must not count as due, or the timers would never sleep."""
    async with running(storage, now, observer=watch) as engine:
        await one(engine, create("due", EXTERNAL, timeout_at_ms=now.ms + 10))
        await one(engine, create("later", EXTERNAL, timeout_at_ms=now.ms + 500))
        assert await engine.background.next_due_at_ms() == now.ms + 10
        storage.poison = "due"
        now.ms += 10
        engine.sweep()
        await watch.until(lambda: watch.now == 1)

        assert await engine.background.next_due_at_ms() == now.ms + 490


async def test_no_later_sweep_is_refused_for_a_row_that_is_set_aside(
    storage: FailingStorage, now: Now, watch: Watch
) -> None:
    async with running(storage, now, observer=watch) as engine:
        for row in ("due", "second", "third"):
            await one(engine, create(row, EXTERNAL, timeout_at_ms=now.ms + 10))
            now.ms += 1
        storage.poison = "due"
        now.ms += 7
        engine.sweep()
        await watch.until(lambda: watch.now == 1)
        failed = watch.batches_failed

        for row in ("second", "third"):
            now.ms += 1
            await swept_until_done(engine)
            assert await states(engine, row) == [PromiseState.REJECTED_TIMEDOUT]

    assert watch.batches_failed == failed


async def test_a_due_row_that_the_database_refuses_keeps_no_other_background_work(
    storage: FailingStorage, now: Now, watch: Watch
) -> None:
    """Lost leases and waiting tasks ride in the same batches."""
    async with running(storage, now, observer=watch) as engine:
        first, second = Inbox(), Inbox()
        engine.connect(member("a"), first)
        await one(engine, create("held"))
        await soon(first.tasks)
        await one(engine, create("waits"))
        await one(engine, create("due", EXTERNAL, timeout_at_ms=now.ms + 10))
        storage.poison = "due"
        now.ms += 10

        engine.sweep()
        engine.take_leases_from([("a", "i")])
        engine.connect(member("b", credits=2), second)
        pushes = [(await soon(second.tasks)).task.id, (await soon(second.tasks)).task.id]
        await watch.until(lambda: watch.now == 1)

        assert sorted(pushes) == ["held", "waits"]


async def test_a_database_that_is_away_sets_nothing_aside(
    storage: FailingStorage, now: Now, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background_module, "RETRY_PAUSE_S", 0.001)
    async with running(storage, now, observer=watch) as engine:
        await one(engine, create("due", EXTERNAL, timeout_at_ms=now.ms + 10))
        now.ms += 10
        storage.failures = [BatchRejected("poison"), StorageUnavailable("away")]
        done = swept_until_done(engine)

        await watch.until(lambda: watch.lateness_ms == [0])

        assert (watch.refused, watch.now) == (0, 0)
        assert await states(engine, "due") == [PromiseState.REJECTED_TIMEDOUT]
        done.cancel()


async def test_the_lateness_of_deadlines_and_leases_is_told(
    storage: FailingStorage, now: Now, watch: Watch
) -> None:
    async with running(storage, now, observer=watch) as engine:
        inbox = Inbox()
        engine.connect(member(), inbox)
        await one(engine, create("t"))
        await soon(inbox.tasks)  # its lease ends 500 ms from now
        await one(engine, create("p", EXTERNAL, timeout_at_ms=now.ms + 700))
        now.ms += 750
        done = swept_until_done(engine)
        engine.sweep()
        await one(engine, PromiseGet(id="p"))

    done.cancel()
    assert sorted(watch.lateness_ms) == [50, 250]


async def test_a_receiver_that_breaks_undoes_nothing(engine: Engine) -> None:
    class Broken(Inbox):
        def push_task(self, push: TaskPush) -> None:
            raise ZeroDivisionError

    engine.connect(member(), Broken())

    done = await one(engine, create("t"))

    assert done.created
    (status,) = engine.members()
    assert status.held == 1


async def test_a_defect_is_answered_and_does_not_end_the_engine(
    engine: Engine, storage: FailingStorage
) -> None:
    storage.failures = [ZeroDivisionError("defect")]

    (broken,) = await engine.apply(create("p", {}))
    done = await one(engine, create("p", {}))

    assert isinstance(broken, Refusal)
    assert broken.status == 500
    assert done.created


async def test_a_flaw_at_the_door_stops_a_chain_where_it_stands(engine: Engine) -> None:
    outcomes = await engine.apply(create("p", {}), create("", {}), create("q", {}))

    assert isinstance(outcomes[0], Done)
    assert isinstance(outcomes[1], Refusal)
    assert outcomes[1].status == 400
    assert outcomes[2] is SKIPPED
    (q,) = await engine.apply(PromiseGet(id="q"))
    assert isinstance(q, Refusal)


async def test_behind_a_refused_operation_a_flaw_at_the_door_is_skipped(engine: Engine) -> None:
    outcomes = await engine.apply(PromiseGet(id="absent"), create("", {}))

    assert isinstance(outcomes[0], Refusal)
    assert outcomes[0].status == 404
    assert outcomes[1] is SKIPPED


async def test_behind_a_fence_that_refused_its_inner_write_a_flaw_is_skipped(
    engine: Engine,
) -> None:
    lease = TaskCreate(
        pid="a", ttl_ms=500, action=PromiseCreate(id="t", timeout_at_ms=FAR, tags=TARGET)
    )
    absent = PromiseSettle(id="absent", state=PromiseState.RESOLVED)

    outcomes = await engine.apply(
        lease, TaskFence(id="t", version=1, action=absent), create("", {})
    )

    fence = outcomes[1]
    assert isinstance(fence, Done)
    assert isinstance(fence.action, Refusal)
    assert fence.action.status == 404
    assert outcomes[2] is SKIPPED


async def test_an_empty_or_overlong_chain_is_refused(engine: Engine) -> None:
    answers: list[Sequence[Outcome]] = []

    engine.submit([], answers.append)
    engine.submit([PromiseGet(id="p")] * 257, answers.append)

    assert [len(a) for a in answers] == [1, 257]
    assert all(isinstance(a[0], Refusal) and a[0].code == "invalid_chain" for a in answers)


async def test_a_full_queue_refuses_instead_of_growing(storage: FailingStorage, now: Now) -> None:
    async with running(storage, now, queue_operations_max=2) as engine:
        outcomes = await asyncio.gather(*(engine.apply(create(f"p{i}", {})) for i in range(5)))

    codes = [o.code if isinstance(o, Refusal) else "" for (o,) in outcomes]
    assert codes == ["", "", "overloaded", "overloaded", "overloaded"]


async def test_a_stop_that_cuts_a_transaction_short_answers_what_was_in_it(
    storage: FailingStorage, now: Now
) -> None:
    answers: list[Sequence[Outcome]] = []
    storage.blocked = asyncio.Event()
    async with running(storage, now) as engine:
        loaded = asyncio.Event()
        storage.on_load = loaded.set
        engine.submit([create("cut", {}), PromiseGet(id="cut")], answers.append)
        await loaded.wait()
        engine.submit([create("behind", {})], answers.append)

        await engine.stop(grace_s=0.01)

        cut, behind = answers
    assert isinstance(cut[0], Refusal)
    assert (cut[0].status, cut[0].code, cut[1]) == (503, "outcome_unknown", SKIPPED)
    assert isinstance(behind[0], Refusal)
    assert (behind[0].status, behind[0].code) == (503, "store_stopping")
    assert len(answers) == 2, "exactly one answer each"


async def test_a_stop_in_the_middle_of_a_halved_batch_answers_each_entry_once(
    storage: FailingStorage, now: Now
) -> None:
    answers: list[list[Outcome]] = [[] for _ in range(4)]
    storage.poison = "p0"

    def answer_first(outcomes: Sequence[Outcome]) -> None:
        """The poisoned one is alone, and refused; from now on nothing commits."""
        answers[0].extend(outcomes)
        storage.blocked = asyncio.Event()
        refused.set()

    refused = asyncio.Event()
    async with running(storage, now) as engine:
        engine.submit([create("p0", {})], answer_first)
        for n in range(1, 4):
            engine.submit([create(f"p{n}", {})], answers[n].extend)
        await refused.wait()

        await engine.stop(grace_s=0.01)

    assert [len(given) for given in answers] == [1, 1, 1, 1]
    codes = [given[0].code for given in answers if isinstance(given[0], Refusal)]
    assert codes == ["rejected_by_database", *["outcome_unknown"] * 3]


async def test_a_defect_behind_the_commit_is_answered_and_does_not_end_the_engine(
    engine: Engine,
) -> None:
    def broken(_at_ms: int) -> None:
        engine.background.on_due = lambda _at_ms: None
        raise ZeroDivisionError

    engine.background.on_due = broken

    (unknown,) = await engine.apply(create("p", EXTERNAL))
    done = await one(engine, PromiseGet(id="p"))

    assert isinstance(unknown, Refusal)
    assert unknown.code == "outcome_unknown"
    assert done.promise is not None


async def test_a_stopped_engine_answers_what_was_queued_and_refuses_the_rest(
    storage: FailingStorage, now: Now
) -> None:
    async with running(storage, now) as engine:
        early = asyncio.ensure_future(engine.apply(create("p", {})))
        await asyncio.sleep(0)
        await engine.stop()
        (outcome,) = await early
        (late,) = await engine.apply(create("q", {}))

    assert isinstance(outcome, Done)
    assert isinstance(late, Refusal)
    assert late.status == 503


async def test_a_new_task_is_pushed_acquired_by_the_transaction_that_made_it(
    engine: Engine, storage: FailingStorage
) -> None:
    inbox = Inbox()
    engine.connect(member(), inbox)
    storage.batch_sizes.clear()

    await one(engine, create("t"))
    push = await soon(inbox.tasks)

    assert push.task.state is TaskState.ACQUIRED
    assert (push.task.version, push.task.pid, push.task.instance) == (1, "a", "i")
    assert push.preload == Preload(promises=(), complete=True)
    assert [n for n in storage.batch_sizes if n] == [1]


async def test_a_task_waits_for_a_member_to_connect(engine: Engine) -> None:
    await one(engine, create("t"))
    inbox = Inbox()

    engine.connect(member(), inbox)

    assert (await soon(inbox.tasks)).task.id == "t"


async def test_a_task_waits_for_a_credit_and_keeps_its_turn(engine: Engine) -> None:
    inbox = Inbox()
    session = engine.connect(member(), inbox)
    for name in ("t1", "t2", "t3"):
        await one(engine, create(name))
    first = await soon(inbox.tasks)
    assert inbox.tasks.empty()

    session.give_back(1)
    second = await soon(inbox.tasks)
    session.give_back(1)
    third = await soon(inbox.tasks)

    assert [first.task.id, second.task.id, third.task.id] == ["t1", "t2", "t3"]


async def test_a_store_that_drops_brings_the_task_back_after_the_retry_interval(
    storage: FailingStorage, now: Now
) -> None:
    profile = Profile(undeliverable=Undeliverable.DROP, retry_interval_ms=700)
    async with running(storage, now, profile=profile) as engine:
        await one(engine, create("t"))
        inbox = Inbox()
        engine.connect(member(), inbox)
        await one(engine, TaskGet(id="t"))
        assert inbox.tasks.empty()

        now.ms += 700
        engine.sweep()

        assert (await soon(inbox.tasks)).task.id == "t"


async def test_a_waiting_task_behind_one_that_was_settled_is_not_forgotten(engine: Engine) -> None:
    inbox = Inbox()
    session = engine.connect(member(), inbox)
    for name in ("t1", "t2", "t3"):
        await one(engine, create(name))
    await soon(inbox.tasks)

    settling = asyncio.ensure_future(
        engine.apply(PromiseSettle(id="t2", state=PromiseState.RESOLVED))
    )
    await asyncio.sleep(0)
    session.give_back(1)  # the look that this starts finds t2, which the same batch settles
    await settling

    assert (await soon(inbox.tasks)).task.id == "t3"


async def test_a_busy_member_beside_a_free_one_does_not_keep_the_store_busy(
    engine: Engine, storage: FailingStorage
) -> None:
    inbox = Inbox()
    engine.connect(member("a", functions=frozenset({"f"})), inbox)
    engine.connect(member("b", functions=frozenset({"g"})), Inbox())
    for name in ("t1", "t2"):
        await one(
            engine,
            PromiseCreate(
                id=name,
                timeout_at_ms=FAR,
                tags=TARGET,
                param=Value(headers={"holdfast-func": "f"}),
            ),
        )
    await soon(inbox.tasks)
    before = len(storage.batch_sizes)

    await asyncio.sleep(0.05)

    assert len(storage.batch_sizes) == before


async def test_a_task_is_found_behind_more_than_one_look_takes(
    storage: FailingStorage, now: Now, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog_module, "LOOK_MAX", 4)
    async with running(storage, now) as engine:
        for n in range(30):
            await one(engine, for_function(f"t{n:02}", "unknown"))
        await one(engine, for_function("t30", "f"))
        inbox = Inbox()

        engine.connect(member(functions=frozenset({"f"})), inbox)

        assert (await soon(inbox.tasks)).task.id == "t30"


def for_function(promise_id: str, func: str) -> Request:
    param = Value(headers={"holdfast-func": func})
    return PromiseCreate(id=promise_id, timeout_at_ms=FAR, tags=TARGET, param=param)


async def test_an_offered_task_stays_pending_and_is_acquired_by_the_member(engine: Engine) -> None:
    inbox = Inbox()
    engine.connect(member(delivery_mode=DeliveryMode.OFFERED), inbox)

    await one(engine, create("t"))
    async with asyncio.timeout(5):
        offer = await inbox.offers.get()

    assert offer == TaskOffer(id="t", version=0, address="poll://any@w")
    done = await one(engine, TaskGet(id="t"))
    assert done.task is not None
    assert done.task.state is TaskState.PENDING


async def test_a_delayed_task_waits_for_its_instant(engine: Engine, now: Now) -> None:
    inbox = Inbox()
    due: list[int] = []
    engine.background.on_due = due.append
    engine.connect(member(), inbox)

    await one(engine, create("t", TARGET | {"resonate:delay": "5000"}))
    assert inbox.tasks.empty()
    assert due == [5_000]
    now.ms = 5_000
    engine.sweep()

    assert (await soon(inbox.tasks)).task.id == "t"


async def test_a_lapsed_lease_gives_the_task_to_another_member(engine: Engine, now: Now) -> None:
    first, second = Inbox(), Inbox()
    engine.connect(member("a"), first)
    await one(engine, create("t"))
    held = (await soon(first.tasks)).task
    engine.connect(member("b"), second)

    now.ms += 500
    engine.sweep()
    again = (await soon(second.tasks)).task

    assert (again.version, again.pid) == (held.version + 1, "b")
    (late,) = await engine.apply(
        TaskFulfill(
            id="t",
            version=held.version,
            action=PromiseSettle(id="t", state=PromiseState.RESOLVED),
        )
    )
    assert isinstance(late, Refusal)
    assert late.status == 409


async def test_a_closed_stream_gives_its_leases_back_after_the_grace(engine: Engine) -> None:
    first, second = Inbox(), Inbox()
    session = engine.connect(member("a"), first)
    await one(engine, create("t"))
    await soon(first.tasks)
    engine.connect(member("b"), second)

    session.close(peer_closed=True)

    assert (await soon(second.tasks)).task.pid == "b"


async def test_a_stream_closed_by_the_store_keeps_its_leases(engine: Engine) -> None:
    first, second = Inbox(), Inbox()
    session = engine.connect(member("a"), first)
    await one(engine, create("t"))
    await soon(first.tasks)
    engine.connect(member("b"), second)

    session.close(peer_closed=False)

    done = await one(engine, TaskGet(id="t"))
    assert done.task is not None
    assert done.task.pid == "a"
    assert second.tasks.empty()


async def test_the_same_instance_keeps_its_leases_over_a_reconnect(
    storage: FailingStorage, now: Now
) -> None:
    async with running(storage, now, stream_grace_ms=1) as engine:
        inbox = Inbox()
        session = engine.connect(member("a"), inbox)
        await one(engine, create("t"))
        await soon(inbox.tasks)

        session.close(peer_closed=True)
        engine.connect(member("a", credits=0), Inbox())
        await asyncio.sleep(0.01)

        done = await one(engine, TaskGet(id="t"))
        assert done.task is not None
        assert (done.task.state, done.task.version) == (TaskState.ACQUIRED, 1)


async def test_another_instance_with_the_same_pid_does_not_inherit_leases(
    storage: FailingStorage, now: Now
) -> None:
    async with running(storage, now, stream_grace_ms=1) as engine:
        inbox, fresh = Inbox(), Inbox()
        session = engine.connect(member("a"), inbox)
        await one(engine, create("t"))
        await soon(inbox.tasks)

        session.close(peer_closed=True)
        engine.connect(member("a", instance="j"), fresh)
        again = await soon(fresh.tasks)

        assert (again.task.version, again.task.instance) == (2, "j")


async def test_a_task_whose_push_was_lost_is_given_again_when_its_member_is_back(
    engine: Engine,
) -> None:
    inbox, again = Inbox(), Inbox()
    session = engine.connect(member("a", credits=2), inbox)
    for name in ("known", "lost"):
        await one(engine, create(name))
        await soon(inbox.tasks)

    session.close(peer_closed=False)
    engine.connect(member("a", credits=1, held=frozenset({("known", 1)})), again)
    push = await soon(again.tasks)

    assert (push.task.id, push.task.version) == ("lost", 2)
    done = await one(engine, TaskGet(id="known"))
    assert done.task is not None
    assert (done.task.state, done.task.version) == (TaskState.ACQUIRED, 1)


async def test_a_task_given_while_its_member_comes_back_is_not_taken_from_it(
    storage: FailingStorage, engine: Engine
) -> None:
    """The member joins while a batch is under way that makes work for it."""
    inbox = Inbox()

    def join() -> None:
        storage.on_load = lambda: None
        engine.connect(member("a", held=frozenset()), inbox)

    storage.on_load = join
    await one(engine, create("t"))
    push = await soon(inbox.tasks)
    await one(engine, PromiseGet(id="t"))  # a batch behind the one that gave leases back

    done = await one(engine, TaskGet(id="t"))
    assert done.task is not None
    assert (push.task.version, done.task.version) == (1, 1)
    assert done.task.state is TaskState.ACQUIRED
    assert inbox.tasks.empty()


async def test_a_lease_taken_over_a_stream_carries_its_instance(engine: Engine) -> None:
    session = engine.connect(member("a", credits=0, groups=("g",)), Inbox())

    done = await submit(
        engine,
        session,
        TaskCreate(
            pid="a", ttl_ms=500, action=PromiseCreate(id="t", timeout_at_ms=FAR, tags=TARGET)
        ),
    )

    assert done.task is not None
    assert done.task.instance == "i"


async def submit(engine: Engine, session: Session, request: Request) -> Done:
    answered: asyncio.Future[Sequence[Outcome]] = asyncio.get_running_loop().create_future()
    engine.submit([request], answered.set_result, session=session)
    (outcome,) = await answered
    assert isinstance(outcome, Done)
    return outcome


async def test_whoever_listens_is_told_of_the_settlement(engine: Engine) -> None:
    inbox = Inbox()
    engine.connect(member("c", groups=("gateway",), credits=0), inbox)
    await one(engine, create("p", EXTERNAL))
    await one(engine, PromiseRegisterListener(awaited="p", address="poll://uni@gateway/c"))

    await one(engine, PromiseSettle(id="p", state=PromiseState.RESOLVED))

    async with asyncio.timeout(5):
        settled = await inbox.settled.get()
    assert (settled.id, settled.state) == ("p", PromiseState.RESOLVED)


async def test_a_settlement_waits_for_a_listener_that_is_away(engine: Engine) -> None:
    await one(engine, create("p", EXTERNAL))
    await one(engine, PromiseRegisterListener(awaited="p", address="poll://uni@gateway/c"))
    await one(engine, PromiseSettle(id="p", state=PromiseState.RESOLVED))
    inbox = Inbox()

    engine.connect(member("c", groups=("gateway",), credits=0), inbox)

    async with asyncio.timeout(5):
        assert (await inbox.settled.get()).id == "p"


async def test_a_suspended_task_is_pushed_with_its_children_when_one_settles(
    engine: Engine,
) -> None:
    inbox = Inbox()
    session = engine.connect(member(), inbox)
    await one(engine, create("t", TARGET | {"resonate:branch": "t"}))
    held = (await soon(inbox.tasks)).task
    child = PromiseCreate(id="t.0", timeout_at_ms=FAR, tags=EXTERNAL | {"resonate:parent": "t"})
    local = PromiseCreate(id="t.1", timeout_at_ms=FAR, tags={"resonate:branch": "t"})
    await engine.apply(
        TaskFence(id="t", version=held.version, action=child),
        TaskFence(id="t", version=held.version, action=local),
        TaskSuspend(
            id="t",
            version=held.version,
            actions=(PromiseRegisterCallback(awaited="t.0", awaiter="t"),),
        ),
    )
    session.give_back(1)

    await one(engine, PromiseSettle(id="t.0", state=PromiseState.RESOLVED))
    push = await soon(inbox.tasks)

    assert push.task.version == held.version + 1
    assert push.preload.complete
    assert [(p.id, p.state.value) for p in push.preload.promises] == [
        ("t.0", "resolved"),
        ("t.1", "pending"),
    ]


async def test_a_redirect_carries_the_children(engine: Engine) -> None:
    inbox = Inbox()
    engine.connect(member(), inbox)
    await one(engine, create("t", TARGET | {"resonate:branch": "t"}))
    held = (await soon(inbox.tasks)).task
    await one(engine, create("t.0", EXTERNAL | {"resonate:parent": "t"}))
    await one(engine, PromiseSettle(id="t.0", state=PromiseState.RESOLVED))

    done = await one(
        engine,
        TaskSuspend(
            id="t",
            version=held.version,
            actions=(PromiseRegisterCallback(awaited="t.0", awaiter="t"),),
        ),
    )

    assert done.status == 300
    assert done.preload is not None
    assert [p.id for p in done.preload.promises] == ["t.0"]


async def test_a_failed_push_gives_the_credit_back(engine: Engine, storage: FailingStorage) -> None:
    inbox = Inbox()
    engine.connect(member(credits=1), inbox)
    storage.failures = [InsertConflict("t")]

    await one(engine, create("t"))

    assert (await soon(inbox.tasks)).task.version == 1
    (status,) = engine.members()
    assert (status.credits, status.held) == (0, 1)


async def test_a_released_task_is_not_dispatched_again_at_once(engine: Engine, now: Now) -> None:
    inbox = Inbox()
    session = engine.connect(member(), inbox)
    await one(engine, create("t"))
    held = (await soon(inbox.tasks)).task

    await one(engine, TaskRelease(id="t", version=held.version))
    session.give_back(1)
    await one(engine, TaskGet(id="t"))
    assert inbox.tasks.empty()
    now.ms += 100
    engine.sweep()

    assert (await soon(inbox.tasks)).task.version == 2


async def test_queue_statistics_count_every_state(engine: Engine) -> None:
    engine.connect(member(credits=1), Inbox())
    for name in ("t1", "t2", "t3"):
        await one(engine, create(name))

    (queue,) = await engine.queues(["w"])

    assert (queue.due, queue.running, queue.members, queue.free_credits) == (2, 1, 1, 0)


async def test_queue_statistics_name_an_unknown_group_with_zeros(engine: Engine) -> None:
    (queue,) = await engine.queues(["nobody"])

    assert (queue.group, queue.due, queue.members) == ("nobody", 0, 0)
