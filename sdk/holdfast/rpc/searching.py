"""Listings of a remote store, over plain unary calls beside the stream of operations."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar

import grpc

from holdfast.core.records import PromiseState, TaskState
from holdfast.core.search import PromisePage, PromiseSearch, TaskPage, TaskSearch
from holdfast.rpc.answers import promise_of, task_of
from holdfast.rpc.dialing import Dialer, Line
from holdfast.rpc.errors import error_of_call
from holdfast.v1 import common_pb2, promises_pb2, tasks_pb2
from holdfast.v1.promises_pb2_grpc import PromisesStub
from holdfast.v1.tasks_pb2_grpc import TasksStub

if TYPE_CHECKING:  # the stubs know them, the generated code does not
    from holdfast.v1.promises_pb2_grpc import PromisesAsyncStub
    from holdfast.v1.tasks_pb2_grpc import TasksAsyncStub

ATTEMPTS_MAX: Final = 3
"""Stores that one question is put to, while each of them goes away with it."""

_PROMISE_STATES: Final = {
    None: common_pb2.PROMISE_STATE_UNSPECIFIED,
    PromiseState.PENDING: common_pb2.PROMISE_STATE_PENDING,
    PromiseState.RESOLVED: common_pb2.PROMISE_STATE_RESOLVED,
    PromiseState.REJECTED: common_pb2.PROMISE_STATE_REJECTED,
    PromiseState.REJECTED_CANCELED: common_pb2.PROMISE_STATE_REJECTED_CANCELED,
    PromiseState.REJECTED_TIMEDOUT: common_pb2.PROMISE_STATE_REJECTED_TIMEDOUT,
}
_TASK_STATES: Final = {
    None: common_pb2.TASK_STATE_UNSPECIFIED,
    TaskState.PENDING: common_pb2.TASK_STATE_PENDING,
    TaskState.ACQUIRED: common_pb2.TASK_STATE_ACQUIRED,
    TaskState.SUSPENDED: common_pb2.TASK_STATE_SUSPENDED,
    TaskState.HALTED: common_pb2.TASK_STATE_HALTED,
    TaskState.FULFILLED: common_pb2.TASK_STATE_FULFILLED,
}
_T = TypeVar("_T")


class Searching:
    """Asks any store that answers, and another one when that goes away.

    Listings change nothing, so that asking again does no harm. Raises the library's errors.
    """

    def __init__(
        self, dialer: Dialer, *, metadata: tuple[tuple[str, str], ...], timeout_s: float
    ) -> None:
        self._dialer = dialer
        self._metadata = metadata
        self._timeout_s = timeout_s
        self._line: Line | None = None
        self._dialing = asyncio.Lock()

    async def promises(self, search: PromiseSearch) -> PromisePage:
        """List promises."""
        request = promises_pb2.PromisesSearchRequest(
            state=_PROMISE_STATES[search.state],
            tags=search.tags,
            limit=search.limit,
            cursor=search.cursor,
        )

        async def call(line: Line) -> PromisePage:
            stub: PromisesAsyncStub = PromisesStub(line.channel)
            found = await stub.Search(request, timeout=self._timeout_s, metadata=self._metadata)
            promises = tuple(promise_of(each) for each in found.promises)
            return PromisePage(promises=promises, cursor=found.cursor or None)

        return await self._ask(call)

    async def tasks(self, search: TaskSearch) -> TaskPage:
        """List tasks; of their resumes only the number is known."""
        request = tasks_pb2.TasksSearchRequest(
            state=_TASK_STATES[search.state], limit=search.limit, cursor=search.cursor
        )

        async def call(line: Line) -> TaskPage:
            stub: TasksAsyncStub = TasksStub(line.channel)
            found = await stub.Search(request, timeout=self._timeout_s, metadata=self._metadata)
            tasks = tuple(task_of(each, None) for each in found.tasks)
            return TaskPage(tasks=tasks, cursor=found.cursor or None)

        return await self._ask(call)

    async def close(self) -> None:
        """Disconnect; calls under way fail."""
        line, self._line = self._line, None
        if line is not None:
            await line.channel.close()

    async def _ask(self, call: Callable[[Line], Awaitable[_T]]) -> _T:
        for left in reversed(range(ATTEMPTS_MAX)):
            line = await self._connect()
            try:
                return await call(line)
            except grpc.aio.AioRpcError as error:
                is_away = error.code() is grpc.StatusCode.UNAVAILABLE
                if is_away and self._line is line:
                    await self.close()
                if not left or not is_away:
                    raise error_of_call(error, where=str(line.address)) from error
        raise AssertionError("there is at least one attempt")

    async def _connect(self) -> Line:
        async with self._dialing:  # those who come meanwhile share what is found
            if self._line is None:
                self._line = await self._dialer.dial()
            return self._line
