"""An event loop whose clock jumps to the next thing that is due: an hour takes a moment.

Nothing in it waits for the machine, and nothing happens by chance: the same program takes the same
turns in the same order. A program that waits for what nobody will do ends with `Standstill`.
"""

import asyncio
import selectors
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

T = TypeVar("T")

EPOCH_MS: Final = 1_000_000_000_000
"""What the world's clocks say when a simulation begins."""


class Standstill(Exception):
    """Everything waits, and nothing is due."""


class _NoSelector(selectors.BaseSelector):
    """Files never become ready; waiting moves the clock."""

    def __init__(self, wait: Callable[[float | None], None]) -> None:
        self._wait = wait
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = selectors.SelectorKey(fileobj, 0, events, data)
        self._keys[fileobj] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._wait(timeout)
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs on virtual time; `on_turn` is called between any two turns of the loop.

    Between two turns every task stands at an await: whoever wants to stop one anywhere does it
    there.
    """

    def __init__(self) -> None:
        self._now_s = 0.0
        self.turns = 0
        self.on_turn: Callable[[], None] = lambda: None
        super().__init__(_NoSelector(self._advance))
        self._clock_resolution = 1e-6  # what is due within it is due now

    def time(self) -> float:
        """Seconds since the simulation began."""
        return self._now_s

    def run_in_executor(  # type: ignore[override]
        self, _executor: object, call: Callable[..., T], *args: Any
    ) -> "asyncio.Future[T]":
        """Run a blocking call here and now: a thread would bring its own order of things."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(call(*args))
        except BaseException as error:  # noqa: BLE001 - whoever awaits it dies of it, too
            future.set_exception(error)
        return future

    def _advance(self, timeout: float | None) -> None:
        if timeout is None:
            raise Standstill("everything waits for something that nobody does")
        self._now_s += timeout
        self.turns += 1
        self.on_turn()

    @property
    def now_ms(self) -> int:
        """What a clock says that nobody has set."""
        return EPOCH_MS + int(self._now_s * 1_000)

    @property
    def now_ns(self) -> int:
        """The same in nanoseconds, as a clock that nobody can set."""
        return EPOCH_MS * 1_000_000 + int(self._now_s * 1_000_000_000)
