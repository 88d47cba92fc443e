"""What a run does when the store fails, refuses, or loses its answers."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from holdfast import Codec, Context, PromiseCanceled, Resonate, ServerUnavailable
from holdfast.core.membership import Member
from holdfast.core.records import TARGET, PromiseState, ReleaseReason
from holdfast.core.requests import (
    SKIPPED,
    PromiseCreate,
    PromiseGet,
    PromiseRecord,
    PromiseRegisterListener,
    PromiseSettle,
    Refusal,
    Request,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskRelease,
    TaskSuspend,
)
from holdfast.core.search import (
    PromisePage,
    PromiseSearch,
    SchedulePage,
    ScheduleSearch,
    TaskPage,
    TaskSearch,
)
from holdfast.embedded import open_embedded
from holdfast.errors import InvalidRequest, PermissionDenied
from holdfast.meter import StepEnd, TaskEnd
from holdfast.port import Answer, Receiver, Store
from tests.integration.library.world import World, each, held, until

Fault = Callable[[Sequence[Request]], str | Refusal | Exception | None]


class FaultyStore:
    """A real store whose answers, or requests, can be tampered with once each.

    A fault looks at a chain and answers what goes wrong: `lost` (nothing arrives), `unanswered`
    (it happens, but nobody learns), `resent` (that, and a second sending is answered), a refusal
    of the whole chain, an exception, or `None`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.faults: list[Fault] = []
        self.chains: list[Sequence[Request]] = []

    async def start(self, member: Member, receiver: Receiver) -> None:
        await self._store.start(member, receiver)

    def submit(
        self, chain: Sequence[Request], *, credits: int = 0, timeout: float | None = None
    ) -> "asyncio.Future[Answer]":
        self.chains.append(chain)
        for fault in self.faults:
            verdict = fault(chain)
            if verdict is not None:
                self.faults.remove(fault)
                return asyncio.ensure_future(self._fail(chain, verdict))
        return self._store.submit(chain, credits=credits, timeout=timeout)

    async def _fail(self, chain: Sequence[Request], verdict: str | Refusal | Exception) -> Answer:
        if isinstance(verdict, Exception):
            raise verdict
        if isinstance(verdict, Refusal):
            return Answer(outcomes=[verdict, *[SKIPPED] * (len(chain) - 1)])
        if verdict != "lost":
            await self._store.submit(chain)
        if verdict == "resent":
            return replace(await self._store.submit(chain), resent=True)
        raise ServerUnavailable("nothing came back")

    async def search_promises(self, search: PromiseSearch) -> PromisePage | Refusal:
        return await self._store.search_promises(search)

    async def search_tasks(self, search: TaskSearch) -> TaskPage | Refusal:
        return await self._store.search_tasks(search)

    async def search_schedules(self, search: ScheduleSearch) -> SchedulePage | Refusal:
        return await self._store.search_schedules(search)

    def give_back(self, credits: int) -> None:
        self._store.give_back(credits)

    def drain(self) -> None:
        self._store.drain()

    async def close(self) -> None:
        await self._store.close()


def ends_with(kind: type, verdict: str | Refusal | Exception) -> Fault:
    return lambda chain: verdict if isinstance(chain[-1], kind) else None


def has_record(verdict: str | Refusal | Exception) -> Fault:
    return lambda chain: (
        verdict
        if any(isinstance(r, TaskFence) and isinstance(r.action, PromiseRecord) for r in chain)
        else None
    )


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore(open_embedded(":memory:"))


@pytest.fixture
async def world(store: FaultyStore, tmp_path: Any) -> Any:
    world = World(kind="memory", url=None, file=tmp_path / "unused", replays=False)
    yield world
    await world.close()


def client(world: World, store: FaultyStore, **options: Any) -> Resonate:
    return world.client(embedded=None, store=store, slow_step_ms=60_000, **options)


def busy(status: int) -> Refusal:
    return Refusal(status=status, code="busy", message="later")


