"""Runs steps: when a body may start, how often it is tried, and how its outcome is recorded.

The rule that everything here serves: a body starts only when the checkpoint before it in the same
sequential flow is durable, and never without a prior write unless the lease is known to hold for a
good while. A step that the store is known not to have is then recorded by one write after it ran.
"""

import asyncio
import inspect
from collections.abc import Mapping, Sequence
from time import perf_counter
from types import TracebackType
from typing import Any, Protocol

from holdfast import inside
from holdfast.codec import Codec
from holdfast.commands import DurableFuture, LocalCall
from holdfast.context import Context
from holdfast.core.records import PromiseState, ReleaseReason, TaskState
from holdfast.core.requests import Done, TaskGet, TaskHeartbeat, TaskRef
from holdfast.errors import (
    EncodeError,
    NonDeterminism,
    NonDurableAwait,
    Panic,
    ServerUnavailable,
)
from holdfast.frame import Frame
from holdfast.lineage import Lineage
from holdfast.meter import StepEnd, counted_name
from holdfast.registry import Function, Kind
from holdfast.retry import WORKFLOW_DEFAULT, RetryPolicy, is_retryable
from holdfast.runtime import children
from holdfast.runtime.bodies import cancelled_inside
from holdfast.runtime.execution import OPTIMISM_MARGIN_MS, Execution
from holdfast.runtime.threads import NotBegun
from holdfast.runtime.waits import Ended

CHECK_LEASE_S = 1.0


class Enter(Protocol):
    """Runs the body of a function once; raises what it raises."""

    async def __call__(
        self,
        run: Execution,
        child: DurableFuture[Any] | None,
        frame: Frame,
        args: tuple[object, ...],
        kwargs: dict[str, object],
        /,
    ) -> object:
        """Enter the body; `child` is `None` for a root."""


async def run_step(
    run: Execution,
    frame: Frame,
    child: DurableFuture[Any],
    command: LocalCall[Any, Any],
    enter: Enter,
) -> None:
    """Run a local child that is no workflow, or may be none, to its recorded outcome."""
    await _may_start(run, frame, child)
    if child.state is not None:
        return
    options = command.options_
    function = command.function
    assert child.lineage is not None
    value, error, note = await _attempts(
        run,
        child,
        function,
        command.args,
        command.kwargs,
        child.lineage,
        enter,
        deadline_ms=children.deadline_of(run, child),
        policy=options.retry_policy or function.retry_policy,
        non_retryable=tuple(options.non_retryable or ()),
    )
    if child.state is None:
        await settle(run, child, value, error, note=note)


async def _may_start(run: Execution, frame: Frame, child: DurableFuture[Any]) -> None:
    """Return when the body may start, or when the child turns out to be settled."""
    writer = run.writer
    needed = frame.observed
    while True:
        announced = child.sent or child.known
        if not (announced or child.fresh) or not run.lease_is_safe():
            if not child.sent or writer.acked >= child.sent:
                run.rejoin(child)
                needed = max(needed, run.queue_create(child))
            else:
                needed = max(needed, child.sent)
            await writer.durable(needed)
            break
        if writer.acked >= needed:
            break
        await writer.durable(needed)
    if child.state is None:
        check_stop(run)
    if writer.has_unsent:
        # What was begun before must not wait for this body.
        writer.flush()


def check_stop(run: Execution) -> None:
    """Give the task back, and unwind, if the process is stopping."""
    if run.stop_requested:
        run.release(ReleaseReason.SHUTDOWN)
        raise Ended


