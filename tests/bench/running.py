"""Runs a benchmark to its exit code; whatever ends it, no process is left behind."""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from typing import Any

from holdfast_chassis.lifecycle import new_event_loop
from tests.bench.processes import ProcessFailed


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run a program; return its exit code."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        try:
            return runner.run(_until_told(main))
        except ProcessFailed as error:
            print(error, file=sys.stderr)
            return 1
        except (KeyboardInterrupt, asyncio.CancelledError):
            print("stopped; every process has ended", file=sys.stderr)
            return 130


async def _until_told(main: Coroutine[Any, Any, int]) -> int:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await main
