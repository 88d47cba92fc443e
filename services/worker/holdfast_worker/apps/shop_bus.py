"""The shop as its original builds it: the window is one step that listens to a bus in its process.

It needs the web server in the same process, and a process that dies takes the window with it: the
step, and with it the window, begins anew. `holdfast_worker.apps.shop` has neither limit; this one
is here to compare.
"""

import threading
from collections.abc import Generator
from typing import Any, Final

from holdfast import Context, Resonate
from holdfast_worker.apps.shop import WINDOW_MS, Outcome, finish, register_steps
from holdfast_worker.outside import DEPENDENCY, Outside

BUS: Final = "cancelBus"
"""Under this name the step finds its CancelBus."""


class CancelBus:
    """Carries cancellations to the steps that wait for them; one that nobody waits for is lost."""

    def __init__(self) -> None:
        self._waiting: dict[str, threading.Event] = {}

    def cancel(self, key: str) -> None:
        """End the window of a purchase."""
        if event := self._waiting.get(key):
            event.set()

    def is_cancelled(self, key: str, *, within_ms: int) -> bool:
        """Wait for a cancellation; called on the step's own thread."""
        event = self._waiting[key] = threading.Event()
        try:
            return event.wait(within_ms / 1000)
        finally:
            del self._waiting[key]


def one_click_buy(ctx: Context, item_id: str, key: str) -> Generator[Any, Any, Outcome]:
    """Wait for a change of mind, then confirm or cancel, once."""
    decision = yield ctx.run(wait_for_cancel_or_timeout, key, WINDOW_MS)
    return (yield from finish(ctx, item_id, key, is_cancelled=decision == "cancelled"))


def wait_for_cancel_or_timeout(ctx: Context, key: str, window_ms: int) -> str:
    """Hold a thread until the purchase is cancelled or its window is over."""
    outside: Outside = ctx.get_dependency(DEPENDENCY)
    outside.enter(ctx, "waitForCancelOrTimeout")
    bus: CancelBus = ctx.get_dependency(BUS)
    return "cancelled" if bus.is_cancelled(key, within_ms=window_ms) else "confirmed"


def register(resonate: Resonate) -> None:
    """Register this variant instead of the other one, under the same names."""
    resonate.register("oneClickBuy", one_click_buy)
    resonate.register("waitForCancelOrTimeout", wait_for_cancel_or_timeout)
    register_steps(resonate)