@pytest.mark.parametrize(
    "verdict",
    ["lost", "unanswered", "resent", busy(429), busy(503), busy(500)],
    ids=lambda v: v if isinstance(v, str) else str(v.status),
)
@pytest.mark.parametrize("when", ["step", "suspend", "end"])
async def test_every_body_runs_once_whatever_happens_to_one_message(
    world: World, store: FaultyStore, verdict: str | Refusal, when: str
) -> None:
    ran: list[str] = []
    resonate = client(world, store, ttl=1)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        yield ctx.run(lambda ctx: ran.append("one"))
        yield ctx.run(lambda ctx: ran.append("two"))
        yield ctx.sleep(0.01)
        yield ctx.run(lambda ctx: ran.append("three"))
        return "done"

    store.faults.append(
        {
            "step": has_record(verdict),
            "suspend": ends_with(TaskSuspend, verdict),
            "end": ends_with(TaskFulfill, verdict),
        }[when]
    )

    assert await resonate.run("run", workflow) == "done"
    assert store.faults == []
    assert ran == ["one", "two", "three"]


async def test_a_lost_answer_to_the_creation_of_a_run_is_adopted(
    world: World, store: FaultyStore
) -> None:
    resonate = client(world, store)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        return (yield ctx.run(lambda ctx: "value"))

    store.faults.append(ends_with(TaskCreate, "resent"))

    handle = await resonate.begin_run("run", workflow)

    assert await handle.result(timeout=5) == "value"


async def test_what_was_adopted_is_leased_anew(world: World, store: FaultyStore) -> None:
    """The pid of the lease does not tell which process it was given to: the version does."""
    resonate = client(world, store)
    running, may_end = asyncio.Event(), asyncio.Event()

    async def step(_ctx: Context) -> str:
        running.set()
        await may_end.wait()
        return "value"

    @resonate.register
    def workflow(ctx: Context) -> Any:
        return (yield ctx.run(step))

    store.faults.append(ends_with(TaskCreate, "resent"))
    handle = await resonate.begin_run("run", workflow)
    await running.wait()

    twin = TaskFence(id="run", version=1, action=PromiseCreate(id="twin", timeout_at_ms=2**50))
    refused = (await store.submit([twin])).outcomes[0]
    may_end.set()

    assert isinstance(refused, Refusal)
    assert (refused.status, refused.code) == (409, "version_conflict")
    assert await handle.result(timeout=5) == "value"


async def test_of_two_calls_with_lost_answers_one_adopts(world: World, store: FaultyStore) -> None:
    entered: list[str] = []
    resonate = client(world, store)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        entered.append(ctx.id)
        return (yield ctx.run(lambda ctx: "value"))

    store.faults += [ends_with(TaskCreate, "resent") for _ in range(2)]
    handles = await asyncio.gather(*(resonate.begin_run("run", workflow) for _ in range(2)))

    assert await asyncio.gather(*(h.result(timeout=5) for h in handles)) == ["value"] * 2
    assert entered == ["run"]


async def test_a_task_of_another_process_is_not_adopted(world: World, store: FaultyStore) -> None:
    resonate = client(world, store)
    resonate.register("callee", lambda ctx: "value")
    await resonate.start()
    action = PromiseCreate(id="run", timeout_at_ms=2**50, tags={TARGET: "poll://any@elsewhere"})
    await store.submit([TaskCreate(pid="somebody", ttl_ms=60_000, action=action)])
    store.faults.append(ends_with(TaskCreate, "resent"))

    handle = await resonate.begin_run("run", "callee")
    task = (await store.submit([TaskGet(id="run")])).outcomes[0].task  # type: ignore[union-attr]

    assert not handle.created
    assert task is not None
    assert (task.pid, task.version) == ("somebody", 1)


