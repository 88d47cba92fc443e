"""What goes to the store, in which order, and in how few transactions."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import pytest

from holdfast import Constant, Context, Never, PromiseCanceled
from holdfast.core.requests import (
    PromiseCreate,
    PromiseRecord,
    PromiseSettle,
    Request,
    TaskFence,
    TaskFulfill,
    TaskHeartbeat,
    TaskSuspend,
)
from holdfast.runtime.slow import SlowSteps
from holdfast.runtime.writer import CHAIN_BYTES_MAX
from holdfast.testing.clock import FakeClock
from tests.integration.library.world import (
    RecordingStore,
    World,
    each,
    held,
    until,
    waiting_for_a_thread,
)

CREATE = "PromiseCreate"
RECORD = "PromiseRecord"
"""Created and settled in one write."""
END = "PromiseSettle"
LISTEN = "PromiseRegisterListener"


def step(_ctx: Context, number: int) -> int:
    return number + 1


async def test_one_short_step_and_the_end_are_one_transaction(world: World) -> None:
    resonate, store = world.recording()

    @resonate.register
    def workflow(ctx: Context) -> Any:
        return (yield ctx.run(step, 1))

    await resonate.run(world.new_id(), workflow)

    create, run = store.chains
    assert len(create) == 1
    assert [type(r).__name__ for r in run] == ["TaskFence", "TaskFulfill"]
    assert store.kinds()[1][0] == RECORD


async def test_each_further_step_costs_one_transaction(world: World) -> None:
    resonate, store = world.recording()

    @resonate.register
    def workflow(ctx: Context) -> Any:
        number = 0
        for _ in range(4):
            number = yield ctx.run(step, number)
        return number

    assert await resonate.run(world.new_id(), workflow) == 4

    kinds = store.kinds()[1:]
    assert [k[0] for k in kinds] == [RECORD] * 4
    assert [len(k) for k in kinds] == [1, 1, 1, 2]


def answered_by(store: RecordingStore) -> list[str]:
    """List, as it grows, whose writes under a lease the store has answered."""
    answered: list[str] = []
    submit = store.submit

    def watching(chain: Any, **options: Any) -> Any:
        future = submit(chain, **options)
        future.add_done_callback(
            lambda _: answered.extend(r.action.id for r in chain if isinstance(r, TaskFence))
        )
        return future

    store.submit = watching  # type: ignore[method-assign]
    return answered


def announced(store: RecordingStore) -> list[str]:
    """List whose creation alone was asked for under a lease."""
    fences = [r for r in store.requests if isinstance(r, TaskFence)]
    return [r.action.id for r in fences if isinstance(r.action, PromiseCreate)]


async def test_a_body_starts_only_after_the_step_before_it_is_durable(world: World) -> None:
    resonate, store = world.recording()
    answered = answered_by(store)
    seen: list[list[str]] = []

    @resonate.register
    def workflow(ctx: Context) -> Any:
        for _ in range(3):
            yield ctx.run(lambda ctx: seen.append(list(answered)))

    root = world.new_id()
    await resonate.run(root, workflow)

    assert seen[0] == []
    assert f"{root}.0" in seen[1]
    assert f"{root}.1" in seen[2]


async def test_a_remote_call_and_the_suspend_share_a_transaction(world: World) -> None:
    resonate, store = world.recording()
    resonate.register("child", lambda ctx: 7)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        first = yield ctx.run(step, 1)
        second = yield ctx.rpc("child")
        return [first, second]

    assert await resonate.run(world.new_id(), workflow) == [2, 7]

    (suspending,) = [c for c in store.chains if isinstance(c[-1], TaskSuspend)]
    assert [type(r).__name__ for r in suspending] == ["TaskFence"] * 2 + ["TaskSuspend"]


async def test_a_fan_out_is_created_by_one_transaction_and_never_again(world: World) -> None:
    """S18: with or without the parked body, 200 children are created 200 times in all."""
    resonate, store = world.recording()
    resonate.register("child", lambda ctx, n: n)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        futures = yield from each(ctx.begin_rpc("child", number) for number in range(200))
        return sum((yield from each(futures)))

    root = world.new_id()
    assert await resonate.run(root, workflow) == sum(range(200))

    creates = [
        r
        for r in store.requests
        if isinstance(r, TaskFence) and r.id == root and isinstance(r.action, PromiseCreate)
    ]
    assert len(creates) == 200
    biggest = max(store.chains, key=len)
    assert len(biggest) == 201
    assert isinstance(biggest[-1], TaskSuspend)


async def test_a_fan_out_beyond_a_chains_limit_is_split(world: World) -> None:
    resonate, store = world.recording()
    resonate.register("child", lambda ctx, n: n)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        futures = yield from each(ctx.begin_rpc("child", number) for number in range(300))
        return len(futures)

    assert await resonate.run(world.new_id(), workflow) == 300

    assert max(len(chain) for chain in store.chains) <= 256


async def test_local_children_of_a_fan_out_are_recorded_together(world: World) -> None:
    resonate, store = world.recording()

    async def quick(_ctx: Context, number: int) -> int:
        return number

    @resonate.register
    def workflow(ctx: Context) -> Any:
        futures = yield from each(ctx.begin_run(quick, number) for number in range(100))
        return sum((yield from each(futures)))

    assert await resonate.run(world.new_id(), workflow) == sum(range(100))

    assert len(store.chains) <= 5


@pytest.mark.parametrize("large", ["values", "arguments", "tags"])
async def test_a_fan_out_of_much_data_is_split(world: World, large: str) -> None:
    """Together it is more than a message of a remote store may hold."""
    resonate, store = world.recording()
    text = "x" * 60_000

    async def quick(_ctx: Context, _number: int) -> str:
        return text

    resonate.register("child", lambda ctx, text: 1)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        tagged = ctx.options(tags={"note": text})
        begins: dict[str, Callable[[int], Any]] = {
            "values": lambda number: ctx.begin_run(quick, number),
            "arguments": lambda _: ctx.begin_rpc("child", text),
            "tags": lambda _: ctx.begin_rpc("child", "", tagged),
        }
        futures = yield from each(begins[large](number) for number in range(80))
        return len((yield from each(futures)))

    assert await resonate.run(world.new_id(), workflow) == 80
    assert max(len(chain) for chain in store.chains) > 20
    assert max(carried(chain) for chain in store.chains) <= CHAIN_BYTES_MAX


def carried(chain: Sequence[Request]) -> int:
    """Count the payloads and tags of the children in a chain."""
    size = 0
    for request in chain:
        if isinstance(request, TaskFence):
            action = request.action
            create = action.create if isinstance(action, PromiseRecord) else action
            if isinstance(action, PromiseRecord | PromiseSettle):
                size += len(action.value.data or b"")
            if isinstance(create, PromiseCreate):
                size += len(create.param.data or b"") + sum(map(len, create.tags.values()))
    return size


async def test_a_step_that_takes_long_becomes_visible_while_it_runs(world: World) -> None:
    resonate, store = world.recording(slow_step_ms=5)
    going = asyncio.Event()

    async def slow(_ctx: Context) -> int:
        await going.wait()
        return 1

    @resonate.register
    def workflow(ctx: Context) -> Any:
        return (yield ctx.run(slow))

    root = world.new_id()
    handle = await resonate.begin_run(root, workflow)
    await store.until(TaskFence)
    seen = await world.existing(resonate, f"{root}.0")
    going.set()

    assert seen.is_pending
    assert await handle == 1
    assert store.kinds()[1] == [CREATE]


@pytest.mark.parametrize("kind", [None, "step"], ids=["in a thread", "registered as a step"])
async def test_a_step_of_any_kind_becomes_visible_while_it_runs(
    world: World, kind: Literal["step"] | None
) -> None:
    resonate, store = world.recording(slow_step_ms=5)
    going = threading.Event()

    def plain(_ctx: Context) -> int:
        going.wait()
        return 1

    async def awaiting(_ctx: Context) -> int:
        return await asyncio.to_thread(going.wait)

    slow = plain if kind is None else resonate.register(awaiting, kind=kind)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        return (yield ctx.run(slow))

    handle = await resonate.begin_run(world.new_id(), workflow)
    await store.until(TaskFence)
    going.set()

    assert await handle == 1
    assert store.kinds()[1] == [CREATE]


async def test_a_step_that_waits_for_nothing_sets_no_timer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    resonate, _ = world.recording()
    watched: list[object] = []
    monkeypatch.setattr(SlowSteps, "watch", lambda _self, _run, child: watched.append(child))

    async def at_once(_ctx: Context) -> int:
        return 1

    async def after_a_turn(_ctx: Context) -> int:
        await asyncio.sleep(0)
        return 2

    @resonate.register
    def workflow(ctx: Context) -> Any:
        return [(yield ctx.run(at_once)), (yield ctx.run(after_a_turn))]

    root = world.new_id()
    assert await resonate.run(root, workflow) == [1, 2]
    assert [cast("Any", child).id for child in watched] == [f"{root}.1"]


async def test_without_a_safe_lease_a_step_is_announced_before_it_runs(world: World) -> None:
    resonate, store = world.recording(lease_margin=60.0, ttl=60.0)
    seen: list[int] = []

    @resonate.register
    def workflow(ctx: Context) -> Any:
        return (yield ctx.run(lambda ctx: seen.append(len(store.chains))))

    await resonate.run(world.new_id(), workflow)

    assert [type(r).__name__ for r in store.chains[1]] == ["TaskFence"]
    assert store.kinds()[1] == [CREATE]
    assert seen == [2]


async def test_what_is_announced_first_is_durable_before_the_body_starts(world: World) -> None:
    resonate, store = world.recording(lease_margin=60.0, ttl=60.0)
    answered = answered_by(store)
    seen: list[list[str]] = []

    async def looks(_ctx: Context) -> None:
        seen.append(list(answered))

    @resonate.register
    def workflow(ctx: Context) -> Any:
        return (yield ctx.run(looks))

    root = world.new_id()
    await resonate.run(root, workflow)

    assert seen == [[f"{root}.0"]]


@pytest.mark.parametrize("margin", [15.0, 60.0])
async def test_without_a_safe_lease_a_step_is_announced_again_that_an_earlier_pass_began(
    world: World, margin: float
) -> None:
    resonate, store = world.recording(lease_margin=margin, ttl=60.0)
    root = world.new_id()
    seen: list[list[str]] = []

    @resonate.register
    def workflow(ctx: Context) -> Any:
        return (yield ctx.run(lambda ctx: seen.append(announced(store))))

    lineage = {f"resonate:{name}": root for name in ("origin", "branch", "parent")}
    await resonate.promises.create(f"{root}.0", tags={"resonate:scope": "local", **lineage})
    await (await resonate.begin_rpc(root, workflow))

    assert seen == ([[f"{root}.0"]] if margin == 60.0 else [[]])
    assert [END, "TaskFulfill"] in store.kinds()


async def test_a_store_lost_while_a_checkpoint_is_written_makes_the_next_step_announced(
    world: World,
) -> None:
    resonate, store = world.recording()
    submit = store.submit

    def losing(chain: Any, **options: Any) -> Any:
        future = submit(chain, **options)
        if isinstance(chain[0], TaskFence) and isinstance(chain[0].action, PromiseRecord):
            store.receiver.on_disconnected()  # type: ignore[union-attr]
        return future

    store.submit = losing  # type: ignore[method-assign]

    @resonate.register
    def workflow(ctx: Context) -> Any:
        yield ctx.run(step, 1)
        yield ctx.run(step, 2)

    root = world.new_id()
    await resonate.run(root, workflow)

    assert announced(store) == [f"{root}.1"]


async def test_a_disconnected_process_starts_no_body_unannounced(world: World) -> None:
    resonate, store = world.recording()
    seen: list[int] = []

    @resonate.register
    def workflow(ctx: Context) -> Any:
        yield ctx.run(step, 1)
        store.receiver.on_disconnected()  # type: ignore[union-attr]
        yield ctx.run(lambda ctx: seen.append(len(store.chains)))

    await resonate.run(world.new_id(), workflow)

    assert store.kinds()[1] == [RECORD, CREATE]
    assert seen == [2]


async def test_an_answer_vouches_for_the_instant_at_which_its_chain_was_sent(world: World) -> None:
    """The store has seen the chain between the two; a lease may be as old as the first."""
    clock = FakeClock()
    resonate, store = world.recording(clock=clock)
    submit = store.submit

    def takes_long(chain: Any, **options: Any) -> Any:
        future = submit(chain, **options)
        if isinstance(chain[0], TaskFence):
            clock.advance(5)
        return future

    store.submit = takes_long  # type: ignore[method-assign]

    @resonate.register
    def workflow(ctx: Context) -> Any:
        return (yield ctx.run(step, 1))

    await resonate.run(world.new_id(), workflow)

    worker = resonate._worker
    assert worker is not None
    assert (clock.monotonic(), worker.leases.acknowledged_at) == (5, 0)


async def test_after_a_break_a_lease_is_believed_in_when_a_write_has_proven_it(
    world: World,
) -> None:
    """The store may have given it to another process: heartbeats do not tell."""
    resonate, store = world.recording()

    @resonate.register
    def workflow(ctx: Context) -> Any:
        yield ctx.run(step, 1)
        store.receiver.on_disconnected()  # type: ignore[union-attr]
        store.receiver.on_connected()  # type: ignore[union-attr]
        yield ctx.run(step, 2)
        yield ctx.run(step, 3)

    await resonate.run(world.new_id(), workflow)

    assert store.kinds()[1:] == [[RECORD, CREATE], [END], [RECORD, "TaskFulfill"]]


@pytest.mark.parametrize("lost", [False, True])
async def test_after_a_break_another_attempt_starts_only_under_a_proven_lease(
    world: World, *, lost: bool
) -> None:
    clock = FakeClock()
    resonate, store = world.recording(clock=clock)
    root = world.new_id()
    attempts: list[str] = []

    def fails(ctx: Context) -> None:
        attempts.append(ctx.id)
        raise OSError("no")

    @resonate.register
    def workflow(ctx: Context) -> Any:
        policy = Constant(delay=1, max_retries=1)
        yield ctx.run(fails, ctx.options(retry_policy=policy))

    handle = await resonate.begin_run(root, workflow)
    await clock.someone_sleeps()
    await world.existing(resonate, f"{root}.0")
    store.receiver.on_disconnected()  # type: ignore[union-attr]
    store.receiver.on_connected()  # type: ignore[union-attr]
    if lost:
        await resonate.promises.cancel(root)
    clock.advance(1)
    with pytest.raises(PromiseCanceled if lost else OSError):
        await handle.result(timeout=10)
    await until(lambda: held(resonate) == 0)

    assert len(attempts) == (1 if lost else 2)


async def test_a_body_that_waited_for_a_thread_starts_no_more_without_a_safe_lease(
    world: World,
) -> None:
    """Its turn may come minutes after it was found that it may start."""
    resonate, store = world.recording(max_concurrency=1)
    may_end = threading.Event()
    seen: list[list[str]] = []

    def busy(_ctx: Context) -> None:
        may_end.wait(20)

    def queued(_ctx: Context) -> None:
        seen.append(announced(store))

    @resonate.register
    def workflow(ctx: Context) -> Any:
        futures = yield from each([ctx.begin_run(busy), ctx.begin_run(queued)])
        yield from each(futures)
        return "done"

    root = world.new_id()
    handle = await resonate.begin_run(root, workflow)
    await until(lambda: waiting_for_a_thread(resonate) == 1)
    store.receiver.on_disconnected()  # type: ignore[union-attr]
    may_end.set()

    assert await handle.result(timeout=10) == "done"
    assert seen == [[f"{root}.1"]]


@pytest.mark.parametrize("why", ["an explicit id", "tags", "a long id"])
async def test_what_the_store_may_have_or_may_refuse_is_always_asked_for_first(
    world: World, why: str
) -> None:
    resonate, store = world.recording()
    explicit = world.new_id("explicit")
    root = world.new_id("x" * 200 if why == "a long id" else "run")

    @resonate.register
    def workflow(ctx: Context) -> Any:
        options = {
            "an explicit id": ctx.options(id=explicit),
            "tags": ctx.options(tags={"team": "a"}),
            "a long id": ctx.options(),
        }[why]
        return (yield ctx.run(step, 1, options))

    await resonate.run(root, workflow)

    assert store.kinds()[1] == [CREATE]


async def test_what_was_begun_does_not_wait_for_the_next_body(world: World) -> None:
    resonate, _ = world.recording()
    resonate.register("child", lambda ctx: 1)
    root = world.new_id()

    async def needs_the_child(_ctx: Context) -> bool:
        async with asyncio.timeout(10):
            await world.existing(resonate, f"{root}.0")
        return True

    @resonate.register
    def workflow(ctx: Context) -> Any:
        child = yield ctx.begin_rpc("child")
        was_there = yield ctx.run(needs_the_child, ctx.options(retry_policy=Never()))
        yield child
        return was_there

    assert await resonate.run(root, workflow) is True


async def test_a_body_at_its_end_waits_once_for_all_its_children(world: World) -> None:
    resonate, store = world.recording()

    @resonate.register
    def workflow(ctx: Context) -> Any:
        for n in range(5):
            yield ctx.promise(timeout=0.02 * n + 0.01)

    await resonate.run(world.new_id(), workflow)

    suspends = [r for r in store.requests if isinstance(r, TaskSuspend)]
    assert len(suspends) == 1
    assert suspends[0].wait_mode.value == "all_settled"


@pytest.mark.parametrize("step", ["sync", "async"])
async def test_a_pass_longer_than_its_lease_is_entered_once(world: World, step: str) -> None:
    """S5: heartbeats cover every held task, pushed or begun here, busy threads or not."""
    # A busy machine holds a process up for longer than a part of a short lease.
    resonate, store = world.recording(ttl=1.0, max_concurrency=2)
    entered: list[str] = []

    def sleeps(ctx: Context) -> None:
        entered.append(ctx.id)
        time.sleep(2.5)

    async def waits(ctx: Context) -> None:
        entered.append(ctx.id)
        await asyncio.sleep(2.5)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        yield ctx.run(sleeps if step == "sync" else waits)
        return "done"

    local = await resonate.begin_run(world.new_id(), workflow)
    pushed = await resonate.begin_rpc(world.new_id(), workflow)

    assert [await local, await pushed] == ["done", "done"]
    assert sorted(entered) == sorted([f"{local.id}.0", f"{pushed.id}.0"])
    assert len([r for r in store.requests if isinstance(r, TaskHeartbeat)]) >= 3
    assert all(
        ref.version == 1 for r in store.requests if isinstance(r, TaskHeartbeat) for ref in r.tasks
    )


async def test_a_lost_lease_stops_the_pass_and_is_never_seen_by_user_code(world: World) -> None:
    resonate, store = world.recording()
    seen: list[BaseException] = []
    ran: list[int] = []

    async def settles_its_root(ctx: Context) -> None:
        await resonate.promises.cancel(ctx.origin_id)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        try:
            yield ctx.run(settles_its_root)
            yield ctx.run(lambda ctx: ran.append(1))
        except BaseException as error:
            seen.append(error)
            raise

    handle = await resonate.begin_run(world.new_id(), workflow)
    with pytest.raises(Exception, match="canceled"):
        await handle.result(timeout=10)
    await store.until(TaskFence)
    await until(lambda: held(resonate) == 0)

    assert ran == []
    assert [type(e) for e in seen] in ([], [GeneratorExit])
    assert not [r for r in store.requests if isinstance(r, TaskFulfill)]
