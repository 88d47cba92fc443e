"""A store process: engine, timers and neighbors as they run in earnest, and how it dies.

Dead means that nothing it does is seen any more, at whichever await it stood: its transaction is
rolled back, its connections break, its memory is gone. The next one starts with an empty memory.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

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
from holdfast_store.storage import StorageError
from tests.simulation.database import Database, SharedView, View
from tests.simulation.faults import Died
from tests.simulation.sqlite_file import FileView, SqliteFile

SLOW_POLL_S: Final = 30.0

Answer = Callable[[Sequence[Outcome]], None]


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
    on_death: Callable[["Process"], None]
    file: SqliteFile | None = None
    """What it stores on, unless it shares the database with others."""
    is_alive: bool = False
    """Whether it serves: its database is open, and it has not died."""
    is_dead: bool = False
    sinks: dict[Sink, Session | None] = field(default_factory=dict)
    """Connections, and whom they seat; nobody before the hello has arrived."""

    def start(self) -> None:
        """Begin to run."""
        loop = self.database.loop
        clock: Callable[[], int]
        if self.file is None:
            clock = database_clock = DatabaseClock(monotonic_ns=lambda: loop.now_ns)
            database_clock.hear(self.database.now_ms())  # as opening the database does
            self.view: View = SharedView(
                self.database, name=self.name, clock=database_clock, is_alive=self._is_running
            )
        else:
            clock = file_clock = Clock(
                wall_ns=lambda: loop.now_ns + self.database.ahead_ms * 1_000_000,
                monotonic_ns=lambda: loop.now_ns,
            )
            self.view = FileView(
                self.database,
                self.file,
                clock=file_clock,
                is_alive=self._is_running,
                crash=self.crash,
            )
        self.engine = Engine(self.view, clock=clock, reached=self._reached)
        self._tasks: list[asyncio.Task[None]] = []
        self._do(self._live())

    async def _live(self) -> None:
        try:
            await self.view.open()
        except StorageError:
            self.crash()  # whoever starts it starts it again
            return
        await self.engine.start()
        self.is_alive = True
        timers = Timers(self.engine, self.view, observer=NullObserver(), slow_poll_s=SLOW_POLL_S)
        self._do(timers.run())
        self._do(ScheduleTimer(self.engine, slow_poll_s=SLOW_POLL_S).run())
        if isinstance(self.view, SharedView):
            self._do(Neighbors(self.engine, self.view, self.view, slow_poll_s=SLOW_POLL_S).run())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside; no part of a store may end before the store does."""
        task = asyncio.create_task(work, name=self.name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not self.is_dead:
            self.database.judge.broken.append(f"a part of {self.name} broke: {error!r}")

    def _is_running(self) -> bool:
        return not self.is_dead

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
        if self.is_dead:
            return
        self.is_dead, self.is_alive = True, False
        self.view.die()
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
        with contextlib.suppress(StorageError, Died):
            await self.view.close()
        self.crash()  # nothing of it is left; it may have crashed meanwhile

    def _leave(self) -> None:
        sinks, self.sinks = self.sinks, {}
        for sink in sinks:
            sink.broken()
        self.on_death(self)
