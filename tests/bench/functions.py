"""The workflows that are measured, and their steps, which do nothing worth measuring.

Steps are coroutines on the event loop, or, with `BENCH_STEPS=plain`, functions that cross into a
thread and back.
"""

import os
from collections.abc import Generator
from typing import Any, Final

from holdfast import Context, Resonate

GROUP_A: Final = "bench-a"
GROUP_B: Final = "bench-b"
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
    fetched = yield ctx.rpc("bench.remote", value + 1, ctx.options(target=f"poll://any@{GROUP_B}"))
    worked = yield ctx.run(step, fetched + 1)
    saved: int = yield ctx.rpc(
        "bench.remote", worked + 1, ctx.options(target=f"poll://any@{GROUP_B}")
    )
    return saved


def register(resonate: Resonate) -> None:
    """Register everything in both groups; who runs what is decided by the caller."""
    resonate.register("bench.step", step)
    resonate.register("bench.one_step", one_step)
    resonate.register("bench.four_steps", four_steps)
    resonate.register("bench.two_calls", two_calls)
    resonate.register("bench.remote", step)
