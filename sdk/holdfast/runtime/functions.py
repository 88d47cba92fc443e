"""Runs functions of every kind: workflows of both styles, and steps."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from holdfast.commands import (
    Command,
    DetachedCall,
    DurableFuture,
    Latent,
    LocalCall,
    RemoteCall,
    Sleep,
)
from holdfast.errors import NonDeterminism
from holdfast.frame import Frame
from holdfast.registry import Kind
from holdfast.runtime import children, driver
from holdfast.runtime.bodies import PROGRAMMING_ERRORS, Bodies, cancelled_inside, halt
from holdfast.runtime.coroutines import Body
from holdfast.runtime.execution import Execution
from holdfast.runtime.steps import Enter, counted, enter_step, run_step, settle


async def drive(
    run: Execution, frame: Frame, args: tuple[object, ...], kwargs: dict[str, object]
) -> tuple[object, Exception | None]:
    """Run the body of a workflow to its end; answer its value or its exception."""
    if frame.function.kind is Kind.GENERATOR:
        return await driver.drive(run, frame, args, kwargs, FUNCTIONS)
    body = Body(run, frame, FUNCTIONS, child=None, is_strict=True)
    try:
        return await body.outcome(args, kwargs), None
    except PROGRAMMING_ERRORS as error:
        halt(run, error)
    except Exception as error:  # noqa: BLE001 - whatever a workflow raises is its outcome
        return None, error
    except asyncio.CancelledError as error:
        return None, cancelled_inside(run, error, body="workflow")


def enter_of(kind: Kind) -> Enter:
    """Answer how the body of a function is entered that is no workflow by its kind."""
    return _enter_coroutine if kind is Kind.COROUTINE else enter_step


async def _enter_coroutine(
    run: Execution,
    child: DurableFuture[Any] | None,
    frame: Frame,
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> object:
    """Run an `async def` as a step, and as a workflow from its first durable call on."""
    with counted(run, frame):
        body = Body(run, frame, FUNCTIONS, child=child, is_strict=False)
        return await body.outcome(args, kwargs)


class _Functions:
    """The children of bodies, as their drivers want them."""

    def make(self, run: Execution, frame: Frame, command: Command[Any, Any]) -> DurableFuture[Any]:
        """Make the child of a command; raise `EncodeError`."""
        command.consumed = True
        del frame.open[command.seq]
        try:
            if isinstance(command, LocalCall):
                return children.local(run, frame, command)
            if isinstance(command, (RemoteCall, DetachedCall)):
                child = children.remote(run, frame, command)
            elif isinstance(command, Sleep):
                child = children.timer(run, frame, command)
            else:
                assert isinstance(command, Latent)
                child = children.latent(run, frame, command)
        except NonDeterminism as drift:
            halt(run, drift)
        if child.state is None and child.attached:
            frame.begun[child.id] = child
        return child

    def run(
        self, run: Execution, frame: Frame, child: DurableFuture[Any], command: LocalCall[Any, Any]
    ) -> Coroutine[Any, Any, None]:
        """Run a local child inside the caller's strand."""
        child.running = True
        return _local(run, frame, child, command)

    def spawn(
        self, run: Execution, frame: Frame, child: DurableFuture[Any], command: LocalCall[Any, Any]
    ) -> None:
        """Run a local child in a strand of its own, unless it runs already."""
        frame.begun[child.id] = child
        if not child.running:
            child.running = True
            run.spawn(_begun(run, frame, child, command))


FUNCTIONS: Bodies = _Functions()


async def _begun(
    run: Execution, frame: Frame, child: DurableFuture[Any], command: LocalCall[Any, Any]
) -> None:
    await _local(run, frame, child, command)
    run.writer.flush_soon()


def _local(
    run: Execution, frame: Frame, child: DurableFuture[Any], command: LocalCall[Any, Any]
) -> Coroutine[Any, Any, None]:
    """Choose how a local child is run. No coroutine itself: each one around a step costs."""
    kind = command.function.kind
    if kind.is_workflow:
        return _run_workflow(run, frame, child, command)
    return run_step(run, frame, child, command, enter_of(kind))


async def _run_workflow(
    run: Execution, frame: Frame, child: DurableFuture[Any], command: LocalCall[Any, Any]
) -> None:
    if not child.known:
        ticket = run.queue_create(child)
        if not child.fresh:
            await run.writer.durable(ticket)
            if child.state is not None:
                return
    assert child.lineage is not None
    create = run.rejoin(child)
    inner = Frame(
        run,
        command.function,
        child.lineage,
        deadline_ms=create.timeout_at_ms,
        tags=create.tags,
        observed=frame.observed,
        takes_commands=True,
    )
    value, error = await drive(run, inner, command.args, command.kwargs)
    await settle(run, child, value, error)