async def _attempts(
    run: Execution,
    child: DurableFuture[Any] | None,
    function: Function,
    args: tuple[object, ...],
    kwargs: dict[str, object],
    lineage: Lineage,
    enter: Enter,
    *,
    deadline_ms: int,
    policy: RetryPolicy | None,
    non_retryable: tuple[type[Exception], ...],
) -> tuple[object, Exception | None, str | None]:
    """Run a body until it succeeds or its policy gives up; answer value, exception and a note.

    Without a policy of its own a step has the worker's, and a body that made a durable call none.
    """
    attempt = 1
    step_id = lineage.id
    tags = run.tags if child is None else run.rejoin(child).tags
    while True:
        frame = Frame(
            run,
            function,
            lineage,
            deadline_ms=deadline_ms,
            tags=tags,
            attempt=attempt,
            takes_commands=function.kind.takes_commands,
        )
        try:
            value, failure = await _attempt(run, child, frame, args, kwargs, enter)
        except NotBegun:
            await _make_sure(run, child)
            if child is not None and child.state is not None:
                return None, None, None
            continue
        if failure is None:
            return value, None, None
        again = is_retryable(failure, non_retryable) and not is_bad_call(
            failure, function, args, kwargs
        )
        default = WORKFLOW_DEFAULT if frame.is_workflow else run.worker.step_policy
        delay = (policy or default).next_delay(attempt) if again else None
        if delay is None:
            return None, failure, None
        if run.worker.clock.now_ms() + delay * 1000 >= deadline_ms:
            return None, failure, "gave up: the next retry would be after the deadline"
        if frame.is_workflow:
            # What this attempt recorded is what the next one replays.
            await run.writer.durable(run.writer.queued)
        await _back_off(run, child, step_id, attempt, delay, failure)
        if child is not None and child.state is not None:
            return None, None, None
        attempt += 1


