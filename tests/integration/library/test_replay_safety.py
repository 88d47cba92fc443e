"""Programming errors are found, named, and leave the record as it is."""

import asyncio
from typing import Any

import pytest

from holdfast import Context, Exponential
from holdfast.core.requests import TaskFence, TaskHalt, TaskRelease
from tests.integration.library.world import World


def reserve(_ctx: Context) -> str:
    return "reserved"


def charge(_ctx: Context) -> str:
    return "charged"


async def _halted(store: Any) -> TaskHalt:
    (halt,) = await store.until(TaskHalt)
    return halt  # type: ignore[no-any-return]


async def test_swapped_steps_halt_the_task_and_overwrite_nothing(world: World) -> None:
    resonate, store = world.recording(parked_max=0)
    order = [reserve, charge]

    @resonate.register
    def workflow(ctx: Context) -> Any:
        first, second = order
        yield ctx.run(first)
        yield ctx.run(second)
        yield ctx.sleep(0.05)

    root = world.new_id()
    handle = await resonate.begin_run(root, workflow)
    await store.until(TaskFence, 3)
    order.reverse()
    halt = await _halted(store)

    assert halt.reason is not None
    for part in ("NonDeterminism", f"{root}.0", "ctx.run(reserve)", "ctx.run(charge)"):
        assert part in halt.reason
    assert (await resonate.promises.get(f"{root}.0")).value == "reserved"
    assert await handle.state() == "pending"


async def test_another_kind_of_call_in_the_same_place_halts_the_task(world: World) -> None:
    resonate, store = world.recording(parked_max=0)
    resonate.register("reserve", reserve)
    passes: list[int] = []

    @resonate.register
    def workflow(ctx: Context) -> Any:
        passes.append(1)
        yield (ctx.run(reserve) if len(passes) == 1 else ctx.rpc("reserve"))
        yield ctx.sleep(0.02)

    await resonate.begin_run(world.new_id(), workflow)
    halt = await _halted(store)

    assert "ctx.rpc(reserve)" in (halt.reason or "")


async def test_a_command_that_is_never_yielded_halts_the_task(world: World) -> None:
    resonate, store = world.recording()

    @resonate.register
    def workflow(ctx: Context) -> Any:
        ctx.run(reserve)
        yield ctx.run(charge)

    await resonate.begin_run(world.new_id(), workflow)
    halt = await _halted(store)

    assert "ctx.run(reserve)" in (halt.reason or "")
    assert "never yielded" in (halt.reason or "")


async def test_a_plain_value_that_is_yielded_halts_the_task_naming_the_line(world: World) -> None:
    resonate, store = world.recording()

    @resonate.register
    def workflow(ctx: Context) -> Any:
        yield 42

    await resonate.begin_run(world.new_id(), workflow)
    halt = await _halted(store)

    assert "workflow, line" in (halt.reason or "")
    assert "42" in (halt.reason or "")


@pytest.mark.parametrize("where", ["workflow", "swallowed", "step", "root step"])
async def test_panic_halts_the_task_whatever_the_code_catches(world: World, where: str) -> None:
    resonate, store = world.recording(retry_policy=Exponential(delay=0.01))

    def panics(ctx: Context) -> None:
        ctx.panic(condition=True, message="books do not balance")

    @resonate.register
    def workflow(ctx: Context) -> Any:
        yield ctx.assert_(condition=True)  # noqa: PT009
        if where == "workflow":
            yield ctx.panic(condition=True, message="books do not balance")
        if where == "swallowed":
            try:
                ctx.assert_(condition=False, message="books do not balance")  # noqa: PT009
            except Exception:  # noqa: BLE001 - what the test is about
                yield ctx.run(reserve)
        yield ctx.run(panics)

    resonate.register("panics", panics)
    callee = "panics" if where == "root step" else "workflow"
    await resonate.begin_run(world.new_id(), callee)
    halt = await _halted(store)

    assert "books do not balance" in (halt.reason or "")


async def test_a_step_cannot_have_children(world: World) -> None:
    resonate, store = world.recording()

    def not_a_workflow(ctx: Context) -> Any:
        return ctx.run(reserve)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        yield ctx.run(not_a_workflow)

    await resonate.begin_run(world.new_id(), workflow)
    halt = await _halted(store)

    assert "it is a step" in (halt.reason or "")


async def test_a_param_that_cannot_be_read_halts_the_task(world: World) -> None:
    resonate, store = world.recording()
    resonate.register("reserve", reserve)

    await resonate.promises.create(
        world.new_id(),
        data="not base64!",
        raw=True,
        tags={"resonate:target": f"poll://any@{world.group}"},
    )
    halt = await _halted(store)

    assert "decode_error" in (halt.reason or "")


async def test_an_unknown_function_is_given_back_ever_more_slowly(world: World) -> None:
    """S11: a handful of deliveries a minute; the store halts the task after ten."""
    resonate, store = world.recording()
    resonate.register("reserve", reserve)
    run_id = world.new_id()

    await resonate.promises.create(
        run_id,
        data={"func": "unknown", "args": [], "version": 1},
        tags={"resonate:target": f"poll://any@{world.group}"},
    )
    first, second = await store.until(TaskRelease, 2)
    now_ms = resonate.clock.now_ms()

    assert first.reason.value == second.reason.value == "unknown_function"
    assert second.not_before_ms - first.not_before_ms >= 1_900
    assert now_ms + 1_500 <= second.not_before_ms <= now_ms + 2_100


async def test_a_version_that_is_not_registered_is_an_unknown_function(world: World) -> None:
    resonate, store = world.recording()
    resonate.register("reserve", reserve)

    await resonate.promises.create(
        world.new_id(),
        data={"func": "reserve", "args": [], "version": 9},
        tags={"resonate:target": f"poll://any@{world.group}"},
    )
    (release,) = await store.until(TaskRelease)

    assert release.reason.value == "unknown_function"


async def test_a_generator_that_yields_while_it_is_parked_is_reported(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    resonate = world.client(parked_max=0)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        try:
            yield ctx.sleep(0.05)
        finally:
            yield ctx.run(reserve)

    await resonate.run(world.new_id(), workflow)
    await asyncio.sleep(0)

    events = [r.message for r in caplog.records]
    assert "generator_yielded_while_closing" in events
