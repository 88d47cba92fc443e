"""How a workflow is getting on, read from its promise; waiting for its end, within limits."""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from litestar import Response

from holdfast import DurablePromise, PromiseNotFound, Resonate
from holdfast.core.records import SCOPE, TARGET, TIMER, PromiseState
from holdfast_gateway import metrics


@dataclass(frozen=True, slots=True)
class Processing:
    """The workflow has not ended."""


@dataclass(frozen=True, slots=True)
class Done:
    """The workflow returned."""

    result: Any


@dataclass(frozen=True, slots=True)
class Rejected:
    """The workflow raised, was canceled, or ran out of time."""

    error: str


Outcome = Processing | Done | Rejected


class Waits:
    """Limits how many requests wait, and ends them all when the process stops."""

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._waiting = 0
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End every wait, present and future, at once."""
        self._closing.set()

    async def until_settled(self, resonate: Resonate, promise_id: str, seconds: float) -> bool:
        """Wait up to so many seconds; return whether the promise should be read again."""
        if self._waiting >= self._most or self._closing.is_set():
            return False
        handle = await resonate.get(promise_id)
        settled = asyncio.ensure_future(handle.result())
        closing = asyncio.ensure_future(self._closing.wait())
        self._waiting += 1
        try:
            with metrics.waits_in_flight.track_inprogress():
                await asyncio.wait(
                    {settled, closing}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
                )
            return settled.done()
        finally:
            self._waiting -= 1
            settled.cancel()
            closing.cancel()
            # What the promise was rejected with is read from its record, not from here.
            await asyncio.gather(settled, closing, return_exceptions=True)


async def read_outcome(
    resonate: Resonate, promise_id: str, *, waits: Waits | None = None, seconds: float = 0
) -> Outcome | None:
    """Read how a workflow is getting on; `None` when there is no such promise.

    With `waits` a pending one is waited for, up to so many seconds.
    """
    try:
        promise = await resonate.promises.get(promise_id)
        if (
            promise.is_pending
            and waits is not None
            and seconds
            and await waits.until_settled(resonate, promise_id, seconds)
        ):
            promise = await resonate.promises.get(promise_id)
    except PromiseNotFound:
        return None
    return outcome_of(promise)


def outcome_of(promise: DurablePromise) -> Outcome:
    """Say in our words how a promise stands."""
    match PromiseState(promise.state):
        case PromiseState.PENDING:
            return Processing()
        case PromiseState.RESOLVED:
            if isinstance(promise.value, Exception):  # another client's payload, not readable
                raise promise.value
            return Done(promise.value)
        case PromiseState.REJECTED:
            return Rejected(str(promise.value) or type(promise.value).__name__)
        case PromiseState.REJECTED_CANCELED:
            return Rejected("canceled")
        case PromiseState.REJECTED_TIMEDOUT:
            return Rejected("timed out")


def status_answer(
    outcome: Outcome | None, *, processing: str = "processing"
) -> Response[dict[str, Any]]:
    """Answer how a workflow is getting on, in the words that the original examples share."""
    match outcome:
        case None:
            return Response({"status": "not_found"}, status_code=HTTPStatus.NOT_FOUND)
        case Processing():
            return Response({"status": processing})
        case Done(result):
            return Response({"status": "done", "result": result})
        case Rejected(error):
            return Response({"status": "rejected", "error": error})


def is_settled_from_outside(promise: DurablePromise) -> bool:
    """Tell whether a promise waits for somebody outside: it is no call, no step and no timer."""
    tags = promise.tags
    return TARGET not in tags and tags.get(TIMER) != "true" and tags.get(SCOPE) != "local"
