"""Waits for several children: all of them, or the one that counts.

Which child counted is recorded as a checkpoint, since a later pass may find that others are settled
as well. The wait for all needs none: its outcome is that of every child.
"""

from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

from holdfast.commands import Choice, Command, DurableFuture, Join, LocalCall, Part
from holdfast.core.records import EMPTY, TARGET, PromiseState
from holdfast.core.requests import PromiseSettle, TaskFence
from holdfast.errors import NonDeterminism, Panic
from holdfast.frame import Frame
from holdfast.runtime.bodies import Bodies, halt
from holdfast.runtime.execution import Execution
from holdfast.runtime.steps import settle
from holdfast.runtime.writer import Role

NOBODY = -1
"""Recorded when each child was rejected, so that none of them counts."""


class Waiting(Protocol):
    """How the body waits: a generator's strand, a coroutine's, or a task beside it."""

    def __call__(
        self, futures: Sequence[DurableFuture[Any]], *, first: bool = False
    ) -> Awaitable[None]:
        """Return when all are done, or the first."""


def begin(
    run: Execution, frame: Frame, parts: Sequence[Part], bodies: Bodies
) -> list[DurableFuture[Any]]:
    """Begin the commands among some parts, in order; raise `EncodeError`."""
    return [_begun(run, frame, part, bodies) for part in parts]


def _begun(run: Execution, frame: Frame, part: Part, bodies: Bodies) -> DurableFuture[Any]:
    if isinstance(part, Command):
        child = part.future
        if child is None:
            if part.consumed or part.frame is not frame or isinstance(part, (Join, Choice)):
                halt(run, Panic(f"{part.describe()} in {frame.function.name} cannot be begun here"))
            child = bodies.make(run, frame, part)
            if child.state is None and isinstance(part, LocalCall):
                bodies.spawn(run, frame, child, part)
    else:
        child = part
    if child.execution is not run:
        halt(run, Panic(f"{frame.lineage.id} waits for {child!r} of another run"))
    return child


async def join(
    frame: Frame, command: Join, futures: Sequence[DurableFuture[Any]], wait: Waiting
) -> tuple[list[Any], Exception | None]:
    """Wait for all; answer their values, or the first error in their order."""
    await wait(futures)
    for future in futures:
        _seen(frame, future)
    if command.collects:
        return [f.value if f.error is None else f.error for f in futures], None
    error = next((f.error for f in futures if f.error is not None), None)
    return [f.value for f in futures], error


async def choose(
    run: Execution,
    frame: Frame,
    command: Choice,
    futures: Sequence[DurableFuture[Any]],
    record: DurableFuture[Any],
    wait: Waiting,
) -> tuple[Any, Exception | None]:
    """Wait for the child that counts, and record which it is; answer its value or error."""
    if record.state is None:
        place = await _place(run, futures, wait, resolved=command.what == "any")
        await settle(run, record, place, None)
    frame.observed = max(frame.observed, record.ticket)
    frame.begun.pop(record.id, None)
    place = record.value
    if type(place) is not int or not NOBODY <= place < len(futures):
        halt(run, NonDeterminism(f"{record.id} records {place!r}, which names none of its parts"))
    if place == NOBODY:
        await wait(futures)
        return None, ExceptionGroup(f"all parts of {record.id} failed", _errors(futures))
    chosen = futures[place]
    if chosen.state is None:  # chosen by an earlier pass; this one has not seen its record yet
        await wait((chosen,))
    _seen(frame, chosen)
    if command.cancels:
        for future in futures:
            _cancel(run, future)
    if command.what == "select":
        return place, None
    return chosen.value, chosen.error


async def _place(
    run: Execution, futures: Sequence[DurableFuture[Any]], wait: Waiting, *, resolved: bool
) -> int:
    """Answer the place of the first child that is settled, or resolved."""
    while True:
        fit = [
            place
            for place, future in enumerate(futures)
            if future.state is not None and (not resolved or future.error is None)
        ]
        if fit:
            return min(fit, key=lambda place: _settled_at_ms(run, futures[place]))
        pending = [future for future in futures if future.state is None]
        if not pending:
            return NOBODY
        await wait(pending, first=True)


def _settled_at_ms(run: Execution, future: DurableFuture[Any]) -> float:
    """When a child was settled: a worker that was away may find several at once."""
    record = run.cache.get(future.id)
    at_ms = None if record is None else record.settled_at_ms
    return float("inf") if at_ms is None else at_ms


def _errors(futures: Sequence[DurableFuture[Any]]) -> list[Exception]:
    return [future.error for future in futures if future.error is not None]


def _seen(frame: Frame, future: DurableFuture[Any]) -> None:
    frame.begun.pop(future.id, None)
    frame.observed = max(frame.observed, future.ticket)


def _cancel(run: Execution, future: DurableFuture[Any]) -> None:
    """Cancel a child that nobody waits for any more; one that runs here ends by itself."""
    if future.state is not None or future.local:
        return
    action = PromiseSettle(id=future.id, state=PromiseState.REJECTED_CANCELED, value=EMPTY)
    fence = TaskFence(id=run.id, version=run.version, action=action, skip_preload=True)
    ticket = run.writer.add(fence, future, Role.SETTLE)
    run.writer.flush_soon()
    if TARGET in run.rejoin(future).tags:  # others have nothing beneath them
        run.worker.cancel_loser(run, future.id, ticket=ticket)
