"""Waiting: longer after each failure, and never beyond a limit."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

PAUSE_S_MIN: Final = 0.2
PAUSE_S_MAX: Final = 5.0


def pause_s(failures: int) -> float:
    """Say how long to wait after so many failures in a row; never as long as anybody else."""
    longest = min(PAUSE_S_MAX, PAUSE_S_MIN * 2 ** min(failures, 10))
    return random.uniform(longest / 2, longest)  # noqa: S311 - not a secret


async def at_most(seconds: float, wait: Callable[[], Awaitable[object]]) -> None:
    """Wait for something, but not for longer than that."""
    try:
        async with asyncio.timeout(seconds):
            await wait()
    except TimeoutError:
        return
