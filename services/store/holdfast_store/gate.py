"""A gate in front of the loops that go by the clock: debug mode closes it (§6.1)."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Gate:
    """Lets loops run while it is open, and cancels them when it is closed."""

    def __init__(self) -> None:
        """Begin closed."""
        self._open = asyncio.Event()
        self._closed = asyncio.Event()
        self._closed.set()
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def open(self) -> None:
        """Let loops run."""
        self._closed.clear()
        self._open.set()

    async def close(self) -> None:
        """Keep loops from running; when this returns, none of them does anything any more."""
        self._open.clear()
        self._closed.set()
        await self._idle.wait()

    async def keep(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a loop whenever the gate is open; a loop that ends by itself, or breaks, ends it."""
        while True:
            await self._open.wait()
            if self._closed.is_set():
                continue  # it was closed again before this loop had its turn
            if await self._run(run):
                return

    async def _run(self, run: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Run a loop until the gate is closed; answer whether it ended before that."""
        running = asyncio.create_task(run())
        closing = asyncio.create_task(self._closed.wait())
        self._running += 1
        self._idle.clear()
        try:
            await asyncio.wait({running, closing}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                await running
            return running.done()
        finally:
            for task in (running, closing):
                task.cancel()
            await asyncio.gather(running, closing, return_exceptions=True)
            self._running -= 1
            if not self._running:
                self._idle.set()
