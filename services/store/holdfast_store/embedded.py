"""The store inside a process of its user: the same engine, no network.

Found by the library through the entry point group `holdfast.stores`; the library's port is
matched by shape, since the store knows nothing of the programming model.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from holdfast.core.membership import Member, TaskOffer, TaskPush
from holdfast.core.records import Promise
from holdfast.core.requests import Outcome, Refusal, Request
from holdfast.core.search import (
    PromisePage,
    PromiseSearch,
    SchedulePage,
    ScheduleSearch,
    TaskPage,
    TaskSearch,
)
from holdfast_chassis.logs import get_logger
from holdfast_store.clock import clock_of
from holdfast_store.engine import Engine, Session
from holdfast_store.loops.schedules import ScheduleTimer
from holdfast_store.loops.timers import Timers
from holdfast_store.observer import NullObserver
from holdfast_store.replicas import SharedStorage
from holdfast_store.storages import migrate, open_storage

log = get_logger(__name__)

SLOW_POLL_S = 30.0

RESTART_PAUSE_S = 1.0
"""Pause before timers that broke run again, so that a lasting defect does not fill the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedAnswer:
    """What a chain was answered; nothing is ever sent twice in process."""

    outcomes: Sequence[Outcome]
    resent: bool = False


class Receiver(Protocol):
    """The library's end."""

    def on_task(self, push: TaskPush) -> None:
        """Take a task."""

    def on_settled(self, promise: Promise) -> None:
        """Learn of a settlement."""

    def on_connected(self) -> None:
        """Learn that the store is there."""

    def on_disconnected(self) -> None:
        """Learn that the store is gone."""


class _Inbox:
    """Hands the engine's messages to the library."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def push_task(self, push: TaskPush) -> None:
        self._receiver.on_task(push)

    def push_offer(self, offer: TaskOffer) -> None:
        raise AssertionError(f"an embedded member acquires nothing itself: {offer}")

    def push_settled(self, promise: Promise) -> None:
        self._receiver.on_settled(promise)

    def replaced(self) -> None:
        self._receiver.on_disconnected()


class EmbeddedStore:
    """An engine with its storage and timers, owned by the process that uses it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._storage = open_storage(url)
        self._engine = Engine(self._storage, clock=clock_of(self._storage))
        self._timers: list[asyncio.Task[None]] = []
        self._session: Session | None = None

    @property
    def engine(self) -> Engine:
        """The engine, for whoever serves or inspects the same store."""
        return self._engine

    async def start(self, member: Member, receiver: Receiver) -> None:
        """Migrate and open the storage, start the engine, join as its only member."""
        await asyncio.to_thread(migrate, self._url)
        await self._storage.open()
        timers = Timers(
            self._engine, self._storage, observer=NullObserver(), slow_poll_s=SLOW_POLL_S
        )
        await self._engine.start()
        if not isinstance(self._storage, SharedStorage):
            # The file has one owner, and this process has just become it: every lease in it
            # belongs to a process that is gone. Who shares a database knows nothing of others.
            self._engine.take_leases_from(await self._storage.lease_holders())
        schedules = ScheduleTimer(self._engine, slow_poll_s=SLOW_POLL_S)
        self._timers = [
            asyncio.create_task(_keep_running(timers.run), name="timers"),
            asyncio.create_task(_keep_running(schedules.run), name="schedules"),
        ]
        self._session = self._engine.connect(member, _Inbox(receiver))
        receiver.on_connected()

    def submit(
        self,
        chain: Sequence[Request],
        *,
        credits: int = 0,
        timeout: float | None = None,  # noqa: ARG002 - the port's; nothing is lost in process
    ) -> "asyncio.Future[EmbeddedAnswer]":
        """Queue a chain for the next transaction."""
        future: asyncio.Future[EmbeddedAnswer] = asyncio.get_running_loop().create_future()

        def answer(outcomes: Sequence[Outcome]) -> None:
            if not future.done():
                future.set_result(EmbeddedAnswer(outcomes=outcomes))

        self._engine.submit(chain, answer, session=self._joined)
        if credits:
            self._joined.give_back(credits)
        return future

    async def search_promises(self, search: PromiseSearch) -> PromisePage | Refusal:
        """List promises, beside the batches."""
        return await self._engine.searching.promises(search)

    async def search_tasks(self, search: TaskSearch) -> TaskPage | Refusal:
        """List tasks, beside the batches."""
        return await self._engine.searching.tasks(search)

    async def search_schedules(self, search: ScheduleSearch) -> SchedulePage | Refusal:
        """List schedules, beside the batches."""
        return await self._engine.searching.schedules(search)

    def give_back(self, credits: int) -> None:
        """Return credits."""
        self._joined.give_back(credits)

    def drain(self) -> None:
        """Take no more tasks."""
        self._joined.drain()

    async def close(self) -> None:
        """Answer what is queued, stop the timers, close the storage."""
        if self._session is None:
            return
        await self._engine.stop()
        self._session.close(peer_closed=False)
        for timer in self._timers:
            timer.cancel()
        await asyncio.gather(*self._timers, return_exceptions=True)
        await self._storage.close()

    @property
    def _joined(self) -> Session:
        assert self._session is not None, "start the store before using it"
        return self._session


async def _keep_running(run: Callable[[], Awaitable[None]]) -> None:
    """Run a timer for good: a process of its own would end with them, and be started again.

    Here it belongs to somebody else, whose sleeps must not last for ever because of a defect.
    """
    while True:
        try:
            await run()
        except Exception:
            log.exception("timers_broke")
        await asyncio.sleep(RESTART_PAUSE_S)


def open_store(url: str) -> EmbeddedStore:
    """Make an in-process store on `memory:` or `sqlite:///path`; `start` opens it."""
    return EmbeddedStore(url)
