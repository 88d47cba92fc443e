"""W5 and W6: a worker that is killed in the midst of its work, and many who sleep."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import time

from tests.bench.measuring import at_part
from tests.bench.shapes import (
    CRASH_AFTER_STEPS,
    CRASH_STEPS,
    CRASH_WORKFLOWS,
    SLEEP_S,
    SLEEPERS,
)
from tests.bench.step_log import AWAKE, END, Recovery, lateness_ms, recovery_of
from tests.bench.subject import Subject

LOOK_EVERY_S = 0.002
LOOK_SECONDS_MAX = 120.0


@dataclass(frozen=True, slots=True)
class Crash:
    """W5's result."""

    recovery: Recovery
    results_s: float
    """From the kill until the client had all results, or knew that all steps had ended."""


@dataclass(frozen=True, slots=True)
class Lateness:
    """W6's result."""

    p50_ms: float
    p99_ms: float


async def crash(subject: Subject, *, workflows: int = CRASH_WORKFLOWS) -> Crash:
    """Kill the worker when it has done its part of the steps, and start another at once."""
    steps = workflows * CRASH_STEPS
    kill_after = CRASH_AFTER_STEPS * workflows // CRASH_WORKFLOWS
    log = subject.step_log
    async with asyncio.TaskGroup() as group:
        everything = group.create_task(subject.run_all("w5", range(workflows)))
        await _until(lambda: log.count(END) >= kill_after)
        killed_at_s = time()
        subject.kill_worker()
        await subject.start_worker()
        await everything
        await _until(lambda: log.count(END) >= steps)
        results_s = time() - killed_at_s
    recovery = recovery_of(log.read(), killed_at_s=killed_at_s, steps=steps)
    return Crash(recovery, results_s)


async def sleepers(subject: Subject, *, count: int = SLEEPERS) -> Lateness:
    """Let many sleep at the same time, and see how late they wake up."""
    await subject.run_all("w6", range(count))
    log = subject.step_log
    await _until(lambda: log.count(AWAKE) >= count)
    late = lateness_ms(log.read(), slept_s=SLEEP_S)
    return Lateness(at_part(late, 0.5), at_part(late, 0.99))


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LOOK_SECONDS_MAX):
        while not condition():  # noqa: ASYNC110 - a file cannot wake anybody
            await asyncio.sleep(LOOK_EVERY_S)
