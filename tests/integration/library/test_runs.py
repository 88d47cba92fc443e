"""Starting, joining, finding and waiting for runs."""

import asyncio
import time
from typing import Any

import pytest

from holdfast import (
    Context,
    FunctionNotRegistered,
    IdempotencyConflict,
    Never,
    PromiseCanceled,
    PromiseNotFound,
    PromiseTimedOut,
    RemoteError,
    Resonate,
    ServerUnavailable,
    register_error,
)
from tests.integration.library.world import World


@register_error
class OutOfStock(Exception):
    pass


class Unknown(Exception):
    pass


def double(_ctx: Context, number: int) -> int:
    return number * 2


def twice_doubled(ctx: Context, number: int) -> Any:
    once = yield ctx.run(double, number)
    return (yield ctx.run(double, once))


async def test_run_answers_the_value(world: World) -> None:
    resonate = world.client()
    resonate.register(twice_doubled)

    value = await resonate.run(world.new_id(), twice_doubled, 3)

    assert value == 12


async def test_the_same_id_at_the_same_time_runs_once_and_one_caller_created_it(
    world: World,
) -> None:
    resonate = world.client()
    entered: list[str] = []

    @resonate.register
    def workflow(ctx: Context) -> Any:
        yield ctx.run(lambda ctx: entered.append(ctx.id))
        return "done"

    run_id = world.new_id()
    handles = await asyncio.gather(*(resonate.begin_run(run_id, workflow) for _ in range(5)))
    values = await asyncio.gather(*handles)

    assert values == ["done"] * 5
    assert [h.created for h in handles].count(True) == 1
    assert entered == [f"{run_id}.0"]


async def test_a_finished_run_is_found_again_by_run_rpc_and_get(world: World) -> None:
    resonate = world.client()
    resonate.register(twice_doubled)
    run_id = world.new_id()
    await resonate.run(run_id, twice_doubled, 1)

    again = await resonate.begin_run(run_id, twice_doubled, 100)
    remote = await resonate.begin_rpc(run_id, "twice_doubled", 100)
    found = await resonate.get(run_id)

    assert not again.created
    assert not remote.created
    assert [await again, await remote, await found] == [4, 4, 4]
    assert await found.done()
    assert await found.state() == "resolved"


async def test_rpc_runs_in_the_group_of_the_target(world: World) -> None:
    resonate = world.client()
    resonate.register(twice_doubled)

    handle = await resonate.options(target=world.group).begin_rpc(
        world.new_id(), "twice_doubled", 2
    )

    assert handle.created
    assert await handle.result(timeout=10) == 8


async def test_a_run_takes_over_what_rpc_created_and_nobody_took(world: World) -> None:
    resonate = world.client(accept_tasks=False)
    resonate.register(twice_doubled)
    run_id = world.new_id()
    first = await resonate.begin_rpc(run_id, twice_doubled, 5)

    second = await resonate.begin_run(run_id, twice_doubled, 0)

    assert not second.created
    assert await second == 20
    assert await first.result(timeout=10) == 20


async def test_get_of_an_unknown_id_raises_promise_not_found(world: World) -> None:
    resonate = world.client()

    with pytest.raises(PromiseNotFound):
        await resonate.get(world.new_id())


async def test_a_store_that_cannot_be_reached_raises_server_unavailable() -> None:
    resonate = Resonate("grpc://127.0.0.1:1", timeout=0.3, env={})

    with pytest.raises(ServerUnavailable):
        await resonate.get("anything")

    await resonate.stop()


async def test_a_function_that_is_not_registered_is_refused_before_anything_is_stored(
    world: World,
) -> None:
    resonate = world.client()
    run_id = world.new_id()

    with pytest.raises(FunctionNotRegistered):
        await resonate.run(run_id, "nobody")
    with pytest.raises(FunctionNotRegistered):
        await resonate.run(run_id, double, 1)

    with pytest.raises(PromiseNotFound):
        await resonate.get(run_id)


async def test_conflicting_arguments_are_reported_if_asked_for(world: World) -> None:
    resonate = world.client()
    resonate.register(twice_doubled)
    run_id = world.new_id()
    await resonate.run(run_id, twice_doubled, 1)

    same = await resonate.options(on_conflict="raise").run(run_id, twice_doubled, 1)
    with pytest.raises(IdempotencyConflict):
        await resonate.options(on_conflict="raise").run(run_id, twice_doubled, 2)
    with pytest.raises(IdempotencyConflict):
        await resonate.options(on_conflict="raise").begin_rpc(run_id, "other", 1)

    assert same == 4


