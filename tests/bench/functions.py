"""The workflows that are measured, and their steps, which do nothing worth measuring.

Steps are coroutines on the event loop, or, with `BENCH_STEPS=plain`, functions that cross into a
thread and back.
"""

import asyncio
import os
from collections.abc import Generator
from typing import Any, Final

from holdfast import Context, Resonate
from tests.bench import step_log
from tests.bench.shapes import CHILDREN, CRASH_STEP_S, CRASH_STEPS, SLEEP_S

GROUP_A: Final = "bench-a"
GROUP_B: Final = "bench-b"
ANY_OF_B: Final = f"poll://any@{GROUP_B}"
STEPS_SETTING: Final = "BENCH_STEPS"

Workflow = Generator[Any, Any, int]


def plain_step(_ctx: Context, value: int) -> int:
    """Return the input; the result of each step differs from its input by the caller's doing."""
    return value


async def async_step(_ctx: Context, value: int) -> int:
    """Return the input, on the event loop."""
    return value


step = plain_step if os.environ.get(STEPS_SETTING) == "plain" else async_step


def one_step(ctx: Context, value: int) -> Workflow:
    """W1: the smallest workflow that has a checkpoint."""
    result: int = yield ctx.run(step, value)
    return result


def four_steps(ctx: Context, value: int) -> Workflow:
    """W2: an order, each step of which needs the result of the one before."""
    reserved = yield ctx.run(step, value + 1)
    charged = yield ctx.run(step, reserved + 1)
    shipped = yield ctx.run(step, charged + 1)
    confirmed: int = yield ctx.run(step, shipped + 1)
    return confirmed


def two_calls(ctx: Context, value: int) -> Workflow:
    """W3: call another group, run a step, call the other group again."""
    fetched = yield ctx.rpc("bench.remote", value + 1, ctx.options(target=ANY_OF_B))
    worked = yield ctx.run(step, fetched + 1)
    saved: int = yield ctx.rpc("bench.remote", worked + 1, ctx.options(target=ANY_OF_B))
    return saved


def many_steps(ctx: Context, value: int, children: int = CHILDREN) -> Workflow:
    """W4a: start many steps at once and add up how many came back."""
    results = yield ctx.all(*[ctx.run(step, 1) for _ in range(children)])
    return value + sum(results)


def many_calls(ctx: Context, value: int, children: int = CHILDREN) -> Workflow:
    """W4b: the same with functions of another group."""
    target = ctx.options(target=ANY_OF_B)
    results = yield ctx.all(*[ctx.rpc("bench.remote", 1, target) for _ in range(children)])
    return value + sum(results)


async def slow_step(_ctx: Context, workflow: int, number: int) -> int:
    """A step that takes a while and tells that it ran."""
    step_log.write(step_log.BEGIN, workflow, number)
    await asyncio.sleep(CRASH_STEP_S)
    step_log.write(step_log.END, workflow, number)
    return number


def slow_steps(ctx: Context, workflow: int) -> Workflow:
    """W5: what is under way when the worker is killed."""
    for number in range(CRASH_STEPS):
        yield ctx.run(slow_step, workflow, number)
    return workflow


def sleeper(ctx: Context, workflow: int) -> Workflow:
    """W6: sleep durably, and tell when that began and ended."""
    step_log.write(step_log.ASLEEP, workflow, 0)
    yield ctx.sleep(SLEEP_S)
    step_log.write(step_log.AWAKE, workflow, 0)
    return workflow


def parked(ctx: Context, value: int) -> Workflow:
    """W8: wait for somebody who never comes."""
    yield ctx.promise(timeout=86_400)
    return value


def register(resonate: Resonate) -> None:
    """Register everything in both groups; who runs what is decided by the caller."""
    resonate.register("bench.step", step)
    resonate.register("bench.slow_step", slow_step)
    resonate.register("bench.remote", step)
    for name, workflow in {
        "w1": one_step,
        "w2": four_steps,
        "w3": two_calls,
        "w4a": many_steps,
        "w4b": many_calls,
        "w5": slow_steps,
        "w6": sleeper,
        "parked": parked,
    }.items():
        resonate.register(f"bench.{name}", workflow)
