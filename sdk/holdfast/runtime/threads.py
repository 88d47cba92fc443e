"""Threads for the bodies of synchronous steps.

Like the standard library's pool, with three differences that matter here: completions that come
together wake the event loop once; a body that never returns does not keep the process from
exiting; and nothing waits for threads that were given up.
"""

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

_Job = tuple[
    "asyncio.Future[Any]",
    contextvars.Context,
    Callable[..., Any],
    Sequence[object],
    Mapping[str, object],
    Callable[[], bool] | None,
]
_Completion = tuple["asyncio.Future[Any]", Any, BaseException | None]


class NotBegun(Exception):
    """A function's turn came when it might not begin any more. Internal; nothing has run."""


class StepThreads:
    """At most `size` daemon threads, started when they are needed. Used from one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, size: int, name: str) -> None:
        self._loop = loop
        self._size = size
        self._name = name
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._done: deque[_Completion] = deque()
        self._waking = False
        self._threads = 0
        self._busy = 0

    def run(
        self,
        fn: Callable[..., Any],
        args: Sequence[object],
        kwargs: Mapping[str, object],
        *,
        may_begin: Callable[[], bool] | None = None,
    ) -> "asyncio.Future[Any]":
        """Call a function in a thread; cancelling the future only drops the result.

        `may_begin` is asked in the thread when the function's turn has come, which may be long
        after this call; the future raises `NotBegun` if it says no.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        self._busy += 1
        if self._busy > self._threads and self._threads < self._size:
            self._threads += 1
            threading.Thread(
                target=self._work, name=f"{self._name}-{self._threads}", daemon=True
            ).start()
        self._jobs.put((future, contextvars.copy_context(), fn, args, kwargs, may_begin))
        return future

    def close(self) -> None:
        """Drop what no thread has begun; idle threads end now, busy ones with their body."""
        with suppress(Empty):
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    self._busy -= 1
                    job[0].cancel()
        for _ in range(self._threads):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, context, fn, args, kwargs, may_begin = job
            completion: _Completion = (future, None, None)
            try:
                if future.done():
                    pass  # its run was lost while it was queued: nobody wants the result
                elif may_begin is None or may_begin():
                    completion = (future, context.run(fn, *args, **kwargs), None)
                else:
                    completion = (future, None, NotBegun())
            except BaseException as error:  # noqa: BLE001 - raised again on the event loop
                completion = (future, None, error)
            self._done.append(completion)
            # Dropped references: a body's arguments must not live until the next job comes.
            del job, future, context, fn, args, kwargs, may_begin, completion
            if not self._waking:
                self._waking = True
                try:
                    self._loop.call_soon_threadsafe(self._deliver)
                except RuntimeError:
                    return  # the loop is closed: nobody wants the result

    def _deliver(self) -> None:
        # Reset before looking: a completion that is appended after the last look schedules
        # another delivery, one that is appended before is taken now.
        self._waking = False
        while self._done:
            future, value, error = self._done.popleft()
            self._busy -= 1
            if future.done():
                continue
            if error is None:
                future.set_result(value)
            elif isinstance(error, StopIteration):
                # A future cannot carry it, and it would end the workflow's generator.
                future.set_exception(RuntimeError("the step raised StopIteration"))
            else:
                future.set_exception(error)
