"""Listings wait for each other, never for batches, and say what they could not do."""

import asyncio

import pytest

from holdfast.core.limits import SEARCH_LIMIT_MAX, TAGS_MAX
from holdfast.core.requests import Refusal
from holdfast.core.search import (
    PromisePage,
    PromiseSearch,
    SchedulePage,
    ScheduleSearch,
    Search,
    TaskPage,
    TaskSearch,
)
from holdfast_store.memory.storage import MemoryStorage
from holdfast_store.observer import NullObserver
from holdfast_store.searching import Searching
from holdfast_store.storage import StorageUnavailable

NOW_MS = 7


class Held(MemoryStorage):
    """Answers a listing when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.entered = asyncio.Event()
        self.running = self.most = 0
        self.instants: list[int] = []

    async def search_promises(
        self, search: PromiseSearch, *, now_ms: int, told: bool = False
    ) -> PromisePage:
        self.instants.append(now_ms)
        self.running += 1
        self.most = max(self.most, self.running)
        self.entered.set()
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        return await super().search_promises(search, now_ms=now_ms)


class Away(MemoryStorage):
    """A database that cannot be reached."""

    async def search_promises(
        self, search: PromiseSearch, *, now_ms: int, told: bool = False
    ) -> PromisePage:
        raise StorageUnavailable("nobody listens")

    async def search_tasks(
        self, search: TaskSearch, *, now_ms: int, told: bool = False
    ) -> TaskPage:
        raise StorageUnavailable("nobody listens")

    async def search_schedules(self, search: ScheduleSearch) -> SchedulePage:
        raise StorageUnavailable("nobody listens")


class Counting(NullObserver):
    """Remembers what was answered."""

    def __init__(self) -> None:
        self.answered: list[tuple[str, int]] = []

    def operation_answered(self, *, kind: str, status: int) -> None:
        self.answered.append((kind, status))


def searching(storage: MemoryStorage, *, waiting_max: int = 9) -> tuple[Searching, Counting]:
    observer = Counting()
    made = Searching(storage, clock=lambda: NOW_MS, observer=observer, waiting_max=waiting_max)
    return made, observer


async def ask(
    listings: Searching, search: Search
) -> PromisePage | TaskPage | SchedulePage | Refusal:
    match search:
        case PromiseSearch():
            return await listings.promises(search)
        case TaskSearch():
            return await listings.tasks(search)
        case ScheduleSearch():
            return await listings.schedules(search)


async def test_one_listing_runs_at_a_time() -> None:
    storage = Held()
    listings, observer = searching(storage)
    asked = [asyncio.create_task(listings.promises(PromiseSearch())) for _ in range(3)]
    await storage.entered.wait()

    storage.gate.set()
    pages = await asyncio.gather(*asked)

    assert pages == [PromisePage()] * 3
    assert storage.most == 1
    assert storage.instants == [NOW_MS] * 3
    assert observer.answered == [("PromiseSearch", 200)] * 3


async def test_beyond_the_bound_a_listing_is_turned_away_and_others_go_on() -> None:
    storage = Held()
    listings, observer = searching(storage, waiting_max=1)
    asked = [asyncio.create_task(listings.promises(PromiseSearch())) for _ in range(2)]
    await storage.entered.wait()

    refused = await listings.promises(PromiseSearch())
    storage.gate.set()
    await asyncio.gather(*asked)
    later = await listings.promises(PromiseSearch())

    assert isinstance(refused, Refusal)
    assert (refused.status, refused.code) == (429, "too_many_searches")
    assert later == PromisePage()
    assert observer.answered[0] == ("PromiseSearch", 429)


async def test_a_caller_that_gives_up_leaves_its_place() -> None:
    storage = Held()
    listings, _ = searching(storage, waiting_max=0)
    given_up = asyncio.create_task(listings.promises(PromiseSearch()))
    await storage.entered.wait()
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    storage.gate.set()

    assert await listings.promises(PromiseSearch()) == PromisePage()


@pytest.mark.parametrize("search", [PromiseSearch(), TaskSearch(), ScheduleSearch()])
async def test_a_database_that_is_away_is_a_refusal(search: Search) -> None:
    listings, observer = searching(Away())

    refused = await ask(listings, search)

    assert isinstance(refused, Refusal)
    assert (refused.status, refused.code) == (503, "database_unavailable")
    assert observer.answered == [(type(search).__name__, 503)]


@pytest.mark.parametrize(
    ("search", "code", "words"),
    [
        (PromiseSearch(limit=0), "out_of_range", "limit must be from 1 to 1000, it is 0"),
        (TaskSearch(limit=SEARCH_LIMIT_MAX + 1), "out_of_range", "it is 1001"),
        (PromiseSearch(limit=2**63), "out_of_range", "limit"),
        (PromiseSearch(tags={"a": "\0"}), "invalid_text", "tags must not contain NUL"),
        (PromiseSearch(tags={"\0": "a"}), "invalid_text", "tags must not contain NUL"),
        (PromiseSearch(tags={"a": "\ud800"}), "invalid_text", "tags must be valid Unicode"),
        (TaskSearch(cursor="\ud800"), "invalid_text", "cursor must be valid Unicode"),
        (
            ScheduleSearch(limit=SEARCH_LIMIT_MAX + 1),
            "out_of_range",
            "limit must be from 1 to 1000, it is 1001",
        ),
        (ScheduleSearch(tags={"a": "\0"}), "invalid_text", "tags must not contain NUL"),
        (
            PromiseSearch(tags={str(n): "" for n in range(TAGS_MAX + 1)}),
            "too_many_tags",
            "tags must be at most 64, they are 65",
        ),
    ],
)
async def test_a_flaw_is_named_before_anything_is_read(
    search: Search, code: str, words: str
) -> None:
    listings, observer = searching(Away())

    refused = await ask(listings, search)

    assert isinstance(refused, Refusal)
    assert (refused.status, refused.code) == (400, code)
    assert words in refused.message
    assert observer.answered == [(type(search).__name__, 400)]
