"""Drives generator bodies: carries out what they yield and feeds the outcomes back."""

from collections.abc import Generator
from typing import Any, NoReturn

from holdfast import inside
from holdfast.commands import (
    Check,
    Choice,
    Command,
    DurableFuture,
    Join,
    LocalCall,
    RemoteCall,
    Sleep,
)
from holdfast.context import Context
from holdfast.errors import EncodeError, Panic
from holdfast.frame import Frame
from holdfast.runtime import joins
from holdfast.runtime.bodies import PROGRAMMING_ERRORS, Bodies, check_panic, halt
from holdfast.runtime.execution import Execution


async def drive(
    run: Execution,
    frame: Frame,
    args: tuple[object, ...],
    kwargs: dict[str, object],
    bodies: Bodies,
) -> tuple[object, Exception | None]:
    """Run a generator body to its end and wait for what it began; answer value or exception."""
    try:
        generator: Generator[Any, Any, object] = frame.function.fn(Context(frame), *args, **kwargs)
    except Exception as error:  # noqa: BLE001 - wrong arguments: the caller's error to see
        return None, error
    try:
        outcome = await _loop(run, frame, generator, bodies)
    finally:
        _close(run, generator)
    if frame.begun:
        await run.wait(list(frame.begun.values()))
    return outcome


async def _loop(
    run: Execution, frame: Frame, generator: Generator[Any, Any, object], bodies: Bodies
) -> tuple[object, Exception | None]:
    value: Any = None
    error: Exception | None = None
    while True:
        try:
            item = _next(frame, generator, value, error)
        except StopIteration as stop:
            _check_over(run, frame)
            return stop.value, None
        except Exception as raised:  # noqa: BLE001 - whatever a workflow raises is its outcome
            check_panic(run)
            if isinstance(raised, PROGRAMMING_ERRORS):
                halt(run, raised)
            return None, raised
        check_panic(run)
        value, error = await _carry_out(run, frame, generator, item, bodies)


def _next(
    frame: Frame,
    generator: Generator[Any, Any, object],
    value: object,
    error: Exception | None,
) -> object:
    """Let a body run up to its next `yield`; answer what it yields."""
    outside = inside.body.set(frame)
    try:
        return generator.send(value) if error is None else generator.throw(error)
    finally:
        inside.body.reset(outside)


async def _carry_out(
    run: Execution,
    frame: Frame,
    generator: Generator[Any, Any, object],
    item: object,
    bodies: Bodies,
) -> tuple[Any, Exception | None]:
    """Do what a body yielded; answer what to send or throw into it."""
    if isinstance(item, DurableFuture):
        return await _outcome_of(run, frame, item)
    if not isinstance(item, Command):
        _refuse(run, frame, generator, item)
    if isinstance(item, Check):
        return None, None
    try:
        if isinstance(item, Join):
            futures = joins.begin(run, frame, item.parts, bodies)
            return await joins.join(frame, item, futures, run.wait)
        child = _child_of(run, frame, item, bodies)
        if isinstance(item, Choice):
            futures = joins.begin(run, frame, item.parts, bodies)
            return await joins.choose(run, frame, item, futures, child, run.wait)
    except EncodeError as unencodable:
        return None, unencodable
    waits = isinstance(item, Sleep) or (isinstance(item, (LocalCall, RemoteCall)) and item.waits)
    if child.state is None and isinstance(item, LocalCall):
        if not waits:
            bodies.spawn(run, frame, child, item)
        elif not child.running:  # it may have been begun before, under an explicit id
            await bodies.run(run, frame, child, item)
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


def _child_of(
    run: Execution, frame: Frame, item: Command[Any, Any], bodies: Bodies
) -> DurableFuture[Any]:
    if item.consumed:
        halt(run, Panic(f"{item.describe()} in {frame.function.name} was yielded twice"))
    if item.frame is not frame:
        halt(run, Panic(f"{item.describe()} was yielded by {frame.function.name}, not its maker"))
    return bodies.make(run, frame, item)


# The end of a body


def _check_over(run: Execution, frame: Frame) -> None:
    check_panic(run)
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
