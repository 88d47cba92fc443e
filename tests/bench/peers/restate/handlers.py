"""The workloads written for Restate; runs in its environment and imports no Holdfast."""

import asyncio
from datetime import timedelta

import restate

from tests.bench import step_log
from tests.bench.shapes import CHILDREN, CRASH_STEP_S, CRASH_STEPS, SLEEP_S

a = restate.Service("a")
b = restate.Service("b")


async def step(value: int) -> int:
    """Return the input."""
    return value


async def slow_step(workflow: int, number: int) -> int:
    """Take a while, and tell that it ran."""
    step_log.write(step_log.BEGIN, workflow, number)
    await asyncio.sleep(CRASH_STEP_S)
    step_log.write(step_log.END, workflow, number)
    return number


async def _remote(_ctx: restate.Context, value: int) -> int:
    """Return the input, in the other group."""
    return value


remote = b.handler(name="remote")(_remote)


async def w1(ctx: restate.Context, value: int) -> int:
    """One step."""
    result: int = await ctx.run_typed("step", step, value=value)
    return result


async def w2(ctx: restate.Context, value: int) -> int:
    """Four steps, one after the other."""
    for _ in range(4):
        value = await ctx.run_typed("step", step, value=value + 1)
    return int(value)


async def w3(ctx: restate.Context, value: int) -> int:
    """Call, step, call."""
    fetched = await ctx.service_call(remote, arg=value + 1)
    worked = await ctx.run_typed("step", step, value=fetched + 1)
    saved: int = await ctx.service_call(remote, arg=worked + 1)
    return saved


async def w4a(ctx: restate.Context, value: int) -> int:
    """Many steps at once."""
    futures = [ctx.run_typed(f"step-{index}", step, value=1) for index in range(CHILDREN)]
    results: list[int] = [await future for future in await restate.gather(*futures)]
    return value + sum(results)


async def w4b(ctx: restate.Context, value: int) -> int:
    """Many calls at once."""
    futures = [ctx.service_call(remote, arg=1) for _ in range(CHILDREN)]
    results: list[int] = [await future for future in await restate.gather(*futures)]
    return value + sum(results)


async def w5(ctx: restate.Context, workflow: int) -> int:
    """Slow steps, one after the other."""
    for number in range(CRASH_STEPS):
        await ctx.run_typed("slow", slow_step, workflow=workflow, number=number)
    return workflow


async def w6(ctx: restate.Context, workflow: int) -> int:
    """Sleep."""
    step_log.write(step_log.ASLEEP, workflow, 0)
    await ctx.sleep(timedelta(seconds=SLEEP_S))
    step_log.write(step_log.AWAKE, workflow, 0)
    return workflow


for workflow in (w1, w2, w3, w4a, w4b, w5, w6):
    a.handler()(workflow)

app_a = restate.app([a])
app_b = restate.app([b])
