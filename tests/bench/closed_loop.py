"""A fixed number of workflows under way: when one has returned, the next begins.

Uses the standard library only, because programs of peers drive themselves with it, each in an
environment of its own.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter

SECONDS_MAX = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long driving goes on: for some seconds, or for a number of workflows."""

    seconds: float = SECONDS_MAX
    count: int | None = None


async def drive(
    once: Callable[[], Awaitable[None]], *, in_flight: int, effort: Effort
) -> list[float]:
    """Call `once` again and again until the effort is spent; return the latencies in ms."""
    latencies: list[float] = []
    deadline = perf_counter() + effort.seconds
    left = itertools.count() if effort.count is None else iter(range(effort.count))

    async def lane() -> None:
        while (effort.count is not None or perf_counter() < deadline) and (
            next(left, None) is not None
        ):
            started = perf_counter()
            await once()
            latencies.append((perf_counter() - started) * 1e3)

    async with asyncio.TaskGroup() as lanes:
        for _ in range(in_flight):
            lanes.create_task(lane())
    return latencies
