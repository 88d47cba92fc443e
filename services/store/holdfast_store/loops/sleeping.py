"""How a loop sleeps that lives by the wall clock: until something is due, or somebody calls."""

import asyncio
from typing import Final

WALL_CLOCK_CHECK_S: Final = 1.0
"""Longest sleep: the monotonic sleep must notice when the wall clock was set forward."""


async def sleep_until(
    changed: asyncio.Event, *, looks_in_s: float, due_ms: int | None, now_ms: int
) -> None:
    """Sleep until it is time to look, something is due, or `changed` is set; that is cleared."""
    span_s = min(WALL_CLOCK_CHECK_S, max(0.0, looks_in_s))
    if due_ms is not None:
        span_s = min(span_s, max(0, due_ms - now_ms) / 1000)
    try:
        async with asyncio.timeout(span_s):
            await changed.wait()
    except TimeoutError:
        return
    changed.clear()
