"""Listings on the wire: messages to filters, pages to messages."""

from typing import Final

from holdfast.core.limits import SCHEDULE_SEARCH_LIMIT_DEFAULT, SEARCH_LIMIT_DEFAULT
from holdfast.core.records import PromiseState, TaskState
from holdfast.core.search import (
    PromisePage,
    PromiseSearch,
    SchedulePage,
    ScheduleSearch,
    TaskPage,
    TaskSearch,
)
from holdfast.v1 import common_pb2, promises_pb2, schedules_pb2, tasks_pb2
from holdfast_store.rpc.answers import write_promise, write_schedule, write_task
from holdfast_store.rpc.requests import Malformed

_PROMISE_STATES: Final[dict[int, PromiseState | None]] = {
    common_pb2.PROMISE_STATE_UNSPECIFIED: None,
    common_pb2.PROMISE_STATE_PENDING: PromiseState.PENDING,
    common_pb2.PROMISE_STATE_RESOLVED: PromiseState.RESOLVED,
    common_pb2.PROMISE_STATE_REJECTED: PromiseState.REJECTED,
    common_pb2.PROMISE_STATE_REJECTED_CANCELED: PromiseState.REJECTED_CANCELED,
    common_pb2.PROMISE_STATE_REJECTED_TIMEDOUT: PromiseState.REJECTED_TIMEDOUT,
}
_TASK_STATES: Final[dict[int, TaskState | None]] = {
    common_pb2.TASK_STATE_UNSPECIFIED: None,
    common_pb2.TASK_STATE_PENDING: TaskState.PENDING,
    common_pb2.TASK_STATE_ACQUIRED: TaskState.ACQUIRED,
    common_pb2.TASK_STATE_SUSPENDED: TaskState.SUSPENDED,
    common_pb2.TASK_STATE_HALTED: TaskState.HALTED,
    common_pb2.TASK_STATE_FULFILLED: TaskState.FULFILLED,
}


def promise_search_of(message: promises_pb2.PromisesSearchRequest) -> PromiseSearch:
    """Read the filters of a listing of promises; raise `Malformed` for an unknown state."""
    if message.state not in _PROMISE_STATES:
        raise _unknown_state(message.state)
    return PromiseSearch(
        state=_PROMISE_STATES[message.state],
        tags=dict(message.tags),
        limit=message.limit or SEARCH_LIMIT_DEFAULT,
        cursor=message.cursor,
        id_prefix=message.id_prefix,
    )


def task_search_of(message: tasks_pb2.TasksSearchRequest) -> TaskSearch:
    """Read the filters of a listing of tasks; raise `Malformed` for an unknown state."""
    if message.state not in _TASK_STATES:
        raise _unknown_state(message.state)
    return TaskSearch(
        state=_TASK_STATES[message.state],
        limit=message.limit or SEARCH_LIMIT_DEFAULT,
        cursor=message.cursor,
        id_prefix=message.id_prefix,
    )


def schedule_search_of(message: schedules_pb2.SchedulesSearchRequest) -> ScheduleSearch:
    """Read the filters of a listing of schedules."""
    return ScheduleSearch(
        tags=dict(message.tags),
        limit=message.limit or SCHEDULE_SEARCH_LIMIT_DEFAULT,
        cursor=message.cursor,
        id_prefix=message.id_prefix,
    )


def promises_found(page: PromisePage) -> promises_pb2.PromisesSearchResponse:
    """Write a page of promises; an empty cursor says that there is no more."""
    response = promises_pb2.PromisesSearchResponse(cursor=page.cursor or "")
    for promise in page.promises:
        write_promise(response.promises.add(), promise)
    return response


def tasks_found(page: TaskPage) -> tasks_pb2.TasksSearchResponse:
    """Write a page of tasks; an empty cursor says that there is no more."""
    response = tasks_pb2.TasksSearchResponse(cursor=page.cursor or "")
    for task in page.tasks:
        write_task(response.tasks.add(), task)
    return response


def schedules_found(page: SchedulePage) -> schedules_pb2.SchedulesSearchResponse:
    """Write a page of schedules; an empty cursor says that there is no more."""
    response = schedules_pb2.SchedulesSearchResponse(cursor=page.cursor or "")
    for schedule in page.schedules:
        write_schedule(response.schedules.add(), schedule)
    return response


def _unknown_state(state: int) -> Malformed:
    return Malformed("invalid_state", f"state must be known, it is {state}")
