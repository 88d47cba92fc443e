"""Listings of a remote store, over plain unary calls beside the stream of operations."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from holdfast.core.records import PromiseState, TaskState
from holdfast.core.search import (
    PromisePage,
    PromiseSearch,
    SchedulePage,
    ScheduleSearch,
    TaskPage,
    TaskSearch,
)
from holdfast.rpc.access import Metadata
from holdfast.rpc.answers import promise_of, schedule_of, task_of
from holdfast.rpc.asking import Asking
from holdfast.rpc.dialing import Dialer, Line
from holdfast.v1 import common_pb2, promises_pb2, schedules_pb2, tasks_pb2
from holdfast.v1.promises_pb2_grpc import PromisesStub
from holdfast.v1.schedules_pb2_grpc import SchedulesStub
from holdfast.v1.tasks_pb2_grpc import TasksStub

if TYPE_CHECKING:  # the stubs know them, the generated code does not
    from holdfast.v1.promises_pb2_grpc import PromisesAsyncStub
    from holdfast.v1.schedules_pb2_grpc import SchedulesAsyncStub
    from holdfast.v1.tasks_pb2_grpc import TasksAsyncStub

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


def search_message(search: PromiseSearch) -> promises_pb2.PromisesSearchRequest:
    """Write what a listing of promises asks for."""
    return promises_pb2.PromisesSearchRequest(
        state=_PROMISE_STATES[search.state],
        tags=search.tags,
        limit=search.limit,
        cursor=search.cursor,
        id_prefix=search.id_prefix,
    )


def task_search_message(search: TaskSearch) -> tasks_pb2.TasksSearchRequest:
    """Write what a listing of tasks asks for."""
    return tasks_pb2.TasksSearchRequest(
        state=_TASK_STATES[search.state],
        limit=search.limit,
        cursor=search.cursor,
        id_prefix=search.id_prefix,
    )


def schedule_search_message(search: ScheduleSearch) -> schedules_pb2.SchedulesSearchRequest:
    """Write what a listing of schedules asks for."""
    return schedules_pb2.SchedulesSearchRequest(
        tags=search.tags, limit=search.limit, cursor=search.cursor, id_prefix=search.id_prefix
    )


class Searching:
    """Asks any store that answers, and another one when that goes away.

    Raises the library's errors.
    """

    def __init__(
        self, dialer: Dialer, *, metadata: Callable[[], Metadata], timeout_s: float
    ) -> None:
        self._asking = Asking(dialer)
        self._metadata = metadata
        self._timeout_s = timeout_s

    async def promises(self, search: PromiseSearch) -> PromisePage:
        """List promises."""
        request = search_message(search)

        async def call(line: Line) -> PromisePage:
            stub: PromisesAsyncStub = PromisesStub(line.channel)
            found = await stub.Search(request, timeout=self._timeout_s, metadata=self._metadata())
            promises = tuple(promise_of(each) for each in found.promises)
            return PromisePage(promises=promises, cursor=found.cursor or None)

        return await self._asking.ask(call)

    async def tasks(self, search: TaskSearch) -> TaskPage:
        """List tasks; of their resumes only the number is known."""
        request = task_search_message(search)

        async def call(line: Line) -> TaskPage:
            stub: TasksAsyncStub = TasksStub(line.channel)
            found = await stub.Search(request, timeout=self._timeout_s, metadata=self._metadata())
            tasks = tuple(task_of(each, None) for each in found.tasks)
            return TaskPage(tasks=tasks, cursor=found.cursor or None)

        return await self._asking.ask(call)

    async def schedules(self, search: ScheduleSearch) -> SchedulePage:
        """List schedules."""
        request = schedule_search_message(search)

        async def call(line: Line) -> SchedulePage:
            stub: SchedulesAsyncStub = SchedulesStub(line.channel)
            found = await stub.Search(request, timeout=self._timeout_s, metadata=self._metadata())
            schedules = tuple(schedule_of(each) for each in found.schedules)
            return SchedulePage(schedules=schedules, cursor=found.cursor or None)

        return await self._asking.ask(call)

    async def close(self) -> None:
        """Disconnect; calls under way fail."""
        await self._asking.close()
