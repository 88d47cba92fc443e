"""Who waits for a promise asks for it once, however many wait."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from holdfast.core.membership import Member
from holdfast.core.records import Promise, PromiseState
from holdfast.core.requests import (
    Done,
    Outcome,
    PromiseGet,
    PromiseRegisterListener,
    Refusal,
    Request,
)
from holdfast.core.search import (
    PromisePage,
    PromiseSearch,
    SchedulePage,
    ScheduleSearch,
    TaskPage,
    TaskSearch,
)
from holdfast.port import Answer, Receiver
from holdfast.runtime import subscriptions as subscriptions_module
from holdfast.runtime.subscriptions import Subscription, Subscriptions

PENDING = Promise(id="p", timeout_at_ms=9, created_at_ms=1)
SETTLED = Promise(
    id="p", timeout_at_ms=9, created_at_ms=1, settled_at_ms=2, state=PromiseState.RESOLVED
)
INTERNAL = Refusal(status=422, code="promise_not_awaitable", message="internal")


class AskedStore:
    """A store that answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[Request, asyncio.Future[Answer]]] = []
        self._more = asyncio.Event()

    def submit(
        self, chain: Sequence[Request], *, credits: int = 0, timeout: float | None = None
    ) -> "asyncio.Future[Answer]":
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        [request] = chain
        self.asked.append((request, future))
        self._more.set()
        return future

    async def search_promises(self, search: PromiseSearch) -> PromisePage:
        raise AssertionError(f"nobody here lists promises: {search}")

    async def search_tasks(self, search: TaskSearch) -> TaskPage:
        raise AssertionError(f"nobody here lists tasks: {search}")

    async def search_schedules(self, search: ScheduleSearch) -> SchedulePage:
        raise AssertionError(f"nobody here lists schedules: {search}")

    @staticmethod
    def answer(future: "asyncio.Future[Answer]", outcome: Outcome) -> None:
        """Answer a question."""
        future.set_result(Answer(outcomes=[outcome]))

    async def next_question(self, count: int) -> "tuple[Request, asyncio.Future[Answer]]":
        """Wait until so many questions were asked in all; answer the last one."""
        async with asyncio.timeout(5):
            while len(self.asked) < count:
                self._more.clear()
                await self._more.wait()
        return self.asked[count - 1]

    def kinds(self) -> list[type]:
        return [type(request) for request, _ in self.asked]

    async def start(self, member: Member, receiver: Receiver) -> None: ...

    def give_back(self, credits: int) -> None: ...

    def drain(self) -> None: ...

    async def close(self) -> None: ...


@contextmanager
def waiting(
    subscriptions: Subscriptions, subscription: Subscription, count: int
) -> "Iterator[list[asyncio.Task[Promise]]]":
    tasks = [asyncio.create_task(subscriptions.wait(subscription)) for _ in range(count)]
    yield tasks
    for task in tasks:
        task.cancel()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions_module, "POLL_S_MIN", 0.0)


async def test_whoever_comes_to_a_promise_that_is_polled_begins_no_other_poll() -> None:
    store = AskedStore()
    subscriptions = Subscriptions(store, address="poll://uni@g/p")
    subscription = subscriptions.of("p")
    with waiting(subscriptions, subscription, 1):
        _, listener = await store.next_question(1)
        store.answer(listener, INTERNAL)
        _, look = await store.next_question(2)

        with waiting(subscriptions, subscription, 3) as others:
            await asyncio.sleep(0)
            store.answer(look, Done(promise=PENDING))
            _, again = await store.next_question(3)
            store.answer(again, Done(promise=SETTLED))
            found = await asyncio.gather(*others)

    assert store.kinds() == [PromiseRegisterListener, PromiseGet, PromiseGet]
    assert found == [SETTLED] * 3


async def test_a_refusal_that_comes_while_a_promise_is_polled_begins_no_other_poll() -> None:
    """Two registrations may be under way at once, such as one of the refresh."""
    store = AskedStore()
    subscriptions = Subscriptions(store, address="poll://uni@g/p")
    subscription = subscriptions.of("p")
    with waiting(subscriptions, subscription, 1):
        _, first = await store.next_question(1)
        subscriptions.on_connected()
        _, second = await store.next_question(2)
        store.answer(first, INTERNAL)
        store.answer(second, INTERNAL)
        await store.next_question(3)
        for _ in range(20):
            await asyncio.sleep(0)

    assert store.kinds() == [PromiseRegisterListener, PromiseRegisterListener, PromiseGet]


async def test_a_poll_that_was_given_up_can_begin_again() -> None:
    store = AskedStore()
    subscriptions = Subscriptions(store, address="poll://uni@g/p")
    subscription = subscriptions.of("p")
    with waiting(subscriptions, subscription, 1):
        _, listener = await store.next_question(1)
        store.answer(listener, INTERNAL)
        _, look = await store.next_question(2)
        look.cancel()
        await asyncio.sleep(0)

    with waiting(subscriptions, subscription, 1):
        request, _ = await store.next_question(3)

    assert isinstance(request, PromiseRegisterListener)
