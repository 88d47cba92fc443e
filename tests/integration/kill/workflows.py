"""Workflows that only tests need: steps in a row, and a step that takes as long as a test wants."""

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

from holdfast import Context, Resonate
from holdfast_worker.outside import DEPENDENCY, Outside

LADDER: Final = "ladder"
PATIENT: Final = "patient"
RUNGS: Final = ("first", "second", "third", "fourth")


def ladder(ctx: Context) -> Generator[Any, Any, int]:
    """Climb step by step, all of them on this worker and without a wait between them."""
    height = 0
    for rung in RUNGS:
        height = yield ctx.run(climb, rung, height)
    return height


def climb(ctx: Context, rung: str, height: int) -> int:
    """Take a rung."""
    _outside(ctx).enter(ctx, rung)
    return height + 1


def patient(ctx: Context, pipe: str) -> Generator[Any, Any, str]:
    """Run a step that waits for a word."""
    word: str = yield ctx.run(wait_for_a_word, pipe)
    return word


def wait_for_a_word(ctx: Context, pipe: str) -> str:
    """Block this thread until somebody has written into the pipe that this process reads."""
    _outside(ctx).enter(ctx, "waitForAWord")
    return pipe_of(pipe, os.getpid()).read_text()


def pipe_of(pipe: str, os_pid: int) -> Path:
    """Name the pipe of one process, so that a test can speak to one of several."""
    return Path(f"{pipe}.{os_pid}")


def _outside(ctx: Context) -> Outside:
    outside: Outside = ctx.get_dependency(DEPENDENCY)
    return outside


def register(resonate: Resonate) -> None:
    """Register everything here."""
    resonate.register(LADDER, ladder)
    resonate.register("climb", climb)
    resonate.register(PATIENT, patient)
    resonate.register("waitForAWord", wait_for_a_word)