async def test_result_waits_only_as_long_as_it_is_told(world: World) -> None:
    resonate = world.client()

    @resonate.register
    def forever(ctx: Context) -> Any:
        return (yield (yield ctx.promise()))

    handle = await resonate.begin_run(world.new_id(), forever)

    with pytest.raises(TimeoutError):
        await handle.result(timeout=0.05)
    assert not await handle.done()


async def test_errors_arrive_as_themselves_where_their_class_is_known(world: World) -> None:
    resonate = world.client(retry_policy=Never())

    @resonate.register
    def known(ctx: Context) -> Any:
        raise OutOfStock("widget", 3)

    @resonate.register
    def builtin(ctx: Context) -> Any:
        raise KeyError("widget")

    @resonate.register
    def unknown(ctx: Context) -> Any:
        raise Unknown("what")

    with pytest.raises(OutOfStock) as caught:
        await resonate.run(world.new_id(), known)
    with pytest.raises(KeyError, match="widget"):
        await resonate.run(world.new_id(), builtin)
    with pytest.raises(RemoteError, match="what") as remote:
        await resonate.run(world.new_id(), unknown)

    assert caught.value.args == ("widget", 3)
    assert remote.value.type_name == "Unknown"
    assert "raise Unknown" in (remote.value.traceback or "")


async def test_a_canceled_and_a_timed_out_run_raise_their_own_errors(world: World) -> None:
    resonate = world.client()

    @resonate.register
    def forever(ctx: Context) -> Any:
        return (yield (yield ctx.promise()))

    canceled = await resonate.begin_run(world.new_id(), forever)
    assert await canceled.cancel("enough")
    late = await resonate.options(timeout=0.2).begin_run(world.new_id(), forever)

    with pytest.raises(PromiseCanceled):
        await canceled
    with pytest.raises(PromiseTimedOut):
        await late.result(timeout=10)
    assert await late.state() == "rejected_timedout"


async def test_a_delayed_call_is_dispatched_later(world: World) -> None:
    resonate = world.client()

    @resonate.register
    def when(ctx: Context) -> float:
        return time.time()

    asked = time.time()
    began = await resonate.options(delay=0.4).rpc(world.new_id(), when)

    assert began - asked >= 0.4


async def test_every_id_carries_the_prefix_once(world: World) -> None:
    prefix = f"t{world.new_id('p').replace('/', '')}"
    resonate = world.client(prefix=prefix)
    seen: list[str] = []

    @resonate.register
    def child(ctx: Context) -> str:
        return ctx.id

    @resonate.register
    def workflow(ctx: Context) -> Any:
        seen.append((yield ctx.run(lambda ctx: ctx.id)))
        seen.append((yield ctx.rpc(child)))
        seen.append((yield ctx.rpc(child, ctx.options(id="explicit"))))
        detached = yield ctx.detached(child)
        seen.append((yield detached))
        return ctx.id

    root = await resonate.run("a", workflow)

    assert root == f"{prefix}:a"
    assert all(promise_id.startswith(f"{prefix}:") for promise_id in seen)
    assert f"{prefix}:explicit" in seen
    assert (await resonate.get("a")).id == f"{prefix}:a"
    assert (await resonate.get(f"{prefix}:a")).id == f"{prefix}:a"


async def test_a_spawned_call_goes_on_by_itself_and_reports_its_error(world: World) -> None:
    resonate = world.client(retry_policy=Never())
    failed = asyncio.get_running_loop().create_future()

    @resonate.register
    def fails(ctx: Context) -> Any:
        raise ValueError("no")

    resonate.run(world.new_id(), fails).spawn(on_error=failed.set_result)

    assert isinstance(await failed, ValueError)


async def test_dependencies_are_found_by_name_and_by_type(world: World) -> None:
    class Mailer:
        name = "mailer"

    resonate = world.client().with_dependency(Mailer())
    resonate.set_dependency("greeting", "Hello")

    @resonate.register
    def workflow(ctx: Context) -> Any:
        return (
            yield ctx.run(
                lambda ctx: [
                    ctx.get_dependency("greeting"),
                    ctx.get_dependency(Mailer).name,
                    ctx.get_dependency("absent", "default"),
                ]
            )
        )

    assert await resonate.run(world.new_id(), workflow) == ["Hello", "mailer", "default"]
