"""Drives generator bodies: carries out what they yield and feeds the outcomes back.

The driver of another style of workflow needs the same three things: `child_of` for a command,
`begin` or `call` for a local child, and `Execution.wait` for any child.
"""

from collections.abc import Generator
from typing import Any, NoReturn

from holdfast.commands import (
    Check,
    Command,
    DetachedCall,
    DurableFuture,
    Latent,
    LocalCall,
    RemoteCall,
    Sleep,
)
from holdfast.context import Context
from holdfast.errors import EncodeError, NonDeterminism, NonDurableAwait, Panic
from holdfast.frame import Frame
from holdfast.registry import Kind
from holdfast.runtime import children
from holdfast.runtime.execution import Execution
from holdfast.runtime.steps import run_step, settle
from holdfast.runtime.waits import Ended

PROGRAMMING_ERRORS = (Panic, NonDeterminism, NonDurableAwait)
"""Errors that no retry and no caller can deal with: the task halts."""


async def drive(
    run: Execution, frame: Frame, args: tuple[object, ...], kwargs: dict[str, object]
) -> tuple[object, Exception | None]:
    """Run a generator body to its end and wait for what it began; answer value or exception."""
    try:
        generator: Generator[Any, Any, object] = frame.function.fn(Context(frame), *args, **kwargs)
    except Exception as error:  # noqa: BLE001 - wrong arguments: the caller's error to see
        return None, error
    try:
        outcome = await _loop(run, frame, generator)
    finally:
        _close(run, generator)
    if frame.begun:
        await run.wait(list(frame.begun.values()))
    return outcome


async def _loop(
    run: Execution, frame: Frame, generator: Generator[Any, Any, object]
) -> tuple[object, Exception | None]:
    value: Any = None
    error: Exception | None = None
    while True:
        try:
            item = generator.send(value) if error is None else generator.throw(error)
        except StopIteration as stop:
            _check_over(run, frame)
            return stop.value, None
        except Exception as raised:  # noqa: BLE001 - whatever a workflow raises is its outcome
            _check_panic(run)
            if isinstance(raised, PROGRAMMING_ERRORS):
                halt(run, raised)
            return None, raised
        _check_panic(run)
        value, error = await _carry_out(run, frame, generator, item)


async def _carry_out(
    run: Execution, frame: Frame, generator: Generator[Any, Any, object], item: object
) -> tuple[Any, Exception | None]:
    """Do what a body yielded; answer what to send or throw into it."""
    if isinstance(item, DurableFuture):
        return await _outcome_of(run, frame, item)
    if not isinstance(item, Command):
        _refuse(run, frame, generator, item)
    if isinstance(item, Check):
        return None, None
    try:
        child = _child_of(run, frame, item)
    except EncodeError as unencodable:
        return None, unencodable
    waits = isinstance(item, Sleep) or (isinstance(item, (LocalCall, RemoteCall)) and item.waits)
    if child.state is None and isinstance(item, LocalCall):
        if waits:
            await call(run, frame, child, item)
        else:
            begin(run, frame, child, item)
    return (await _outcome_of(run, frame, child)) if waits else (child, None)


async def _outcome_of(
    run: Execution, frame: Frame, child: DurableFuture[Any]
) -> tuple[object, Exception | None]:
    if child.execution is not run:
        halt(run, Panic(f"{frame.lineage.id} yielded {child!r} of another run"))
    if child.state is None:
        await run.wait((child,))
    frame.begun.pop(child.id, None)
    frame.observed = max(frame.observed, child.ticket)
    return child.value, child.error


def _child_of(run: Execution, frame: Frame, item: Command[Any]) -> DurableFuture[Any]:
    if item.consumed:
        halt(run, Panic(f"{item.describe()} in {frame.function.name} was yielded twice"))
    if item.frame is not frame:
        halt(run, Panic(f"{item.describe()} was yielded by {frame.function.name}, not its maker"))
    item.consumed = True
    del frame.open[item.seq]
    try:
        if isinstance(item, LocalCall):
            return children.local(run, frame, item)
        if isinstance(item, (RemoteCall, DetachedCall)):
            child = children.remote(run, frame, item)
        elif isinstance(item, Sleep):
            child = children.timer(run, frame, item)
        else:
            assert isinstance(item, Latent)
            child = children.latent(run, frame, item)
    except NonDeterminism as drift:
        halt(run, drift)
    if child.state is None and child.attached:
        frame.begun[child.id] = child
    return child


# Local children


async def call(
    run: Execution, frame: Frame, child: DurableFuture[Any], command: LocalCall[Any]
) -> None:
    """Run a local child inside the caller's strand."""
    if child.running:  # begun before, under an explicit id
        await run.wait((child,))
        return
    child.running = True
    await _run_local(run, frame, child, command)


def begin(run: Execution, frame: Frame, child: DurableFuture[Any], command: LocalCall[Any]) -> None:
    """Run a local child in a strand of its own."""
    frame.begun[child.id] = child
    if not child.running:
        child.running = True
        run.spawn(_begun(run, frame, child, command))


async def _begun(
    run: Execution, frame: Frame, child: DurableFuture[Any], command: LocalCall[Any]
) -> None:
    await _run_local(run, frame, child, command)
    run.writer.flush_soon()


async def _run_local(
    run: Execution, frame: Frame, child: DurableFuture[Any], command: LocalCall[Any]
) -> None:
    if command.function.kind is not Kind.GENERATOR:
        await run_step(run, frame, child, command)
        return
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


# The end of a body


def halt(run: Execution, error: Exception) -> NoReturn:
    """Halt the task and unwind the strand."""
    run.halt(f"{type(error).__name__}: {error}")
    raise Ended


def _check_panic(run: Execution) -> None:
    if run.panicked is not None:
        halt(run, run.panicked)


def _check_over(run: Execution, frame: Frame) -> None:
    _check_panic(run)
    if frame.open:
        lost = ", ".join(command.describe() for command in frame.open.values())
        halt(
            run,
            Panic(f"{frame.function.name} made {lost} and never yielded it", code="lost_command"),
        )


def _refuse(
    run: Execution, frame: Frame, generator: Generator[Any, Any, object], item: object
) -> NoReturn:
    code = getattr(generator, "gi_frame", None)
    line = "" if code is None else f", line {code.f_lineno}"
    halt(
        run,
        Panic(
            f"{frame.function.name}{line} yielded {item!r}, a plain value; "
            "did you mean `yield ctx.run(...)`?",
            code="bad_yield",
        ),
    )


def _close(run: Execution, generator: Generator[Any, Any, object]) -> None:
    """Run the `finally` blocks of a body that will not go on."""
    try:
        generator.close()
    except RuntimeError as error:
        # The body yields inside `finally`: nothing durable can happen there any more.
        run.worker.log.warning(
            "generator_yielded_while_closing", promise_id=run.id, error=str(error)
        )
    except Exception as error:  # noqa: BLE001 - the body's clean-up failed; its run is over anyway
        run.worker.log.warning(
            "generator_failed_while_closing", promise_id=run.id, error=str(error)
        )
