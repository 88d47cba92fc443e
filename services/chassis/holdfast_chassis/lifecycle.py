"""The life of a process: event loop, signals, exit code.

The first SIGTERM or SIGINT asks; the second one does not wait. What is asked of `main` is the order
of `Shutdown`: stop accepting, drain, release leases, close, return.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable

from holdfast_chassis.logs import get_logger

new_event_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    from uvloop import new_event_loop
except ImportError:  # it does not exist for Windows
    from asyncio import new_event_loop

log = get_logger(__name__)


class StartFailed(Exception):
    """The process cannot start, and one sentence explains why; it exits without a traceback.

    The exit code is 1, or 2 where somebody must first change what the process was given.
    """

    def __init__(self, sentence: str, *, code: int = 1) -> None:
        super().__init__(sentence)
        self.code = code


class Shutdown:
    """Whether the process has been asked to stop; once asked, always asked."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def is_requested(self) -> bool:
        """Whether it is time to stop."""
        return self._event.is_set()

    def request(self) -> None:
        """Ask the process to stop, as a signal does."""
        self._event.set()

    async def wait(self) -> None:
        """Return when it is time to stop."""
        await self._event.wait()


def run(main: Callable[[Shutdown], Awaitable[None]]) -> int:
    """Run `main` until it returns; return the exit code.

    0 when it returns, graceful stops included; 1 when it raises, which is logged once. A second
    signal ends the process at once with 128 + its number.
    """
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_guard(main))


async def _guard(main: Callable[[Shutdown], Awaitable[None]]) -> int:
    shutdown = Shutdown()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, shutdown, number)
    try:
        await main(shutdown)
    except StartFailed as error:
        log.error("start_failed", reason=str(error))  # noqa: TRY400 - the sentence is enough
        return error.code
    except Exception:
        log.exception("process_failed")
        return 1
    return 0


def _on_signal(shutdown: Shutdown, number: signal.Signals) -> None:
    if shutdown.is_requested:
        log.warning("shutdown_forced", signal=number.name)
        sys.stderr.flush()
        os._exit(128 + number)
    log.info("shutdown_requested", signal=number.name)
    shutdown.request()
