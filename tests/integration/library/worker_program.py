"""A worker process for kill tests: runs workflows, and dies where it is told.

Arguments: the store's url or `file:PATH`, the group, a file that step bodies append to, and
optionally an id to run to its end, whose value is printed.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from holdfast import Context, Resonate
from holdfast.testing.crash_points import KillAt


def attempts_file() -> Path:
    return Path(sys.argv[3])


def note(ctx: Context, name: str) -> str:
    """Append an unkeyed row, so that "ran once" is counted and nothing hides a second time."""
    with attempts_file().open("a") as file:
        file.write(f"{name}\n")
        file.flush()
        os.fsync(file.fileno())
    return name


def elsewhere(ctx: Context, name: str) -> Any:
    return (yield ctx.run(note, name))


def workflow(ctx: Context) -> Any:
    values = [(yield ctx.run(note, "one")), (yield ctx.run(note, "two"))]
    values.append((yield ctx.rpc("elsewhere", "three")))
    yield ctx.sleep(0.05)
    values.append((yield ctx.run(note, "four")))
    return values


async def async_workflow(ctx: Context) -> list[str]:
    values = [await ctx.run(note, "one"), await ctx.run(note, "two")]
    values.append(await ctx.rpc("elsewhere", "three"))
    await ctx.sleep(0.05)
    values.append(await ctx.run(note, "four"))
    return values


async def main() -> None:
    where, group = sys.argv[1], sys.argv[2]
    named: dict[str, Any] = (
        {"embedded": where.removeprefix("file:")} if where.startswith("file:") else {"url": where}
    )
    # An embedded store waits for the lease of the dead process to run out.
    ttl = 3 if where.startswith("file:") else 60
    resonate = Resonate(
        **named,
        group=group,
        env={},
        ttl=ttl,
        slow_step_ms=60_000,
        observer=KillAt.from_environment(os.environ),
    )
    resonate.register(workflow)
    resonate.register(async_workflow, kind="workflow")
    resonate.register(elsewhere)
    if len(sys.argv) > 4:
        sys.stdout.write(f"{await resonate.run(sys.argv[4], workflow)}\n")
        await resonate.stop()
    else:
        await resonate.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
