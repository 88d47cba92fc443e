"""The client's methods inside the body of a workflow: nothing records such a call."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from holdfast import ClientCallInWorkflow, Context, Resonate
from tests.integration.library.world import World


def drop(call: Any) -> None:
    """Forget a call that was never awaited, without a word about that."""
    call._coroutine.close()


@pytest.mark.parametrize(
    "call",
    [
        lambda r, _: drop(r.run("x", "callee")),
        lambda r, _: drop(r.begin_run("x", "callee")),
        lambda r, _: drop(r.rpc("x", "callee")),
        lambda r, _: drop(r.begin_rpc("x", "callee")),
        lambda r, _: drop(r.options(timeout=5).begin_rpc("x", "callee")),
        lambda _, stub: drop(stub.rpc("x")),
    ],
    ids=["run", "begin_run", "rpc", "begin_rpc", "options", "stub"],
)
async def test_a_call_on_the_client_inside_a_workflow_warns_where_it_is(
    world: World, call: Callable[[Resonate, Any], None]
) -> None:
    resonate = world.client()
    stub = resonate.register("callee", lambda ctx: 1)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        yield ctx.sleep(0)
        call(resonate, stub)
        return "done"

    with pytest.warns(ClientCallInWorkflow, match="inside the workflow workflow") as caught:
        assert await resonate.run(world.new_id(), workflow) == "done"

    assert caught[0].filename == __file__


async def run_and_join(call: Any, tasks: list[asyncio.Task[Any]]) -> None:
    await call
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("what", ["get", "create"])
async def test_a_task_that_a_body_starts_is_inside_as_well(world: World, what: str) -> None:
    resonate = world.client()
    started: list[asyncio.Task[Any]] = []
    run_id = world.new_id()

    @resonate.register
    def workflow(ctx: Context) -> Any:
        call = resonate.get(run_id) if what == "get" else resonate.promises.create(f"{run_id}/x")
        started.append(asyncio.get_running_loop().create_task(call))
        yield ctx.sleep(0)

    with pytest.warns(ClientCallInWorkflow, match="each replay calls it again"):
        await run_and_join(resonate.run(run_id, workflow), started)


async def test_steps_and_callers_may_use_the_client(world: World) -> None:
    """Warnings are errors in this suite: that nothing is raised is the assertion."""
    resonate = world.client()
    resonate.register("callee", lambda ctx: "value")

    async def on_the_loop(ctx: Context) -> Any:
        await resonate.promises.create(f"{ctx.id}/promise")
        return await resonate.rpc(f"{ctx.id}/call", "callee")

    @resonate.register
    def workflow(ctx: Context) -> Any:
        return (yield ctx.run(on_the_loop))

    assert await resonate.run(world.new_id(), workflow) == "value"
    assert await resonate.rpc(world.new_id(), workflow) == "value"
