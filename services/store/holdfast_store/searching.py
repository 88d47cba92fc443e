"""Listings beside the batches, one after the other: a long one must not keep others from reading.

A listing by a tag that has no index may read everything there is. Batches do not wait for it, and
since only one is under way, neither do timers and statistics, which share its connections.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from holdfast.core.requests import Refusal
from holdfast.core.search import (
    PromisePage,
    PromiseSearch,
    SchedulePage,
    ScheduleSearch,
    TaskPage,
    TaskSearch,
    flaw_of_search,
)
from holdfast_store.observer import Observer
from holdfast_store.storage import Storage, StorageError

WAITING_MAX: Final = 64
"""Listings that may wait for their turn; beyond it a caller learns at once that it is too many."""

_DONE: Final = 200

SEARCH_OFF: Final = Refusal(
    status=501, code="search_off", message="this store answers no searches: HOLDFAST_STORE_SEARCH"
)
"""The specification has no searches; libraries and consoles need them (§0.4)."""


_S = TypeVar("_S", PromiseSearch, TaskSearch, ScheduleSearch)
_P = TypeVar("_P", PromisePage, TaskPage, SchedulePage)


class Searching:
    """Answers listings, or says why not; never raises a `StorageError`."""

    def __init__(
        self,
        storage: Storage,
        *,
        clock: Callable[[], int],
        observer: Observer,
        waiting_max: int = WAITING_MAX,
        is_on: bool = True,
    ) -> None:
        self._storage = storage
        self._is_on = is_on
        self._clock = clock
        self._observer = observer
        self._waiting_max = waiting_max
        self._waiting = 0
        self._turn = asyncio.Lock()

    async def promises(
        self, search: PromiseSearch, *, at_ms: int | None = None
    ) -> PromisePage | Refusal:
        """List promises as they read now, or at an instant that the caller names."""

        async def look(search: PromiseSearch) -> PromisePage:
            now_ms, told = self._instant(at_ms)
            return await self._storage.search_promises(search, now_ms=now_ms, told=told)

        return await self._answer(search, look)

    async def tasks(self, search: TaskSearch, *, at_ms: int | None = None) -> TaskPage | Refusal:
        """List tasks as they read now, or at an instant that the caller names."""

        async def look(search: TaskSearch) -> TaskPage:
            now_ms, told = self._instant(at_ms)
            return await self._storage.search_tasks(search, now_ms=now_ms, told=told)

        return await self._answer(search, look)

    async def schedules(self, search: ScheduleSearch) -> SchedulePage | Refusal:
        """List schedules, which read the same at every instant."""
        return await self._answer(search, self._storage.search_schedules)

    def _instant(self, at_ms: int | None) -> tuple[int, bool]:
        return (self._clock(), False) if at_ms is None else (at_ms, True)

    async def _answer(self, search: _S, look: Callable[[_S], Awaitable[_P]]) -> _P | Refusal:
        refusal = flaw_of_search(search) if self._is_on else SEARCH_OFF
        answer = refusal or await self._in_turn(search, look)
        status = answer.status if isinstance(answer, Refusal) else _DONE
        self._observer.operation_answered(kind=type(search).__name__, status=status)
        return answer

    async def _in_turn(self, search: _S, look: Callable[[_S], Awaitable[_P]]) -> _P | Refusal:
        if self._waiting > self._waiting_max:
            message = f"{self._waiting_max} listings wait already: ask again later"
            return Refusal(status=429, code="too_many_searches", message=message)
        self._waiting += 1
        try:
            async with self._turn:
                return await look(search)
        except StorageError as error:
            message = f"the database cannot be used: {error}"
            return Refusal(status=503, code="database_unavailable", message=message)
        finally:
            self._waiting -= 1