class Ends:
    """A meter that remembers how tasks ended."""

    def __init__(self) -> None:
        self.tasks: list[TaskEnd] = []

    def task_ended(self, *, func: str, outcome: TaskEnd) -> None:
        self.tasks.append(outcome)

    def step_ended(self, *, func: str, outcome: StepEnd, seconds: float) -> None: ...


@pytest.mark.parametrize("verdict", ["resent", "unanswered"])
@pytest.mark.parametrize("steps", [0, 1])
async def test_a_lost_answer_to_the_end_of_a_run_is_made_up_for_by_reading_the_promise(
    world: World, store: FaultyStore, steps: int, verdict: str
) -> None:
    """With a step its record is what the second sending is refused at; without one the end is."""
    ends = Ends()
    resonate = client(world, store, meter=ends)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        yield ctx.sleep(0)
        for _ in range(steps):
            yield ctx.run(lambda ctx: None)
        return "done"

    store.faults.append(ends_with(TaskFulfill, verdict))

    assert await resonate.run("run", workflow) == "done"
    assert store.faults == []
    assert [end for end in ends.tasks if end != "suspended"] == ["resolved"]
    assert not any(isinstance(r, PromiseRegisterListener) for c in store.chains for r in c)


async def test_a_run_that_somebody_else_ended_is_given_up_although_its_answer_was_lost(
    world: World, store: FaultyStore
) -> None:
    ends = Ends()
    resonate = client(world, store, meter=ends)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        yield ctx.run(lambda ctx: None)
        return "done"

    def cancel_first(chain: Sequence[Request]) -> str | None:
        if not isinstance(chain[-1], TaskFulfill):
            return None
        store.submit([PromiseSettle(id="run", state=PromiseState.REJECTED_CANCELED)])
        return "resent"

    store.faults.append(cancel_first)

    with pytest.raises(PromiseCanceled):
        await resonate.run("run", workflow)
    assert ends.tasks == ["lost"]


async def test_a_run_that_is_begun_again_while_it_is_parked_goes_on_where_it_was(
    world: World, store: FaultyStore
) -> None:
    """An entry that stayed parked would be overwritten, and its strands would never end."""
    entered: list[str] = []
    resonate = client(world, store, accept_tasks=False)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        entered.append(ctx.id)
        first = yield (yield ctx.promise(id="first"))
        second = yield (yield ctx.promise(id="second"))
        return [first, second]

    handle = await resonate.begin_run("run", workflow)
    for gate in ("first", "second"):
        await world.existing(resonate, gate)
        await until(lambda: held(resonate) == 0)
        await resonate.promises.resolve(gate, gate)  # nobody has room for the task then
        await resonate.begin_run("run", workflow)

    assert await handle.result(timeout=5) == ["first", "second"]
    assert entered == ["run"]


async def test_a_lost_lease_is_not_fought_over(world: World, store: FaultyStore) -> None:
    resonate = client(world, store)
    ran: list[str] = []

    @resonate.register
    def workflow(ctx: Context) -> Any:
        ran.append(ctx.id)
        yield ctx.run(lambda ctx: 1)
        return "done"

    conflict = Refusal(status=409, code="version_conflict", message="another version")
    store.faults.append(has_record(conflict))

    handle = await resonate.begin_run("run", workflow)
    with pytest.raises(TimeoutError):
        await handle.result(timeout=0.1)

    assert ran == ["run"]
    assert not any(isinstance(r, (TaskRelease, TaskHalt)) for c in store.chains for r in c)
    assert held(resonate) == 0


async def test_a_store_that_fails_for_good_is_given_up(world: World, store: FaultyStore) -> None:
    resonate = client(world, store)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        yield ctx.run(lambda ctx: 1)

    store.faults += [has_record(busy(500)) for _ in range(5)]

    await resonate.begin_run("run", workflow)
    await until(lambda: not store.faults and held(resonate) == 0)

    assert not any(isinstance(r, TaskFulfill) and len(c) == 1 for c in store.chains for r in c)


