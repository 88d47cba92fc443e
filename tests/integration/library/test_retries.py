"""Attempts at steps and roots, under a clock that the test turns."""

import asyncio
from typing import Any

import pytest

from holdfast import Constant, Context, Exponential, Never, Options
from holdfast.testing.clock import FakeClock
from tests.integration.library.world import World, each


class Flaky:
    """Fails a number of times, then answers the attempt it is on."""

    def __init__(self, failures: int, error: type[Exception] = ConnectionError) -> None:
        self.left = failures
        self.error = error
        self.attempts: list[int] = []

    def step(self, ctx: Context) -> int:
        self.attempts.append(ctx.info.attempt)
        if self.left:
            self.left -= 1
            raise self.error("not yet")
        return ctx.info.attempt


async def through(clock: FakeClock, seconds: list[float]) -> None:
    """Let sleeps of these lengths pass, each when somebody has begun it."""
    for span in seconds:
        await clock.someone_sleeps()
        clock.advance(span)


async def test_of_three_steps_only_the_failed_one_runs_again(world: World) -> None:
    """S1: the second try comes 2 s after the first."""
    clock = FakeClock()
    resonate = world.client(clock=clock)
    steps = [Flaky(0), Flaky(1), Flaky(0)]

    @resonate.register
    def workflow(ctx: Context) -> Any:
        return (yield from each(ctx.run(step.step) for step in steps))

    handle = await resonate.begin_run(world.new_id(), workflow)
    await through(clock, [2])

    assert await handle == [1, 2, 1]
    assert clock.slept == [2]
    assert [s.attempts for s in steps] == [[1], [1, 2], [1]]


async def test_delays_follow_the_policy_of_the_call(world: World) -> None:
    clock = FakeClock()
    resonate = world.client(clock=clock)
    flaky = Flaky(3)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        policy = Exponential(delay=0.5, factor=4, max_delay=10)
        return (yield ctx.run(flaky.step, ctx.options(retry_policy=policy)))

    handle = await resonate.begin_run(world.new_id(), workflow)
    await through(clock, [2, 8, 10])

    assert await handle == 4
    assert clock.slept == [2, 8, 10]


async def test_a_policy_that_is_exhausted_raises_the_original_error(world: World) -> None:
    clock = FakeClock()
    resonate = world.client(clock=clock, retry_policy=Constant(delay=1, max_retries=2))
    flaky = Flaky(9)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        try:
            yield ctx.run(flaky.step)
        except ConnectionError as error:
            return str(error)

    handle = await resonate.begin_run(world.new_id(), workflow)
    await through(clock, [1, 1])

    assert await handle == "not yet"
    assert flaky.attempts == [1, 2, 3]


@pytest.mark.parametrize("how", ["class", "attribute"])
async def test_an_error_that_must_not_be_retried_stops_at_once(world: World, how: str) -> None:
    resonate = world.client()

    class Final(ValueError):
        retryable = how != "attribute"

    flaky = Flaky(9, Final)
    non_retryable = (ValueError,) if how == "class" else ()

    @resonate.register
    def workflow(ctx: Context) -> Any:
        yield ctx.run(flaky.step, ctx.options(non_retryable=non_retryable))

    with pytest.raises(Exception, match="not yet"):
        await resonate.run(world.new_id(), workflow)

    assert flaky.attempts == [1]


def takes_one(_ctx: Context, number: int) -> int:
    return number


async def takes_one_on_the_loop(_ctx: Context, number: int) -> int:
    return number


def yields(ctx: Context, number: int) -> Any:
    yield ctx.sleep(0)
    return number


@pytest.mark.parametrize("callee", [takes_one, takes_one_on_the_loop, yields])
@pytest.mark.parametrize("how", ["run", "rpc", "root"])
async def test_a_call_with_wrong_arguments_is_not_tried_again(
    world: World, callee: Any, how: str
) -> None:
    """No later attempt could succeed: without an end the caller would wait for a day."""
    clock = FakeClock()
    resonate = world.client(clock=clock)
    resonate.register("callee", callee, retry_policy=Constant(delay=1))

    @resonate.register
    def workflow(ctx: Context) -> Any:
        call = ctx.run if how == "run" else ctx.rpc
        try:
            yield call("callee", 1, 2, 3)
        except TypeError as error:
            return str(error)

    if how == "root":
        with pytest.raises(TypeError, match="positional argument"):
            await resonate.run(world.new_id(), "callee")
    else:
        assert "positional argument" in await resonate.run(world.new_id(), workflow)
    assert clock.slept == []


