"""Signals become the cancellation of the command, so that everything unwinds in one way."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any


def run(main: Coroutine[Any, Any, int], *, interrupted: int) -> int:
    """Run a command to its exit code; `interrupted` is the code when a signal ended it.

    The first signal cancels the command, which then cleans up; the next one cancels the clean-up.
    """
    return asyncio.run(_cancelled_by_signals(main, interrupted))


async def _cancelled_by_signals(main: Coroutine[Any, Any, int], interrupted: int) -> int:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
            continue  # nohup: the terminal may go, the command stays
        loop.add_signal_handler(number, task.cancel)
    try:
        return await main
    except asyncio.CancelledError:
        return interrupted