async def test_a_store_that_no_longer_lets_us_in_ends_the_run_here(
    world: World, store: FaultyStore
) -> None:
    resonate = client(world, store)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        yield ctx.run(lambda ctx: 1)

    store.faults.append(has_record(PermissionDenied("the token ran out")))

    handle = await resonate.begin_run("run", workflow)
    await until(lambda: not store.faults and held(resonate) == 0)

    assert await handle.state() == "pending"


async def test_runs_whose_leases_can_never_be_extended_again_are_let_go(
    world: World, store: FaultyStore
) -> None:
    """As when another process took this one's pid: nothing that they do can be recorded."""
    ends = Ends()
    resonate = client(world, store, ttl=0.3, meter=ends)
    may_end = asyncio.Event()

    async def step(_ctx: Context) -> None:
        await may_end.wait()

    @resonate.register
    def workflow(ctx: Context) -> Any:
        yield ctx.run(step)

    over = ServerUnavailable("another process has this pid", code="replaced", retriable=False)
    store.faults.append(ends_with(TaskHeartbeat, over))
    await resonate.begin_run("run", workflow)
    await until(lambda: held(resonate) == 0)

    assert store.faults == []
    assert ends.tasks == ["abandoned"]


async def test_a_task_that_cannot_even_be_begun_keeps_neither_lease_nor_credit(
    world: World, store: FaultyStore
) -> None:
    class Broken(Codec):
        def decode(self, data: bytes | None) -> object:
            if data == b"IngiCg==":
                raise RuntimeError("a defect")
            return super().decode(data)

    resonate = client(world, store, codec=Broken(), max_concurrency=1)
    resonate.register("callee", lambda _ctx: "value")
    target = {TARGET: f"poll://any@{world.group}"}
    await resonate.promises.create("broken", data="IngiCg==", raw=True, tags=target)
    await until(lambda: any(isinstance(r, TaskRelease) for c in store.chains for r in c))

    assert await resonate.rpc("run", "callee") == "value"
    [release] = [r for c in store.chains for r in c if isinstance(r, TaskRelease)]
    assert release.reason is ReleaseReason.CRASHED
    assert release.not_before_ms is not None


async def test_a_child_that_the_store_refuses_fails_where_it_is_awaited(
    world: World, store: FaultyStore
) -> None:
    resonate = client(world, store)
    resonate.register("child", lambda ctx: 1)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        good = yield ctx.begin_rpc("child")
        try:
            yield ctx.rpc("child", ctx.options(tags={"resonate:target": "no address"}))
        except InvalidRequest as error:
            return [error.code, (yield good)]

    assert await resonate.run("run", workflow) == ["invalid_address", 1]


async def test_a_result_that_the_store_finds_too_large_is_a_visible_failure(
    world: World, store: FaultyStore
) -> None:
    resonate = client(world, store)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        yield ctx.sleep(0)
        return "x"

    too_large = Refusal(status=400, code="value_too_large", message="value must have at most 1")
    store.faults.append(ends_with(TaskFulfill, too_large))

    with pytest.raises(Exception, match="value must have at most 1") as caught:
        await resonate.run("run", workflow)

    assert getattr(caught.value, "code", None) == "value_too_large"


@pytest.mark.parametrize("then", ["another step", "the end"])
async def test_a_step_settled_by_somebody_else_is_replayed_with_their_value(
    world: World, store: FaultyStore, then: str
) -> None:
    """Our value must not count, not even in the transaction that should have recorded it."""
    resonate = client(world, store)
    seen: list[object] = []

    async def overtaken(ctx: Context) -> str:
        # An operator settles the step while it runs: first come, first served.
        await resonate.promises.create(ctx.id, tags={"resonate:scope": "local"})
        await resonate.promises.resolve(ctx.id, "theirs")
        return "ours"

    @resonate.register
    def workflow(ctx: Context) -> Any:
        seen.append((yield ctx.run(overtaken)))
        if then == "another step":
            yield ctx.run(lambda ctx: None)
        return seen[-1]

    assert await resonate.run("run", workflow) == "theirs"
    assert seen == ["ours", "theirs"]


