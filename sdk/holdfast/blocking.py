"""The client for programs without an event loop: scripts, notebooks, threaded web frameworks.

>>> from holdfast.blocking import Resonate
>>> with Resonate("grpc://127.0.0.1:50051") as resonate:
...     print(resonate.rpc("greeting/1", "greet", "Ada"))

The same client as `holdfast.Resonate`, on an event loop in a thread of its own. Workflows and steps
are written as ever; `run` runs them on that loop.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from holdfast import client
from holdfast.errors import ResonateError
from holdfast.handle import Handle as AsyncHandle
from holdfast.options import Options
from holdfast.registry import Callee
from holdfast.schedules import UTC, DurableSchedule, FunctionSchedule

T = TypeVar("T")

GRACE_S = 30.0


class Resonate:
    """A client whose calls return when they are done. May be used from several threads.

    Takes what `holdfast.Resonate` takes. Functions are registered before the first call.
    """

    def __init__(self, url: str | None = None, **options: Any) -> None:  # noqa: ANN401 - the client's
        self._client = client.Resonate(url, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="holdfast-loop", daemon=True
        )
        self._thread.start()
        self.register = self._client.register
        """As that of `holdfast.Resonate`."""
        self.promises = Blocking(self._client.promises, self._wait)
        """The methods of `resonate.promises`, without `await`."""
        self.schedules = Blocking(self._client.schedules, self._wait)
        """The methods of `resonate.schedules`, without `await`."""
        self.tasks = Blocking(self._client.tasks, self._wait)
        """The methods of `resonate.tasks`, without `await`."""

    @classmethod
    def local(cls, **options: Any) -> Self:  # noqa: ANN401
        """Make a client with a store in memory, whatever the environment says."""
        return cls(**{"embedded": ":memory:", "env": {}, **options})

    def run(self, id: str, fn: Callee, /, *args: object, **kwargs: object) -> Any:  # noqa: ANN401
        """Run a registered function in this process under an id; return its value."""
        return self._wait(lambda: self._client.run(id, fn, *args, **kwargs))

    def begin_run(self, id: str, fn: Callee, /, *args: object, **kwargs: object) -> "Handle[Any]":
        """Start a registered function in this process."""
        return self._handle(lambda: self._client.begin_run(id, fn, *args, **kwargs))

    def rpc(self, id: str, fn: Callee, /, *args: object, **kwargs: object) -> Any:  # noqa: ANN401
        """Run a function in a worker group under an id; return its value."""
        return self._wait(lambda: self._client.rpc(id, fn, *args, **kwargs))

    def begin_rpc(self, id: str, fn: Callee, /, *args: object, **kwargs: object) -> "Handle[Any]":
        """Start a function in a worker group; its promise is stored when this returns."""
        return self._handle(lambda: self._client.begin_rpc(id, fn, *args, **kwargs))

    def schedule(
        self, name: str, cron: str, fn: Callee, /, *args: object, tz: str = UTC, **kwargs: object
    ) -> "Schedule":
        """Have a function called by a worker group at the instants of a cron expression."""
        call = self._client.schedule
        return Schedule(
            self._wait(lambda: call(name, cron, fn, *args, tz=tz, **kwargs)), self._wait
        )

    def get(self, id: str) -> "Handle[Any]":
        """Find a run, or any promise, by id; raises `PromiseNotFound`."""
        return self._handle(lambda: self._client.get(id))

    def options(self, **fields: Any) -> Options:  # noqa: ANN401
        """Options for a call, as its last positional argument."""
        return Options(**fields)

    def set_dependency(self, name: str, obj: object) -> None:
        """Give functions of this process an object by name."""
        self._client.set_dependency(name, obj)

    def start(self) -> None:
        """Join the store, and take tasks if functions are registered."""
        self._wait(self._client.start)

    def stop(self, grace: float | timedelta = GRACE_S) -> None:
        """Leave, as `holdfast.Resonate.stop` does, and end the thread."""
        if self._loop.is_closed():
            return
        self._wait(lambda: self._client.stop(grace))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        """Begin; the store is joined at the first call."""
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    def _handle(self, call: Callable[[], Awaitable[AsyncHandle[Any]]]) -> "Handle[Any]":
        return Handle(self._wait(call), self._wait)

    def _wait(self, call: Callable[[], Awaitable[T]]) -> T:
        if self._loop.is_closed():
            raise ResonateError("the client is stopped", code="stopped")
        if _has_loop():
            raise ResonateError(
                "this would block the event loop: use holdfast.Resonate there",
                code="blocking_in_loop",
            )
        future = asyncio.run_coroutine_threadsafe(_awaited(call), self._loop)
        try:
            return future.result()
        except BaseException:  # Ctrl-C, or what the call raised: then cancelling does nothing
            future.cancel()
            raise


class Handle(Generic[T]):
    """A promise, seen from outside; as `holdfast.Handle`, without `await`."""

    def __init__(
        self, handle: AsyncHandle[T], wait: Callable[[Callable[[], Awaitable[Any]]], Any]
    ) -> None:
        self.id = handle.id
        """Full id of the promise, prefix included."""
        self.created = handle.created
        """Whether this call made the promise."""
        self._handle = handle
        self._wait = wait

    def __repr__(self) -> str:
        return repr(self._handle)

    def done(self) -> bool:
        """Read once whether the promise is settled."""
        done: bool = self._wait(self._handle.done)
        return done

    def state(self) -> str:
        """Read the state once."""
        state: str = self._wait(self._handle.state)
        return state

    def result(self, timeout: float | timedelta | None = None) -> T:
        """Wait for the value, so many seconds at most; raises what it was rejected with."""
        value: T = self._wait(lambda: self._handle.result(timeout))
        return value

    def cancel(self, reason: object = None) -> bool:
        """Cancel the promise and what is attached to it; answer if this or an earlier call did."""
        canceled: bool = self._wait(lambda: self._handle.cancel(reason))
        return canceled


class Schedule:
    """A schedule that calls a function; as the one of `holdfast.Resonate`, without `await`."""

    def __init__(
        self, schedule: FunctionSchedule, wait: Callable[[Callable[[], Awaitable[Any]]], Any]
    ) -> None:
        self.id = schedule.id
        """Full id, prefix included."""
        self.created = schedule.created
        """Whether this call made the schedule."""
        self._schedule = schedule
        self._wait = wait

    def __repr__(self) -> str:
        return repr(self._schedule)

    def get(self) -> DurableSchedule:
        """Read it."""
        found: DurableSchedule = self._wait(self._schedule.get)
        return found

    def delete(self) -> None:
        """Delete it; runs that it started go on."""
        self._wait(self._schedule.delete)

    def pause(self) -> DurableSchedule:
        """Let it start nothing until it is resumed."""
        paused: DurableSchedule = self._wait(self._schedule.pause)
        return paused

    def resume(self) -> DurableSchedule:
        """Let it go on; what it would have started meanwhile is not made up for."""
        resumed: DurableSchedule = self._wait(self._schedule.resume)
        return resumed

    def trigger(self) -> Handle[Any]:
        """Start now what it starts, paused or not, beside its planned runs."""
        return Handle(self._wait(self._schedule.trigger), self._wait)


class Blocking:
    """The methods of a part of the client, each of which returns when it is done."""

    def __init__(self, part: object, wait: Callable[[Callable[[], Awaitable[Any]]], Any]) -> None:
        self._part = part
        self._wait = wait

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._part, name)

        def call(*args: object, **kwargs: object) -> Any:  # noqa: ANN401 - whatever it answers
            answer = self._wait(lambda: method(*args, **kwargs))
            return Handle(answer, self._wait) if isinstance(answer, AsyncHandle) else answer

        return call


async def _awaited(call: Callable[[], Awaitable[T]]) -> T:
    return await call()


def _has_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
