"""Makes steps visible that take longer than a moment.

A step that is recorded by one write after it ran cannot be seen while it runs, and its deadline is
not armed. Most steps are over before anybody could look; for the others the create goes out alone.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from holdfast.commands import DurableFuture

if TYPE_CHECKING:
    from holdfast.runtime.execution import Execution


class SlowSteps:
    """One timer for all steps: the span is the same for each, so they are due in order."""

    __slots__ = ("_armed", "_loop", "_span_s", "_watched")

    def __init__(self, loop: asyncio.AbstractEventLoop, *, span_s: float) -> None:
        self._loop = loop
        self._span_s = span_s
        self._watched: deque[tuple[float, Execution, DurableFuture[Any]]] = deque()
        self._armed = False

    def watch(self, run: "Execution", child: DurableFuture[Any] | None) -> None:
        """Announce a child, unless it is over in time or the store has it already.

        Called when its body gives the event loop away: one that never does cannot be announced
        while it runs, and a timer for it would only wake the process for nothing.
        """
        if child is None or child.sent or child.known:
            return
        self._watched.append((self._loop.time() + self._span_s, run, child))
        if not self._armed:
            self._armed = True
            self._loop.call_later(self._span_s, self._sweep)

    def _sweep(self) -> None:
        watched = self._watched
        now = self._loop.time()
        while watched and watched[0][0] <= now:
            _, run, child = watched.popleft()
            if child.state is None and not child.sent and not run.ending:
                run.queue_create(child)
                run.writer.flush_soon()
        while watched and watched[0][2].state is not None:
            watched.popleft()
        self._armed = bool(watched)
        if watched:
            self._loop.call_at(watched[0][0], self._sweep)