async def test_close_to_its_deadline_a_step_waits_for_the_stores_word(
    world: World, store: FaultyStore
) -> None:
    resonate = client(world, store)
    passed_on: list[object] = []

    async def late(_ctx: Context) -> str:
        await asyncio.sleep(0.3)
        return "too late"

    @resonate.register
    def workflow(ctx: Context) -> Any:
        try:
            passed_on.append((yield ctx.run(late, ctx.options(timeout=0.1))))
        except Exception as error:  # noqa: BLE001 - its name is the result
            return type(error).__name__

    assert await resonate.run("run", workflow) == "PromiseTimedOut"
    assert passed_on == []


async def test_a_listener_that_is_refused_is_replaced_by_polling(
    world: World, store: FaultyStore
) -> None:
    resonate = client(world, store)
    await resonate.start()
    await store.submit([PromiseCreate(id="internal", timeout_at_ms=2**50)])
    handle = await resonate.get("internal")
    waiting = asyncio.create_task(handle.result(timeout=10))

    await asyncio.sleep(0.2)
    await resonate.promises.resolve("internal", 5)

    assert await waiting == 5


async def test_a_wake_up_whose_preload_was_cut_reads_what_it_waits_for(
    world: World, store: FaultyStore
) -> None:
    resonate = client(world, store)
    big = "x" * 600_000
    resonate.register("child", lambda ctx, text: text)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        futures = yield from each(ctx.begin_rpc("child", big) for _ in range(4))
        return sum(len(text) for text in (yield from each(futures)))

    assert await resonate.run("run", workflow) == 4 * len(big)


async def test_a_state_that_is_final_is_known_without_asking(
    world: World, store: FaultyStore
) -> None:
    resonate = client(world, store)
    resonate.register("child", lambda ctx: 1)
    handle = await resonate.begin_run("run", "child")
    await handle
    asked = len(store.chains)

    assert await handle.done()
    assert await handle.state() == PromiseState.RESOLVED.value
    assert len(store.chains) == asked


async def test_done_of_an_unreachable_store_raises(world: World, store: FaultyStore) -> None:
    resonate = client(world, store)

    @resonate.register
    def forever(ctx: Context) -> Any:
        yield (yield ctx.promise())

    handle = await resonate.begin_run("run", forever)
    store.faults.append(ends_with(PromiseGet, "lost"))

    with pytest.raises(ServerUnavailable):
        await handle.done()


def is_listing(verdict: str) -> Fault:
    """Tamper with the chain by which whoever cancels learns of children."""
    return lambda chain: (
        verdict if isinstance(chain[0], TaskCreate) and ".canceled-" in chain[0].action.id else None
    )


@pytest.mark.parametrize("times", [1, 2])
async def test_what_is_beneath_is_canceled_although_the_answer_that_listed_it_was_lost(
    world: World, store: FaultyStore, times: int
) -> None:
    """Sent again, the listing finds itself done and is answered without the records."""
    resonate = client(world, store)

    def parent(ctx: Context, gate: str) -> Any:
        yield (yield ctx.promise(id=gate))

    resonate.register("parent", parent)
    run_id, gate = world.new_id(), world.new_id("gate")
    handle = await resonate.begin_run(run_id, "parent", gate)
    await world.existing(resonate, gate)
    store.faults += [is_listing("resent") for _ in range(times)]

    assert await handle.cancel()

    assert (await resonate.promises.get(gate)).state == "rejected_canceled"


async def test_a_cancel_that_never_learns_what_is_beneath_says_so(
    world: World, store: FaultyStore
) -> None:
    resonate = client(world, store)
    run_id = world.new_id()
    await resonate.promises.create(run_id)
    handle = await resonate.get(run_id)
    store.faults += [is_listing("resent") for _ in range(9)]

    with pytest.raises(ServerUnavailable, match="each answer was lost"):
        await handle.cancel()
