"""A program of a user of the official Python client, which speaks to the bridge as it comes.

Modes and arguments are those of `../typescript/main.mjs`. It needs Python 3.12 or newer.
"""

import asyncio
import json
import sys
from datetime import timedelta
from pathlib import Path

from resonate.context import Context  # type: ignore[import-not-found]
from resonate.resonate import Resonate  # type: ignore[import-not-found]
from resonate.retry import Never  # type: ignore[import-not-found]

GIVEN = sys.argv[1:]
MODE, GROUP, PID, LOG, FLOW, ID, ARGUMENTS = [*GIVEN, *("-", "-", "[]")[len(GIVEN) - 4 :]]
TTL = timedelta(milliseconds=1500)


def note(*words: object) -> None:
    """Append a line to the log."""
    with Path(LOG).open("a", encoding="utf-8") as log:
        log.write(" ".join(map(str, words)) + "\n")


async def step(ctx: Context, run_id: str, i: int) -> int:
    note("step", run_id, i)
    return i


async def sum_(ctx: Context, n: int) -> int:
    total = 0
    for i in range(n):
        total += await ctx.run(step, ctx.info.id, i)
    return total


async def double(ctx: Context, i: int) -> int:
    return 2 * i


async def calls(ctx: Context, n: int) -> list[int]:
    there = ctx.options(target=GROUP)
    pending = [there.rpc("double", i) for i in range(n)]
    return [await each for each in pending]


async def fibonacci(ctx: Context, n: int) -> int:
    if n < 2:
        return n
    there = ctx.options(target=GROUP)
    left = ctx.run(fibonacci, n - 1)
    right = there.rpc("fibonacci", n - 2)
    first: int = await left
    second: int = await right
    return first + second


async def sleep(ctx: Context, ms: int) -> str:
    await ctx.sleep(timedelta(milliseconds=ms))
    return "slept"


async def approval(ctx: Context) -> str:
    approved = ctx.promise()
    note("asked", await approved.id())
    return f"approved: {await approved}"


async def failing(ctx: Context) -> None:
    raise RuntimeError("as asked")


async def interrupted(ctx: Context, n: int) -> list[int]:
    done = []
    for i in range(n):
        done.append(await ctx.run(step, ctx.info.id, i))
        await ctx.sleep(timedelta(milliseconds=100))
    return done


async def parent(ctx: Context) -> str:
    await ctx.options(target=GROUP).detached("double", 21)
    return "gone on"


FLOWS = {
    "sum": sum_,
    "step": step,
    "double": double,
    "calls": calls,
    "fibonacci": fibonacci,
    "sleep": sleep,
    "approval": approval,
    "failing": failing,
    "interrupted": interrupted,
    "parent": parent,
}


async def main() -> None:
    """Do what the mode says."""
    resonate = Resonate(group=GROUP, pid=PID, ttl=TTL, retry_policy=Never())
    for name, flow in FLOWS.items():
        resonate.register(flow, name=name)
    there = resonate.options(target=GROUP)
    arguments = json.loads(ARGUMENTS)
    result: object = None
    match MODE:
        case "work":
            note("working", PID)
            await asyncio.Event().wait()
        case "run":
            result = await resonate.run(ID, FLOW, *arguments).result()
        case "rpc":
            try:
                result = await there.rpc(ID, FLOW, *arguments).result()
            except Exception as error:  # noqa: BLE001 - whatever comes is the result
                result = {"error": str(error)}
        case "get":
            result = await (await resonate.get(ID)).result()
        case "plan":
            await there.schedule(ID, "* * * * * *", FLOW, tuple(arguments))
            result = "planned"
        case "unplan":
            await resonate.schedules.delete(ID)
            result = "deleted"
        case _:
            raise ValueError(f"no mode {MODE}")
    print(f"result {json.dumps(result)}", flush=True)  # noqa: T201 - whoever started this reads it
    await resonate.stop()


if __name__ == "__main__":
    asyncio.run(main())
