"""What lies between stores and those who use them: connections that break, calls that get lost.

Messages of one connection come in order or, when it breaks, not at all: that is what TCP does. A
call on its own may get lost on either way, come late, or come twice, since its sender repeats it.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from holdfast.core.membership import Member, TaskPush
from holdfast.core.records import Promise
from holdfast.core.requests import Outcome, Refusal, Request
from holdfast_store.engine import Session
from tests.simulation.faults import Faults
from tests.simulation.process import Process, Sink
from tests.simulation.virtual_time import VirtualLoop

CALL_S: Final = 5.0


class Broken(Exception):
    """The connection is gone: what was sent was carried out or not."""


class Receiver:
    """Whoever has connections."""

    def on_task(self, push: TaskPush) -> None:
        """Take a task."""

    def on_settled(self, promise: Promise) -> None:
        """Learn of a settlement."""


class _Wire:
    """One direction of a connection: in order, with delays."""

    def __init__(self, loop: VirtualLoop, faults: Faults, is_up: Callable[[], bool]) -> None:
        self._loop = loop
        self._faults = faults
        self._is_up = is_up
        self._last_s = 0.0

    def carry(self, deliver: Callable[[], None]) -> None:
        delay_s = 0.0005 + 0.002 * self._faults.rng.random()
        if self._faults.strikes("message delayed"):
            delay_s += 3.0 * self._faults.rng.random()
        self._last_s = max(self._last_s, self._loop.time() + delay_s)

        def arrive() -> None:
            if self._is_up():
                deliver()

        self._loop.call_at(self._last_s, arrive)


class Connection(Sink):
    """A member's stream to one store."""

    def __init__(
        self, loop: VirtualLoop, faults: Faults, process: Process, receiver: Receiver
    ) -> None:
        self._loop = loop
        self._faults = faults
        self._process = process
        self._receiver = receiver
        self._session: Session | None = None
        # In their order: a set's would differ from run to run.
        self._waiting: dict[asyncio.Future[Sequence[Outcome]], None] = {}
        self._is_up = True
        self.ended = asyncio.Event()
        process.sinks[self] = None
        self._to = _Wire(loop, faults, lambda: self._is_up and process.is_alive)
        self._fro = _Wire(loop, faults, lambda: self._is_up)

    def open(self, member: Member) -> None:
        """Say hello."""

        def sit() -> None:
            self._session = self._process.connect(member, self)

        self._send(sit)

    def ask(self, chain: Sequence[Request]) -> "asyncio.Future[Sequence[Outcome]]":
        """Send a chain; the future fails when the connection does."""
        future: asyncio.Future[Sequence[Outcome]] = self._loop.create_future()
        if not self._is_up:
            future.set_exception(Broken())
            return future
        self._waiting[future] = None
        future.add_done_callback(lambda done: self._waiting.pop(done, None))

        def answer(outcomes: Sequence[Outcome]) -> None:
            self._receive(partial(_settle, future, outcomes))

        self._send(lambda: self._process.submit(chain, answer, session=self._session))
        return future

    def give_back(self, credits: int) -> None:
        """Return credits."""

        def give() -> None:
            if self._session is not None:
                self._session.give_back(credits)

        self._send(give)

    def _send(self, deliver: Callable[[], None]) -> None:
        if self._faults.strikes("connection cut"):
            self.cut(peer_closed=self._faults.rng.random() < 0.5)
        self._to.carry(deliver)

    def _receive(self, deliver: Callable[[], None]) -> None:
        if self._faults.strikes("connection cut"):
            self.cut(peer_closed=self._faults.rng.random() < 0.5)
        self._fro.carry(deliver)

    # Sink

    def task(self, push: TaskPush) -> None:
        self._receive(lambda: self._receiver.on_task(push))

    def settled(self, promise: Promise) -> None:
        self._receive(lambda: self._receiver.on_settled(promise))

    def replaced(self) -> None:
        self._process.sinks.pop(self, None)
        self._end()

    def broken(self) -> None:
        self._end()

    # Ends

    def cut(self, *, peer_closed: bool) -> None:
        """Break; the store notices a little later, and believes a FIN only of the peer."""
        if not self._is_up:
            return
        process = self._process
        delay_s = 0.001 if peer_closed else 20.0 * self._faults.rng.random()
        self._loop.call_later(delay_s, lambda: process.disconnect(self, peer_closed=peer_closed))
        self._end()

    def _end(self) -> None:
        if not self._is_up:
            return
        self._is_up = False
        self.ended.set()
        for future in list(self._waiting):
            if not future.done():
                future.set_exception(Broken())


async def call(
    loop: VirtualLoop, faults: Faults, process: Process, chain: Sequence[Request]
) -> Sequence[Outcome]:
    """Call a store once, without a connection of its own; raise `Broken` without an answer."""
    future: asyncio.Future[Sequence[Outcome]] = loop.create_future()

    def answer(outcomes: Sequence[Outcome]) -> None:
        if not faults.strikes("answer lost"):
            loop.call_later(_delay(faults), _settle, future, outcomes)

    def arrive() -> None:
        if process.is_alive:
            process.submit(chain, answer)

    if not faults.strikes("request lost"):
        for _ in range(1 + faults.strikes("request doubled")):
            loop.call_later(_delay(faults), arrive)
    try:
        async with asyncio.timeout(CALL_S):
            return await future
    except TimeoutError as error:
        raise Broken from error


def _settle(future: "asyncio.Future[Sequence[Outcome]]", outcomes: Sequence[Outcome]) -> None:
    if not future.done():
        future.set_result(outcomes)


def _delay(faults: Faults) -> float:
    late_s = 2.0 * CALL_S * faults.rng.random() if faults.strikes("message delayed") else 0.0
    return 0.0005 + 0.002 * faults.rng.random() + late_s


def is_passing(outcomes: Sequence[Outcome]) -> bool:
    """Whether a store could not carry something out now, so that asking again may help."""
    return any(isinstance(each, Refusal) and each.status in {429, 500, 503} for each in outcomes)
