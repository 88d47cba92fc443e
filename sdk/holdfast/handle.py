"""What a client holds of a run: its id, its state, its result."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from holdfast.core.records import EMPTY, Promise, PromiseState, Value
from holdfast.core.requests import PromiseGet
from holdfast.registry import Function
from holdfast.runtime.subscriptions import Subscription

if TYPE_CHECKING:
    from holdfast.calls import Calls
    from holdfast.client import Resonate

T = TypeVar("T")


class Handle(Generic[T]):
    """A promise, seen from outside; `await handle` waits for its result.

    >>> handle = await resonate.begin_run("order/1", process_order, order)
    >>> handle.created
    True
    >>> result = await handle.result(timeout=30)
    """

    def __init__(
        self,
        calls: "Calls",
        subscription: Subscription,
        *,
        created: bool,
        function: Function | None = None,
    ) -> None:
        self.id = subscription.id
        """Full id of the promise, prefix included."""
        self.created = created
        """Whether this call made the promise."""
        self._calls = calls
        self._subscription = subscription
        self._function = function

    def __repr__(self) -> str:
        return f"<Handle {self.id}>"

    def __await__(self) -> Generator[Any, Any, T]:
        """Wait as `result` does."""
        return self.result().__await__()

    async def done(self) -> bool:
        """Read once whether the promise is settled.

        Raises `ServerUnavailable` when the store does not answer in time, and `PromiseNotFound`.
        """
        return (await self._read()).state is not PromiseState.PENDING

    async def state(self) -> str:
        """Read the state once: `pending`, `resolved`, `rejected`, or another way of ending."""
        return (await self._read()).state.value

    async def result(self, timeout: float | timedelta | None = None) -> T:  # noqa: ASYNC109 - the documented name; limits only the wait
        """Wait for the value; raises what the promise was rejected with.

        `timeout` limits only this wait, in seconds: `TimeoutError` leaves the run as it is.
        `PromiseTimedOut` and `PromiseCanceled` tell of the promise itself.
        """
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        if seconds is None:
            record = await self._calls.settled_record(self._subscription)
        else:
            async with asyncio.timeout(seconds):
                record = await self._calls.settled_record(self._subscription)
        value = self._calls.outcome_of(record)
        if self._function is not None and value is not None:
            convert = self._function.result
            if convert is not None:
                value = convert(value)
        result: T = value  # type: ignore[assignment] # JSON says nothing about types
        return result

    async def cancel(self, reason: object = None) -> bool:
        """Cancel the promise and what is attached to it; answer if this or an earlier call did.

        Children, and theirs, are canceled with it, wherever they run; detached ones go on. A body
        that is under way stops at its next write. Raises `ServerUnavailable` if the store does not
        answer: call again then, and it goes on where it stopped.
        """
        data = self._calls.codec.encode(reason)
        record = await self._calls.cancel(self.id, EMPTY if data is None else Value(data=data))
        self._subscription.settle(record)
        return record.state is PromiseState.REJECTED_CANCELED

    async def _read(self) -> Promise:
        record = self._subscription.record
        if record is None:
            record = await self._calls.ask(PromiseGet(id=self.id))
            if record.state is not PromiseState.PENDING:
                self._subscription.settle(record)
        return record


class Call(Generic[T]):
    """A call that was asked for: await it, or let it go with `spawn`.

    >>> value = await resonate.run("order/1", process_order, order)
    >>> resonate.run("order/2", process_order, other).spawn(on_error=print)
    """

    __slots__ = ("_client", "_coroutine")

    def __init__(self, client: "Resonate", coroutine: Coroutine[Any, Any, T]) -> None:
        self._client = client
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, T]:
        """Wait for the value."""
        return self._coroutine.__await__()

    def spawn(self, on_error: Callable[[Exception], object] | None = None) -> "asyncio.Task[None]":
        """Go on without waiting; errors go to `on_error`, or to the log.

        The client keeps the task until it is done, and cancels it when it stops.
        """
        return self._client.spawn(self._coroutine, on_error)