def is_bad_call(
    failure: Exception,
    function: Function,
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> bool:
    """Whether a call failed because its arguments do not fit: it would fail so for ever.

    A `TypeError` from inside the body is like any other exception.
    """
    return isinstance(failure, TypeError) and function.refuses(args, kwargs)


async def _attempt(
    run: Execution,
    child: DurableFuture[Any] | None,
    frame: Frame,
    args: tuple[object, ...],
    kwargs: dict[str, object],
    enter: Enter,
) -> tuple[object, Exception | None]:
    """Run a body once; answer its value or what it raised."""
    step_id = frame.lineage.id
    if run.observer is not None:
        run.observe("before_step_body", step_id)
    try:
        value = await enter(run, child, frame, args, kwargs)
    except (Panic, NonDeterminism, NonDurableAwait) as error:
        run.halt(f"{type(error).__name__}: {error}")
        raise Ended from error
    except NotBegun:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a step raises is its outcome
        return None, error
    except asyncio.CancelledError as error:
        return None, cancelled_inside(run, error, body="step")
    if run.observer is not None:
        run.observe("after_step_body", step_id)
    return value, None


async def _back_off(
    run: Execution,
    child: DurableFuture[Any] | None,
    step_id: str,
    attempt: int,
    delay: float,
    failure: Exception,
) -> None:
    """Make the step visible, wait, and make sure of the lease again."""
    run.worker.log.warning(
        "step_failed",
        promise_id=step_id,
        attempt=attempt,
        retry_in_ms=int(delay * 1000),
        error=f"{type(failure).__name__}: {failure}",
    )
    if child is not None and not child.sent and not child.known:
        run.queue_create(child)
        run.writer.flush()
    check_stop(run)
    await run.worker.clock.sleep(delay)
    await _make_sure(run, child)


async def _make_sure(run: Execution, child: DurableFuture[Any] | None) -> None:
    """Let a write, or the store's word, vouch for the lease if we cannot be sure of it."""
    if child is None:
        await _root_may_start(run)
    elif not run.lease_is_safe():
        run.rejoin(child)
        await run.writer.durable(run.queue_create(child))
    check_stop(run)


async def enter_step(
    run: Execution,
    child: DurableFuture[Any] | None,
    frame: Frame,
    args: tuple[object, ...],
    kwargs: dict[str, object],
) -> object:
    """Run the body of a step, which makes no durable calls."""
    function = frame.function
    context = Context(frame)
    if function.kind is Kind.INLINE:
        return function.fn(context, *args, **kwargs)
    run.worker.slow.watch(run, child)
    with counted(run, frame):
        if function.kind is Kind.ASYNC_STEP:
            return await inside.Marked(function.fn(context, *args, **kwargs), None)
        value = await _in_thread(run, function, (context, *args), kwargs)
        if inspect.isawaitable(value):  # a lambda around a coroutine function
            value = await value
        return value


def _in_thread(
    run: Execution, function: Function, args: Sequence[object], kwargs: Mapping[str, object]
) -> "asyncio.Future[Any]":
    """Start a body in a thread, which takes over what marks the code that runs now.

    Its turn may come long after this, with all threads busy, and the lease be lost by then. A body
    that starts without a safe lease has a write behind it that was fenced.
    """
    may_begin = run.lease_is_safe if run.lease_is_safe() else None
    outer = inside.body.set(None)
    try:
        return run.worker.threads.run(function.fn, args, kwargs, may_begin=may_begin)
    finally:
        inside.body.reset(outer)


class counted:  # noqa: N801 - a context manager, used as a function
    """Count a body that runs, for whoever wants to stop, and in the end for the meter.

    One that turned out to be a workflow is no step, and has been uncounted when it did.
    """

    __slots__ = ("_began", "_frame", "_run")

    def __init__(self, run: Execution, frame: Frame) -> None:
        self._run = run
        self._frame = frame
        self._began = 0.0

    def __enter__(self) -> None:
        self._run.bodies += 1
        self._began = perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        frame, run = self._frame, self._run
        if frame.is_workflow:
            return
        run.bodies -= 1
        if kind is NotBegun:
            return
        outcome: StepEnd = "succeeded" if kind is None else "failed"
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            outcome = "canceled"
        name = counted_name(run.registry, frame.function)
        seconds = perf_counter() - self._began
        run.worker.meter.step_ended(func=name, outcome=outcome, seconds=seconds)


async def settle(
    run: Execution,
    child: DurableFuture[Any],
    value: object,
    error: Exception | None,
    *,
    note: str | None = None,
) -> None:
    """Record a local child's outcome and pass it on.

    The caller's body may go on with it at once: nothing that anybody could see starts before the
    record is durable. Close to the deadline the store's word is awaited instead.
    """
    state, data = encode_outcome(run.codec, value, error, note=note)
    ticket = run.queue_settle(child, state, data)
    deadline_ms = children.deadline_of(run, child)
    if run.worker.clock.now_ms() + OPTIMISM_MARGIN_MS < deadline_ms:
        run.complete_child(child, state, data, ticket)
    else:
        await run.writer.durable(ticket)


def encode_outcome(
    codec: Codec, value: object, error: Exception | None, *, note: str | None = None
) -> tuple[PromiseState, bytes | None]:
    """Say how a body ended; a value that cannot be written is a visible failure."""
    if error is None:
        try:
            return PromiseState.RESOLVED, codec.encode(value)
        except EncodeError as unencodable:
            error = unencodable
    return PromiseState.REJECTED, codec.encode_error(error, note=note)


# A step as the root


async def run_root_step(run: Execution, policy: RetryPolicy | None, enter: Enter) -> None:
    """Run a task whose function is no workflow, or may be none."""
    await _root_may_start(run)
    value, error, note = await _attempts(
        run,
        None,
        run.function,
        run.args,
        run.kwargs,
        run.lineage,
        enter,
        deadline_ms=run.deadline_ms,
        policy=policy,
        non_retryable=(),
    )
    run.fulfill(*encode_outcome(run.codec, value, error, note=note))


async def _root_may_start(run: Execution) -> None:
    """Ask the store whether the lease still holds, if we cannot be sure.

    The task is ours exactly if it is acquired at our version: every acquisition adds one.
    """
    check_stop(run)
    while not run.lease_is_safe():
        sent_at = run.leases.now()
        held = TaskHeartbeat(pid=run.worker.pid, tasks=(TaskRef(id=run.id, version=run.version),))
        try:
            answer = await run.store.submit([held, TaskGet(id=run.id)])
        except ServerUnavailable as error:
            if not error.retriable:
                run.abandon(error)
                raise Ended from error
            await run.worker.clock.sleep(CHECK_LEASE_S)
            continue
        read = answer.outcomes[-1]
        task = read.task if isinstance(read, Done) else None
        if task is not None:
            if task.state is TaskState.ACQUIRED and task.version == run.version:
                run.lease_until = sent_at + run.leases.ttl_s
                run.vouch()
                return
            run.lose(resent=False)
            raise Ended
        await run.worker.clock.sleep(CHECK_LEASE_S)
