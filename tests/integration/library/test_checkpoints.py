"""What goes to the store, in which order, and in how few transactions."""

import asyncio
import time
from typing import Any

import pytest

from holdfast import Context
from holdfast.core.requests import (
    PromiseCreate,
    TaskFence,
    TaskFulfill,
    TaskHeartbeat,
    TaskSuspend,
)
from tests.integration.library.world import World, each, held, until

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


async def test_a_body_starts_only_after_the_step_before_it_is_durable(world: World) -> None:
    resonate, store = world.recording()
    answered: list[str] = []
    seen: list[list[str]] = []
    submit = store.submit

    def watching(chain: Any, **options: Any) -> Any:
        future = submit(chain, **options)
        future.add_done_callback(
            lambda _: answered.extend(
                r.action.id for r in chain if isinstance(r, TaskFence) and r.action.id
            )
        )
        return future

    store.submit = watching  # type: ignore[method-assign]

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


async def test_an_explicit_id_is_always_asked_for_first(world: World) -> None:
    resonate, store = world.recording()
    explicit = world.new_id("explicit")

    @resonate.register
    def workflow(ctx: Context) -> Any:
        return (yield ctx.run(step, 1, ctx.options(id=explicit)))

    await resonate.run(world.new_id(), workflow)

    assert store.kinds()[1] == [CREATE]


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
    resonate, store = world.recording(ttl=0.3, max_concurrency=2)
    entered: list[str] = []

    def sleeps(ctx: Context) -> None:
        entered.append(ctx.id)
        time.sleep(1.0)

    async def waits(ctx: Context) -> None:
        entered.append(ctx.id)
        await asyncio.sleep(1.0)

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
