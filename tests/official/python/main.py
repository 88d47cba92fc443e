"""A program of a user of the official Python client, which speaks to the bridge as it comes.

Modes and arguments are those of `../typescript/main.mjs`. It needs Python 3.12 or newer.
"""

import asyncio
import json
import os
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from resonate.context import Context  # type: ignore[import-not-found]
from resonate.error import ServerError  # type: ignore[import-not-found]
from resonate.resonate import Resonate  # type: ignore[import-not-found]
from resonate.retry import Never  # type: ignore[import-not-found]

GIVEN = sys.argv[1:]
MODE, GROUP, PID, LOG, FLOW, ID, ARGUMENTS = [*GIVEN, *("-", "-", "[]")[len(GIVEN) - 4 :]]
TTL = timedelta(milliseconds=int(os.environ.get("TTL_MS", "1500")))
PATIENCE_S = 5  # for a result, then it is asked for again


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


async def entry(ctx: Context, run_id: str, i: int) -> int:
    note("entry", run_id, i, int(time.time() * 1000), PID)
    await asyncio.sleep(0.1)  # so that it can be killed in its middle
    return i


async def order(ctx: Context, there: str, n: int) -> list[int]:
    done = []
    for i in range(n):
        await ctx.run(entry, ctx.info.id, i)
        done.append(await ctx.options(target=there).rpc("double", i))
        await ctx.sleep(timedelta(milliseconds=200))
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
    "entry": entry,
    "order": order,
    "parent": parent,
}


async def ask(resonate: Resonate, call: list[Any]) -> object:
    """Wait for what is there, begin what is not; whatever happens on the way, try it again."""
    how, there, name, run_id, given = call
    while True:
        try:
            async with asyncio.timeout(PATIENCE_S):
                try:
                    handle = await resonate.get(run_id)
                except ServerError:
                    begin = resonate.run if how == "run" else resonate.options(target=there).rpc
                    handle = begin(run_id, name, *given)
                return await handle.result()
        except Exception as error:  # noqa: BLE001 - a user who is patient does not look closely
            note("again", run_id, repr(error))
            await asyncio.sleep(0.2)


async def main() -> None:
    """Do what the mode says."""
    # What was told to nobody, because a process died with it, is asked for as often as this says.
    again = {"subscription_refresh_secs": PATIENCE_S} if MODE == "many" else {}
    resonate = Resonate(group=GROUP, pid=PID, ttl=TTL, retry_policy=Never(), **again)
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
        case "many":
            result = await asyncio.gather(*(ask(resonate, call) for call in arguments))
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
