"""How strands of a run wait for children, and how a run's strands are unwound."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from holdfast.core.records import PromiseState
from holdfast.errors import PromiseCanceled, PromiseTimedOut

if TYPE_CHECKING:
    from holdfast.commands import DurableFuture
    from holdfast.runtime.execution import Execution


class Ended(BaseException):
    """Unwinds a strand whose run is over. Internal; workflows cannot catch it as `Exception`."""


class Aside(Protocol):
    """A body that other tasks wait beside: they count for nothing themselves."""

    def side_wait_ended(self) -> None:
        """Learn that one of them goes on."""


class Wait:
    """A strand that goes on when all of some futures are done, or the first of them.

    With `aside` it is not the strand that waits but a task that its body has started.
    """

    __slots__ = ("_aside", "execution", "first", "futures", "gate", "left")

    def __init__(
        self,
        execution: "Execution",
        futures: "Sequence[DurableFuture[Any]]",
        *,
        first: bool = False,
        aside: Aside | None = None,
    ) -> None:
        self.execution = execution
        self.futures = futures
        self.first = first
        self.left = 1 if first else len(futures)
        self.gate: asyncio.Future[None] = execution.loop.create_future()
        self._aside = aside

    def one_done(self) -> None:
        """Count a future that is done; after the last one the strand is active again."""
        self.left -= 1
        if self.left == 0:
            self.end()
            if not self.gate.done():
                self.gate.set_result(None)

    def end(self) -> None:
        """Stop counting as a wait."""
        self.execution.waits.discard(self)
        # Counted now and not when the strand is scheduled: between the two the run must not
        # look as if nothing could go on.
        if self._aside is None:
            self.execution.active += 1
        else:
            self._aside.side_wait_ended()


def wake(future: "DurableFuture[Any]") -> None:
    """Tell whoever waits for a child that it is done."""
    if future.waits is not None:
        waits, future.waits = future.waits, None
        for wait in waits:
            wait.one_done()


def fail(future: "DurableFuture[Any]", error: Exception) -> None:
    """End a child with an error that no record holds."""
    future.running = False
    future.error = error
    future.state = PromiseState.REJECTED
    wake(future)


def ending_error(promise_id: str, state: PromiseState) -> Exception:
    """Make the exception for a promise that ended without anybody's word."""
    if state is PromiseState.REJECTED_CANCELED:
        return PromiseCanceled(f"promise {promise_id} was canceled")
    return PromiseTimedOut(f"promise {promise_id} timed out")
