"""What the drivers of bodies share: how children are made and run, and how a run is halted.

Bodies begin bodies of every kind, so that a driver is given the whole (`Bodies`) from outside.
"""

import asyncio
from typing import Any, NoReturn, Protocol

from holdfast.commands import Command, DurableFuture, LocalCall
from holdfast.errors import NonDeterminism, NonDurableAwait, Panic
from holdfast.frame import Frame
from holdfast.runtime.execution import Execution
from holdfast.runtime.waits import Ended

PROGRAMMING_ERRORS = (Panic, NonDeterminism, NonDurableAwait)
"""Errors that no retry and no caller can deal with: the task halts."""


class Bodies(Protocol):
    """Makes the children of a body, and runs those that are local."""

    def make(self, run: Execution, frame: Frame, command: Command[Any, Any]) -> DurableFuture[Any]:
        """Make the child of a command; raise `EncodeError`."""

    async def run(
        self, run: Execution, frame: Frame, child: DurableFuture[Any], command: LocalCall[Any, Any]
    ) -> None:
        """Run a local child inside the caller's strand."""

    def spawn(
        self, run: Execution, frame: Frame, child: DurableFuture[Any], command: LocalCall[Any, Any]
    ) -> None:
        """Run a local child in a strand of its own, unless it runs already."""


def halt(run: Execution, error: Exception) -> NoReturn:
    """Halt the task and unwind the strand."""
    run.halt(f"{type(error).__name__}: {error}")
    raise Ended


def check_panic(run: Execution) -> None:
    """Halt the task if the body has given up, whatever it caught."""
    if run.panicked is not None:
        halt(run, run.panicked)


def cancelled_inside(run: Execution, error: asyncio.CancelledError, *, body: str) -> RuntimeError:
    """Answer as what a body failed that was cancelled by something of its own.

    A cancellation that came from outside, or with the end of the run, is raised again.
    """
    task = asyncio.current_task()
    if run.ending or (task is not None and task.cancelling()):
        raise error
    failure = RuntimeError(f"the {body} was cancelled from inside")
    failure.__cause__ = error
    return failure
