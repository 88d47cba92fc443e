"""One member's stream: chains in, and everything that the member is sent through one buffer out.

Whatever is produced in one turn of the event loop leaves as one message. Pieces are encoded when
they are produced, as whole messages with one element; joining their bytes is a valid message with
all of them, so that nothing is copied or measured twice.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic, perf_counter
from typing import Any, Final

from msgspec import Struct, field

from holdfast.core.membership import TaskOffer, TaskPush
from holdfast.core.records import Promise
from holdfast.core.requests import SKIPPED, Done, Outcome, Refusal, Request, Skipped
from holdfast.v1 import workers_pb2
from holdfast_chassis.authorization import Grant
from holdfast_store.engine import Engine, Session
from holdfast_store.rpc.answers import (
    MESSAGE_BYTES_MAX,
    answer_bytes,
    offer_bytes,
    push_bytes,
    settled_bytes,
    unblock_bytes,
)
from holdfast_store.rpc.authorizing import bounded_chain, shown, shown_push
from holdfast_store.rpc.requests import chain_of
from holdfast_store.rpc.unary import Stopwatch

QUIET_S_MAX: Final = 8.0
"""How old the last message of a live member can be.

The library says something every 3 s. A connection that the kernel or the keepalive gives up has
been silent for 10 s at least, so that the age of the last message tells a peer that closed its
connection, as the kernel does for a killed process, from one that merely cannot be reached.
"""

DRAINING: Final = workers_pb2.ConnectResponse(draining=True).SerializeToString()


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """What one member may make the store keep in memory."""

    chains_max: int = 4_096
    """Chains whose results are not in the buffer yet; beyond it they are refused."""
    buffer_bytes_max: int = 64 * 1024 * 1024
    """Bytes that wait for the network; beyond it the member is too slow and disconnected."""


class MemberStream:
    """The engine's inbox of one member, and the way of its chains into the engine.

    Invariant: each chain gets exactly one result, and results leave in the order of answering.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        limits: StreamLimits,
        stopwatch: Stopwatch,
        brief: bool = False,
        grant: Grant | None = None,
        prefix: str = "",
    ) -> None:
        """Put it together; `grant` bounds what the member asks for, `prefix` what it is sent."""
        self._engine = engine
        self._brief = brief
        self._grant = grant
        self._prefix = prefix
        self._limits = limits
        self._stopwatch = stopwatch
        self._session: Session | None = None
        self._pieces: deque[bytes] = deque()
        self._buffered_bytes = 0
        self._in_flight = 0
        self._wake = asyncio.Event()
        self._over = False
        self._leaving = False
        self.draining = False
        self.ended: asyncio.Future[Refusal] = asyncio.get_running_loop().create_future()
        self._heard_at = monotonic()

    # Inbox: called by the engine

    def push_task(self, push: TaskPush) -> None:
        """Send a task that was acquired for the member."""
        self._put(push_bytes(shown_push(push, self._prefix) if self._prefix else push))

    def push_offer(self, offer: TaskOffer) -> None:
        """Send a task that the member may acquire."""
        self._put(offer_bytes(offer))

    def push_settled(self, promise: Promise) -> None:
        """Send a settled promise that the member waits for."""
        self._put(settled_bytes(promise))

    def push_unblock(self, address: str, promise: Promise) -> None:
        """Send a settled promise that the member sends on."""
        self._put(unblock_bytes(address, promise))

    def replaced(self) -> None:
        """End the stream: another one with the same pid took over."""
        self.end(
            Refusal(
                status=409,
                code="member_replaced",
                message="another stream with the same pid has replaced this one",
            )
        )

    # Life

    def joined(self, session: Session) -> None:
        """Remember the member's seat."""
        self._session = session

    def drain(self) -> None:
        """Tell the member that the store is stopping, and give it no more tasks."""
        if not self.draining:
            self.draining = True
            if self._session is not None:
                self._session.drain()
            self._put(DRAINING)

    def end(self, refusal: Refusal) -> None:
        """Ask for the end of the stream, for the reason that the refusal names."""
        if not self.ended.done():
            self.ended.set_result(refusal)

    @property
    def peer_is_fresh(self) -> bool:
        """Whether the member was heard of so recently that a lost stream means a closed one."""
        return monotonic() - self._heard_at < QUIET_S_MAX

    def close(self, *, peer_closed: bool) -> None:
        """Leave the engine; late answers and messages are dropped."""
        self._over = True
        self._pieces.clear()
        if self._session is not None:
            # Whoever was asked to leave goes to another store, however long the way is.
            self._session.close(peer_closed=peer_closed and not self.draining)

    # In

    def receive(self, message: workers_pb2.ConnectRequest) -> None:
        """Take a message of the member."""
        self._heard_at = monotonic()
        for chain in message.chains:
            self._take_chain(chain)
        session = self._session
        assert session is not None, "joined before anything is received"
        # After the chains: a credit must not be spent before the chain that freed it is queued.
        if message.credits > 0:
            session.give_back(message.credits)
        if message.draining:
            session.drain()

    def receive_end(self) -> None:
        """Learn that the member sends no more: the stream ends when everything is answered."""
        self._leaving = True
        if self._session is not None:
            self._session.drain()
        self._wake.set()

    def _take_chain(self, chain: workers_pb2.Chain) -> None:
        correlation_id = chain.correlation_id
        if self._in_flight >= self._limits.chains_max:
            refusal = Refusal(
                status=429,
                code="too_many_chains",
                message=f"a stream may have {self._limits.chains_max} chains in flight",
            )
            skipped = [SKIPPED] * (len(chain.operations) - 1)
            self._put(answer_bytes(correlation_id, [refusal, *skipped]))
            return
        requests, flaw = chain_of(chain.operations)
        if self._grant is not None:
            requests, denied = bounded_chain(requests, self._grant)
            if denied is not None:
                self._stopwatch.call_denied(denied.code)
                flaw = denied
        tail: Sequence[Outcome] = ()
        if flaw is not None:
            tail = [flaw, *[SKIPPED] * (len(chain.operations) - len(requests) - 1)]
            if not requests:
                self._put(answer_bytes(correlation_id, tail))
                return
        self._in_flight += 1
        answer = _Answer(self, correlation_id, requests, tail)
        self._engine.submit(requests, answer, session=self._session)

    def answered(
        self,
        correlation_id: int,
        requests: list[Request],
        outcomes: Sequence[Outcome],
        seconds: float,
    ) -> None:
        """Put a chain's results into the buffer."""
        self._in_flight -= 1
        self._stopwatch.requests_took([type(request) for request in requests], seconds)
        if self._prefix:
            outcomes = shown(outcomes, self._prefix)
        self._put(answer_bytes(correlation_id, outcomes, requests if self._brief else ()))

    # Out

    def _put(self, piece: bytes) -> None:
        if self._over or self.ended.done():
            return
        self._pieces.append(piece)
        self._buffered_bytes += len(piece)
        if self._buffered_bytes > self._limits.buffer_bytes_max:
            message = (
                f"the member reads too slowly: more than {self._limits.buffer_bytes_max} bytes wait"
            )
            self.end(Refusal(status=429, code="slow_consumer", message=message))
        self._wake.set()

    async def write_to(self, context: Any) -> None:  # noqa: ANN401 - of bytes
        """Send what is buffered, as it comes; the welcome has been sent, alone.

        Returns when the member has left and has its answers.
        """
        while not (self._leaving and self._in_flight == 0):
            await self._wake.wait()
            self._wake.clear()
            while self._pieces:
                await context.write(self._next_message())

    def _next_message(self) -> bytes:
        """Join as many pieces as fit into one message; a piece alone always fits."""
        pieces = self._pieces
        if len(pieces) == 1:
            piece = pieces.popleft()
            self._buffered_bytes -= len(piece)
            return piece
        joined: list[bytes] = []
        size = 0
        while pieces and size + len(pieces[0]) <= MESSAGE_BYTES_MAX:
            size += len(pieces[0])
            joined.append(pieces.popleft())
        self._buffered_bytes -= size
        return b"".join(joined)


class _Answer(Struct):
    """Carries one chain's results to its stream; a slim stand-in for a closure."""

    stream: MemberStream
    correlation_id: int
    requests: list[Request]
    tail: Sequence[Outcome]
    started: float = field(default_factory=perf_counter)

    def __call__(self, outcomes: Sequence[Outcome]) -> None:
        everything = outcomes
        if self.tail:
            refused = any(_ends_chain(outcome) for outcome in outcomes)
            everything = [*outcomes, *([SKIPPED] * len(self.tail) if refused else self.tail)]
        self.stream.answered(
            self.correlation_id, self.requests, everything, perf_counter() - self.started
        )


def _ends_chain(outcome: Outcome) -> bool:
    match outcome:
        case Done():
            return isinstance(outcome.action, Refusal)
        case Refusal() | Skipped():
            return True
