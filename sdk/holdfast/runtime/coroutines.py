"""Runs `async def` bodies: what they ask for begins at once, and awaiting it is a durable wait.

A body is driven piece by piece, so that it is known when it waits, and for what. A wait for a child
by the body itself is like that of a generator. A wait by another task, as `asyncio.gather` makes
them, counts for nothing by itself: if then the body and its tasks stand still for a few turns of
the loop, the body counts as waiting. Ids follow the order in which children are begun, so only the
body itself may begin any: the order among tasks would depend on what ends first.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from holdfast import inside
from holdfast.commands import Choice, Command, DurableFuture, Join, LocalCall
from holdfast.context import Context
from holdfast.errors import NonDurableAwait
from holdfast.frame import Frame
from holdfast.runtime import joins
from holdfast.runtime.bodies import PROGRAMMING_ERRORS, Bodies
from holdfast.runtime.execution import Execution
from holdfast.runtime.waits import Ended

A = TypeVar("A")

TURNS = 10
"""Turns of the event loop without any progress after which a body stands still."""


class Body:
    """An `async def` body while it runs.

    Invariants: what was begun and not started yet is in `_unstarted` and starts before the body
    waits; `_idle` says that the body's strand does not count as active although it never said so.
    """

    __slots__ = (
        "_bodies",
        "_closed",
        "_epoch",
        "_frame",
        "_idle",
        "_inner",
        "_is_strict",
        "_run",
        "_self",
        "_side_waits",
        "_stands",
        "_task",
        "_unstarted",
        "_warned",
    )

    def __init__(
        self,
        run: Execution,
        frame: Frame,
        bodies: Bodies,
        *,
        child: DurableFuture[Any] | None,
        is_strict: bool,
    ) -> None:
        """Prepare; `child` is the child whose body this is, if it may turn out to be a workflow."""
        self._run = run
        self._frame = frame
        self._bodies = bodies
        self._self = child
        self._is_strict = is_strict
        self._task: asyncio.Task[Any] | None = None
        self._unstarted: dict[str, LocalCall[Any, Any]] = {}
        self._inner = 0
        """How deep the body is in a wait of ours."""
        self._side_waits = 0
        self._stands = False
        """Whether the body waits for something that is not ours, such as `asyncio.gather`."""
        self._idle = False
        self._epoch = 0
        self._closed = False
        self._warned = False

    # Running

    async def outcome(self, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        """Run the body to its end and wait for what it began; raises what it raised."""
        frame = self._frame
        frame.body = self
        # The loop is named: Python would find it by a system call, for each step.
        self._task = asyncio.current_task(self._run.loop)
        try:
            value = await self._enter(frame.function.fn(Context(frame), *args, **kwargs))
        except PROGRAMMING_ERRORS:
            raise
        except Exception:
            await self._join()
            raise
        finally:
            self._closed = True
        if frame.seq:
            await self._join()
        return value

    async def _enter(self, coroutine: Coroutine[Any, Any, object]) -> object:
        outer = inside.body.set(self._frame)
        try:
            item = coroutine.send(None)
        except StopIteration as stop:  # it waited for nothing, as many steps do
            return stop.value
        finally:
            inside.body.reset(outer)
        self._run.worker.slow.watch(self._run, self._self)
        return await inside.Marked(coroutine, self._frame, self, begun=(item,))

    async def _join(self) -> None:
        """Wait for what the body began and has not seen the end of."""
        if self._run.panicked is not None:
            raise self._run.panicked
        self._start_all()
        if self._frame.begun:
            await self._run.wait(list(self._frame.begun.values()))

    # Durable calls

    def begin(self, command: Command[Any, Any]) -> None:
        """Begin what a method of the context has just asked for."""
        run, frame = self._run, self._frame
        if run.ending and not self._closed:
            raise Ended
        self._check_place(command)
        if frame.seq == 1 and not frame.function.kind.is_workflow:
            self._become_workflow()
        if isinstance(command, Join):
            return
        child = self._bodies.make(run, frame, command)
        command.future = child
        if isinstance(command, Choice):
            return
        if child.state is None and isinstance(command, LocalCall) and not child.running:
            frame.begun[child.id] = child
            if not self._unstarted:
                run.loop.call_soon(self._start_all)
            self._unstarted[child.id] = command
        run.writer.flush_soon()

    async def outcome_of(self, command: Command[Any, A]) -> A:
        """Wait for a child that has begun; answer its value or raise its error."""
        # Whoever awaits need not be the body that has begun it: a child's may be given it.
        frame = inside.body.get()
        body = None if frame is None else frame.body
        if frame is None or not isinstance(body, Body) or body._run is not self._run:  # noqa: SLF001
            raise NonDurableAwait(f"{command.describe()} is awaited outside of its workflow")
        value: Any
        if isinstance(command, (Join, Choice)):
            value, error = await body._outcome_of_several(command)  # noqa: SLF001
        else:
            child = command.future
            assert child is not None, "begun when it was made"
            await body._wait_for((child,))  # noqa: SLF001
            self._frame.begun.pop(child.id, None)
            frame.observed = max(frame.observed, child.ticket)
            value, error = child.value, child.error
        if error is not None:
            raise error
        answer: A = value
        return answer

    async def _outcome_of_several(self, command: Join | Choice) -> tuple[Any, Exception | None]:
        run, frame = self._run, self._frame
        futures = joins.begin(run, frame, command.parts, self._bodies)
        if isinstance(command, Join):
            return await joins.join(frame, command, futures, self._wait_for)
        record = command.future
        assert record is not None, "begun when it was made"
        return await joins.choose(run, frame, command, futures, record, self._wait_for)

    async def _wait_for(
        self, futures: Sequence[DurableFuture[Any]], *, first: bool = False
    ) -> None:
        """Wait for all of some children, or the first, as the task that calls has to."""
        if self._run.ending:
            raise Ended
        if asyncio.current_task() is not self._task:
            self._start_all()
            if any(future.state is None for future in futures):
                self._side_waits += 1
                self._stir()
                await self._run.wait(futures, first=first, aside=self)
            return
        self._inner += 1
        try:
            await self._wait_here(futures, first=first)
        except asyncio.CancelledError:
            if not self._run.ending:
                raise self._run.panic_of_cancel() from None
            raise
        finally:
            self._inner -= 1

    async def _wait_here(self, futures: Sequence[DurableFuture[Any]], *, first: bool) -> None:
        """Wait in the body's own strand; one child that has not started yet runs right here."""
        command = self._unstarted.pop(futures[0].id, None) if len(futures) == 1 else None
        self._start_all()
        if command is not None:
            await self._bodies.run(self._run, self._frame, futures[0], command)
        await self._run.wait(futures, first=first)

    def _start_all(self) -> None:
        if not self._unstarted or self._run.ending:
            return
        unstarted, self._unstarted = self._unstarted, {}
        for command in unstarted.values():
            assert command.future is not None
            self._bodies.spawn(self._run, self._frame, command.future, command)

    def _check_place(self, command: Command[Any, Any]) -> None:
        """Raise `NonDurableAwait` unless the body itself made a command, while it runs."""
        if self._closed:
            flaw = "after the function had returned"
        elif asyncio.current_task() is not self._task:
            flaw = (
                "in another asyncio task than the function's own, where ids would depend on "
                "timing; give the part that runs beside it a function of its own: "
                "ctx.begin_run(part)"
            )
        elif inside.body.get() is not self._frame:
            flaw = "by another function than the one that the context belongs to"
        else:
            return
        self._frame.open.pop(command.seq, None)
        name = self._frame.function.name
        self._run.panicked = NonDurableAwait(
            f"{command.describe()} of {name} ({self._frame.lineage.id}) was called {flaw}"
        )
        raise self._run.panicked

    def _become_workflow(self) -> None:
        """Stop counting as the body of a step, at the first durable call."""
        run = self._run
        run.bodies -= 1
        if run.stop_requested:
            run.request_stop()
            if run.ending:
                raise Ended
        child = self._self
        if child is not None and not child.sent and not child.known:
            run.rejoin(child)
            run.queue_create(child)

    # Standing still

    def blocked(self) -> None:
        """Learn that the body waits for something."""
        if not self._inner:
            self._stands = True
            self._stir()

    def resumed(self) -> BaseException | None:
        """Learn that the body goes on; answer what to throw into it instead."""
        self._stands = False
        self._epoch += 1
        if not self._idle or self._run.ended:
            return None
        # What it waited for came about by itself: nothing records that, and the lease is gone.
        self._idle = False
        self._run.active += 1
        if not self._run.is_suspended:
            return None
        self._run.halt_suspended(self._not_durable())
        return Ended()

    def side_wait_ended(self) -> None:
        """Learn that a task beside the body goes on, and with it the body."""
        self._side_waits -= 1
        if self._idle:
            self._idle = False
            self._run.active += 1
        self._stir()

    def _stir(self) -> None:
        """Look again, in a while, whether the body stands still."""
        self._epoch += 1
        if self._stands and self._frame.is_workflow:
            self._run.loop.call_soon(self._look, self._epoch, TURNS)

    def _look(self, epoch: int, left: int) -> None:
        run = self._run
        if epoch != self._epoch or not self._stands or run.ending:
            return
        if left:
            run.loop.call_soon(self._look, epoch, left - 1)
        elif self._side_waits:
            self._idle = True
            run.active -= 1
            run.writer.flush_now()
        else:
            self._awaits_something_else()

    def _awaits_something_else(self) -> None:
        run = self._run
        if self._is_strict:
            error = self._not_durable()
            run.halt(f"{type(error).__name__}: {error}")
        elif not self._warned:
            self._warned = True
            name = self._frame.function.name
            run.worker.log.warning(
                "non_durable_await", func=name, promise_id=self._frame.lineage.id
            )

    def _not_durable(self) -> NonDurableAwait:
        return NonDurableAwait(
            f"{self._frame.function.name} ({self._frame.lineage.id}) awaits something that no "
            "promise records; do it in a step: ctx.run(step)"
        )
