"""The kinds of the protocol, each carried out by the store."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from msgspec.structs import replace

from holdfast.core.naming import done_within
from holdfast.core.requests import Done, Refusal, Request, TaskHeartbeat
from holdfast.core.search import PromisePage, PromiseSearch, TaskPage, TaskSearch
from holdfast.port import Answer
from holdfast.rpc import Admin, Calls
from holdfast_gateway.bridge.bodies import OPERATIONS, promise_search_of, task_search_of
from holdfast_gateway.bridge.debugging import Debugging
from holdfast_gateway.bridge.outcomes import CONFLICT, OK, UNAVAILABLE, Result, result_of
from holdfast_gateway.bridge.records import Json, promise_json, task_json
from holdfast_gateway.bridge.schedules import Schedules, refused
from holdfast_gateway.bridge.sleeps import as_sleep
from holdfast_gateway.bridge.traces import as_traced

Data = Mapping[str, Any]


class OperationStore(Protocol):
    """The connection that the gateway shares with everything else that it does."""

    def submit(self, chain: Sequence[Request]) -> "asyncio.Future[Answer]":
        """Carry out operations."""

    async def search_promises(self, search: PromiseSearch) -> PromisePage | Refusal:
        """List promises."""

    async def search_tasks(self, search: TaskSearch) -> TaskPage | Refusal:
        """List tasks."""


class Operations:
    """All kinds. What a request without an instant of its own asks for goes over the stream."""

    def __init__(
        self,
        store: OperationStore,
        calls: Calls,
        admin: Admin,
        *,
        sleeps_have_targets: bool = True,
    ) -> None:
        """Put it together; without `sleeps_have_targets` they are refused, as by the rules."""
        self._store = store
        self._calls = calls
        self._sleeps_have_targets = sleeps_have_targets
        self._others: dict[str, Callable[[Data, str | None], Awaitable[Result]]] = {
            "promise.search": self._search_promises,
            "task.search": self._search_tasks,
            **Schedules(calls).kinds,
            **Debugging(calls, admin).kinds,
        }
        self.kinds: Final = frozenset((*OPERATIONS, *self._others))

    async def carry_out(
        self, kind: str, data: Data, *, correlation_id: str, at: str | None, prefix: str
    ) -> Result:
        """Do what one of the kinds asks for.

        Raises `BadBody`, or the library's errors where the store cannot be asked.
        """
        read = OPERATIONS.get(kind)
        if read is None:
            return await self._others[kind](data, at)
        request = read(data)
        if self._sleeps_have_targets:
            request = as_sleep(request)
        request = as_traced(request)
        if prefix and isinstance(request, TaskHeartbeat):
            # It may name no task, and mean all of the process: of those, the token's.
            request = replace(request, prefix=prefix)
        if at is None:
            answer = await self._store.submit([request])
            (outcome,) = answer.outcomes
            if answer.resent and isinstance(outcome, Refusal) and outcome.status == CONFLICT:
                return _LOST
        else:
            outcome = await self._calls.operate(request, at=at)
        if prefix and isinstance(outcome, Done):
            outcome = done_within(outcome, prefix)
        return result_of(kind, data, correlation_id, outcome)

    async def _search_promises(self, data: Data, at: str | None) -> Result:
        search = promise_search_of(data)
        if at is None:
            page = await self._store.search_promises(search)
        else:
            page = await self._calls.search_promises(search, at=at)
        if isinstance(page, Refusal):
            return refused(page)
        return _page({"promises": [promise_json(p) for p in page.promises]}, page.cursor)

    async def _search_tasks(self, data: Data, at: str | None) -> Result:
        search = task_search_of(data)
        if at is None:
            page = await self._store.search_tasks(search)
        else:
            page = await self._calls.search_tasks(search, at=at)
        if isinstance(page, Refusal):
            return refused(page)
        return _page({"tasks": [task_json(t) for t in page.tasks]}, page.cursor)


# The first sending may have succeeded, and then the second is refused because of it. To answer
# that as a refusal would tell a client that nothing has happened.
_LOST: Final = Result(
    UNAVAILABLE,
    "the connection to the store broke before it answered: the operation happened or did not",
)


def _page(page: Json, cursor: str | None) -> Result:
    if cursor is not None:
        page["cursor"] = cursor
    return Result(OK, page)