async def test_a_type_error_of_the_body_is_tried_again_as_any_other(world: World) -> None:
    clock = FakeClock()
    resonate = world.client(clock=clock)
    flaky = Flaky(1, TypeError)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        return (yield ctx.run(flaky.step))

    handle = await resonate.begin_run(world.new_id(), workflow)
    await through(clock, [2])

    assert await handle == 2


async def test_no_retry_is_started_that_would_reach_the_deadline(world: World) -> None:
    clock = FakeClock()
    resonate = world.client(clock=clock)
    flaky = Flaky(99)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        yield ctx.run(flaky.step, ctx.options(timeout=10))

    handle = await resonate.begin_run(world.new_id(), workflow)
    await through(clock, [2, 4])

    with pytest.raises(ConnectionError, match=r"not yet .*after the deadline"):
        await handle
    assert clock.slept == [2, 4]
    assert flaky.attempts == [1, 2, 3]


async def test_a_step_in_backoff_is_visible_as_pending(world: World) -> None:
    clock = FakeClock()
    resonate = world.client(clock=clock, slow_step_ms=60_000)
    flaky = Flaky(1)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        return (yield ctx.run(flaky.step))

    run_id = world.new_id()
    handle = await resonate.begin_run(run_id, workflow)
    await clock.someone_sleeps()
    seen = await resonate.promises.get(f"{run_id}.0")
    clock.advance(2)

    assert seen.is_pending
    assert await handle == 2


async def test_a_remote_step_is_retried_by_the_policy_that_travels_with_the_call(
    world: World,
) -> None:
    clock = FakeClock()
    resonate = world.client(clock=clock)
    default, own = Flaky(2), Flaky(9)
    resonate.register("default", default.step)
    resonate.register("own", own.step)

    value = resonate.begin_rpc(world.new_id(), "default")
    handle = await value
    await through(clock, [2, 4])
    assert await handle.result(timeout=10) == 3

    with pytest.raises(ConnectionError):
        await resonate.rpc(world.new_id(), "own", Options(retry_policy=Never()))
    assert own.attempts == [1]


async def test_a_workflow_is_not_retried_unless_it_is_asked_for(world: World) -> None:
    clock = FakeClock()
    resonate = world.client(clock=clock)
    entered: list[int] = []
    stepped: list[int] = []

    def body(ctx: Context) -> Any:
        entered.append(ctx.info.attempt)
        yield ctx.run(lambda ctx: stepped.append(1))
        if ctx.info.attempt < 2:
            raise ConnectionError("no")
        return "done"

    resonate.register("once", body)
    resonate.register("asked", body, retry_policy=Constant(delay=3, max_retries=5))

    with pytest.raises(ConnectionError):
        await resonate.run(world.new_id(), "once")
    handle = await resonate.begin_run(world.new_id(), "asked")
    await through(clock, [3])

    assert await handle == "done"
    assert entered == [1, 1, 2]
    assert len(stepped) == 2


async def test_a_registered_policy_and_a_clients_policy_apply_to_steps(world: World) -> None:
    clock = FakeClock()
    resonate = world.client(clock=clock, retry_policy=Never())
    registered, unregistered = Flaky(1), Flaky(1)
    resonate.register("registered", registered.step, retry_policy=Constant(delay=7))

    @resonate.register
    def workflow(ctx: Context) -> Any:
        value = yield ctx.run("registered")
        try:
            yield ctx.run(unregistered.step)
        except ConnectionError:
            return value

    handle = await resonate.begin_run(world.new_id(), workflow)
    await through(clock, [7])

    assert await handle == 2
    assert unregistered.attempts == [1]


async def test_a_step_that_cancels_itself_failed(world: World) -> None:
    resonate = world.client(retry_policy=Never())

    async def cancels(_ctx: Context) -> None:
        raise asyncio.CancelledError

    @resonate.register
    def workflow(ctx: Context) -> Any:
        yield ctx.run(cancels)

    with pytest.raises(RuntimeError, match="cancelled from inside"):
        await resonate.run(world.new_id(), workflow)
