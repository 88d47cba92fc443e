"""A store process: engine, timers and neighbors as they run in earnest, and how it dies.

Dead means that nothing it does is seen any more, at whichever await it stood: its transaction is
rolled back, its connections break, its memory is gone. The next one starts with an empty memory.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from holdfast.core.membership import Member, TaskOffer, TaskPush
from holdfast.core.records import Promise
from holdfast.core.requests import Outcome, Request
from holdfast_store.clock import Clock
from holdfast_store.db.postgres.clock import DatabaseClock
from holdfast_store.engine import Engine, Session
from holdfast_store.loops.neighbors import Neighbors
from holdfast_store.loops.schedules import ScheduleTimer
from holdfast_store.loops.timers import Timers
from holdfast_store.observer import NullObserver
from tests.simulation.database import Database, SharedView, View

SLOW_POLL_S: Final = 30.0

Answer = Callable[[Sequence[Outcome]], None]


class Died(BaseException):
    """The process ended at this very line; nothing in it may go on."""


class Inbox:
    """What a member is sent, as long as the process that sends it is alive."""

    def __init__(self, process: "Process", sink: "Sink") -> None:
        self._process = process
        self._sink = sink

    def push_task(self, push: TaskPush) -> None:
        if self._process.is_alive:
            self._process.database.judge.pushed(push.task, push.promise)
            self._sink.task(push)

    def push_offer(self, offer: TaskOffer) -> None:
        raise AssertionError(f"nobody wants offers: {offer}")

    def push_settled(self, promise: Promise) -> None:
        if self._process.is_alive:
            self._process.database.judge.settled(promise)
            self._sink.settled(promise)

    def push_unblock(self, address: str, promise: Promise) -> None:
        raise AssertionError(f"nobody sends on what {address} waits for: {promise.id}")

    def replaced(self) -> None:
        if self._process.is_alive:
            self._sink.replaced()


class Sink:
    """The other end: a connection of a member."""

    def task(self, push: TaskPush) -> None:
        """Carry a task to the member."""

    def settled(self, promise: Promise) -> None:
        """Carry a settlement to the member."""

    def replaced(self) -> None:
        """Another connection of the same member took over."""

    def broken(self) -> None:
        """The process at the other end is gone."""


@dataclass
class Process:
    """One life of a store."""

    database: Database
    name: str
    shared: bool
    on_death: Callable[["Process"], None]
    is_alive: bool = False
    sinks: dict[Sink, Session | None] = field(default_factory=dict)
    """Connections, and whom they seat; nobody before the hello has arrived."""
    clock_ahead_ms: int = 0
    """How far somebody has set this machine's clock."""

    def start(self) -> None:
        """Begin to run."""
        loop = self.database.loop
        clock: Callable[[], int]
        if self.shared:
            database_clock = DatabaseClock(monotonic_ns=lambda: loop.now_ns)
            database_clock.hear(self.database.now_ms())  # as opening the database does
            clock = database_clock
            self.view: View = SharedView(
                self.database, name=self.name, clock=database_clock, is_alive=lambda: self.is_alive
            )
        else:
            clock = Clock(
                wall_ns=lambda: loop.now_ns + self.database.ahead_ms * 1_000_000,
                monotonic_ns=lambda: loop.now_ns,
            )
            self.view = View(self.database, clock=clock, is_alive=lambda: self.is_alive)
        self.engine = Engine(self.view, clock=clock, reached=self._reached)
        timers = Timers(self.engine, self.view, observer=NullObserver(), slow_poll_s=SLOW_POLL_S)
        self.is_alive = True
        schedules = ScheduleTimer(self.engine, slow_poll_s=SLOW_POLL_S)
        self._tasks = [
            asyncio.create_task(self._begin(timers), name=f"{self.name}-timers"),
            asyncio.create_task(schedules.run(), name=f"{self.name}-schedules"),
        ]
        if isinstance(self.view, SharedView):
            neighbors = Neighbors(self.engine, self.view, self.view, slow_poll_s=SLOW_POLL_S)
            self._tasks.append(asyncio.create_task(neighbors.run(), name=f"{self.name}-neighbors"))

    async def _begin(self, timers: Timers) -> None:
        await self.engine.start()
        await timers.run()

    def _reached(self, _point: str) -> None:
        """Die at one of the points inside a batch, now and then."""
        if self.is_alive and self.database.faults.strikes("store crashed in a batch"):
            self.crash()
            raise Died

    # What others ask of it

    def connect(self, member: Member, sink: Sink) -> Session:
        """Seat a member."""
        session = self.engine.connect(member, Inbox(self, sink))
        self.sinks[sink] = session
        return session

    def disconnect(self, sink: Sink, *, peer_closed: bool) -> None:
        """Unseat a member whose connection is gone."""
        session = self.sinks.pop(sink, None)
        if session is not None and self.is_alive:
            session.close(peer_closed=peer_closed)

    def submit(
        self, chain: Sequence[Request], answer: Answer, *, session: Session | None = None
    ) -> None:
        """Have operations carried out; nobody hears of them if the process dies before."""

        def told(outcomes: Sequence[Outcome]) -> None:
            if self.is_alive:
                self.database.judge.answered(outcomes)
                answer(outcomes)

        self.engine.submit(chain, told, session=session)

    # Ends

    def crash(self) -> None:
        """Be gone at once."""
        if not self.is_alive:
            return
        self.is_alive = False
        for handle in self.engine._timers:
            handle.cancel()
        loops = (self.engine._loop, self.engine._deliveries.working)
        for task in (*self._tasks, *(each for each in loops if each is not None)):
            task.cancel()
        self._leave()

    async def stop(self) -> None:
        """End in order, as at a rollout."""
        await self.engine.stop(grace_s=2.0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.is_alive:  # it may have crashed meanwhile
            self.is_alive = False
            self._leave()

    def _leave(self) -> None:
        sinks, self.sinks = self.sinks, {}
        for sink in sinks:
            sink.broken()
        self.on_death(self)
