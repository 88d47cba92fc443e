"""The remote store: one stream that is kept alive, and what must survive its breaks."""

import asyncio
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Final, Protocol, runtime_checkable

from holdfast.core.membership import DeliveryMode, Member, TaskOffer
from holdfast.core.profile import DEFAULT_PROFILE
from holdfast.core.requests import SKIPPED, Outcome, Refusal, Request
from holdfast.core.validation import validate
from holdfast.errors import (
    InvalidRequest,
    NotSupported,
    PermissionDenied,
    ResonateError,
    ServerUnavailable,
    Unauthenticated,
)
from holdfast.outcomes import error_of
from holdfast.port import Answer, Receiver
from holdfast.rpc.answers import offer_of, outcomes_of, promise_of, push_of
from holdfast.rpc.chains import Chains, Pending
from holdfast.rpc.connection import Broken, Connection
from holdfast.rpc.endpoints import (
    MESSAGE_BYTES_MAX,
    Endpoint,
    credentials_of,
    parse_endpoints,
)
from holdfast.rpc.requests import write_chain, write_hello
from holdfast.v1 import workers_pb2

log = logging.getLogger(__name__)

TIMEOUT_S: Final = 30.0
BACKOFF_S_MIN: Final = 0.2
BACKOFF_S_MAX: Final = 5.0
HEALTHY_S_MIN: Final = 1.0
"""A stream that lasted this long was worth having; shorter ones count as failures."""
CHAIN_BYTES_MAX: Final = MESSAGE_BYTES_MAX - 64
"""A message holds credits and flags beside its chains."""
CLOSE_S_MAX: Final = 5.0
TICK_S: Final = 0.1
"""How finely deadlines are kept."""
REST_S_MIN: Final = 0.05
REST_S_MAX: Final = 2.0
"""Pause before a chain is sent again that the store had no room, or no database, for."""


@runtime_checkable
class OfferReceiver(Protocol):
    """A receiver that joins in the delivery mode *offered* and acquires for itself."""

    def on_offer(self, offer: TaskOffer) -> None:
        """Take note of a task that may be acquired; costs one credit."""


@runtime_checkable
class HoldingReceiver(Protocol):
    """A receiver that knows which leases its process holds, and can say so when it reconnects."""

    def held(self) -> frozenset[tuple[str, int]]:
        """List the leases, as id and version."""


class RemoteStore:
    """The library's `Store` over `Workers.Connect`.

    The stream is opened in the background and again after every break, at the next endpoint.
    What has no answer then is sent again with the same correlation data, until its deadline.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        """Prepare; raises `ValueError` for a URL that names no gRPC store."""
        self._endpoints = parse_endpoints(url)
        self._metadata = credentials_of(token)
        self._timeout_s = timeout_s
        self._chains = Chains()
        self._member: Member | None = None
        self._receiver: Receiver | None = None
        self._credits = 0
        self._credits_unsent = 0
        self._draining = False
        self._draining_unsent = False
        self._leaving = False
        """The store asked to leave: nothing new goes out, answers still come in."""
        self._closing = False
        self._connection: Connection | None = None
        self._runner: asyncio.Task[None] | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._rests: set[asyncio.TimerHandle] = set()
        self._over: ResonateError | None = None
        self._trouble = "no attempt to connect has ended yet"
        self.value_bytes_max: int | None = None
        """Largest payload that the store accepts; known from the first connection on."""

    @property
    def is_connected(self) -> bool:
        """Whether a store has welcomed this process and the stream still stands."""
        return self._connection is not None

    @property
    def over(self) -> ResonateError | None:
        """Why there will be no connection any more; `None` while there is or may be one."""
        return self._over

    # The port

    async def start(self, member: Member, receiver: Receiver) -> None:
        """Join as a member; connecting goes on in the background."""
        assert self._runner is None, "a store is started once"
        if member.delivery_mode is DeliveryMode.OFFERED and not isinstance(receiver, OfferReceiver):
            raise TypeError("a member that is offered tasks needs a receiver with on_offer")
        self._member = member
        self._receiver = receiver
        self._credits = member.credits
        self._runner = asyncio.create_task(self._run(), name="store-connection")

    def submit(
        self, chain: Sequence[Request], *, credits: int = 0, timeout: float | None = None
    ) -> "asyncio.Future[Answer]":
        """Queue a chain; what is queued in one turn of the event loop leaves as one message.

        A refusal for lack of room (429) or of a database (503) is not an answer: the chain is
        sent again after a pause. When that is still so at the deadline, the future raises
        `ServerOverloaded` or `ServerUnavailable`.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        if credits:
            self._credits += credits
            self._credits_unsent += credits
        if self._over is not None:
            future.set_exception(self._over)
            return future
        message = workers_pb2.ConnectRequest()
        correlation_id = self._chains.next_id()
        try:
            write_chain(message, chain, correlation_id=correlation_id)
        except ValueError as error:
            future.set_result(Answer(outcomes=_unsendable(chain, str(error))))
            return future
        data = message.SerializeToString()
        if not chain or len(data) > CHAIN_BYTES_MAX:
            future.set_result(Answer(outcomes=_too_large(chain, len(data))))
            return future
        span_s = self._timeout_s if timeout is None else timeout
        pending = Pending(correlation_id, chain, data, loop.time() + span_s, future)
        try:
            self._chains.add(pending)
        except ResonateError as error:
            future.set_exception(error)
            return future
        if self._ticker is None:
            self._ticker = loop.call_later(TICK_S, self._tick)
        self._wake()
        return future

    def give_back(self, credits: int) -> None:
        """Return credits with the next message."""
        self._credits += credits
        self._credits_unsent += credits
        self._wake()

    def drain(self) -> None:
        """Take no more tasks, on this stream and on later ones."""
        if not self._draining:
            self._draining = True
            self._draining_unsent = True
            self._wake()

    async def close(self) -> None:
        """Send what is queued, wait up to 5 s for its answers, leave."""
        if self._runner is None or self._closing:
            return
        self._closing = True
        if self._connection is not None:
            self._connection.wake()
            await asyncio.wait({self._runner}, timeout=CLOSE_S_MAX)
        self._runner.cancel()
        await asyncio.gather(self._runner, return_exceptions=True)
        self._give_up(_closed())
        for handle in (*self._rests, *([self._ticker] if self._ticker else [])):
            handle.cancel()

    # Connecting

    async def _run(self) -> None:
        """Stay connected until closed, or until another process took this one's place."""
        failures = 0
        for attempt in count():
            endpoint = self._endpoints[attempt % len(self._endpoints)]
            started = asyncio.get_running_loop().time()
            try:
                await self._visit(endpoint)
            except Broken as broken:
                self._judge(broken.error, endpoint)
            except Exception:
                # A defect, here or in what the store sent. Whoever waits must not wait for a task
                # that has died: connect again, as after any other break.
                log.exception("store_connection_broke")
            if self._closing or self._over is not None:
                return
            # Leases survive a broken stream only if the member is back at once, so that the first
            # new attempt does not wait, nor the first at each other endpoint.
            stayed_s = asyncio.get_running_loop().time() - started
            failures = 0 if stayed_s >= HEALTHY_S_MIN else failures + 1
            rounds = failures - 1 - len(self._endpoints)
            if rounds >= 0:
                pause_s = min(BACKOFF_S_MAX, BACKOFF_S_MIN * 2.0 ** min(rounds, 16))
                await asyncio.sleep(_jittered(pause_s))

    async def _visit(self, endpoint: Endpoint) -> None:
        """Connect to one endpoint and stay until the stream ends; raise `Broken`."""
        connection = Connection(endpoint, self)
        try:
            first = await connection.open(self._hello(), self._metadata)
            self.value_bytes_max = first.welcome.value_bytes_max
            self._leaving = False
            self._chains.requeue_all()
            self._connection = connection
            _log_event(logging.INFO, "store_connected", store=str(endpoint))
            self._tell(self._receiver_now.on_connected)
            for _ in self.receive(first):
                pass
            await connection.run()
        finally:
            if self._connection is not None:
                self._connection = None
                self._trouble = f"the connection to {endpoint} ended"
                self._tell(self._receiver_now.on_disconnected)
            await connection.close()

    def _hello(self) -> bytes:
        assert self._member is not None
        message = workers_pb2.ConnectRequest(draining=self._draining)
        free = 0 if self._draining else max(0, self._credits)
        receiver: object = self._receiver
        held = receiver.held() if isinstance(receiver, HoldingReceiver) else None
        write_hello(message, replace(self._member, credits=free, held=held))
        # The hello says how much room there is now; what was not sent before is part of it.
        self._credits_unsent = 0
        self._draining_unsent = False
        return message.SerializeToString()

    def _judge(self, error: ResonateError, endpoint: Endpoint) -> None:
        """Decide what an ended stream means for those who wait."""
        known, self._trouble = self._trouble, error.message
        if error.code == "member_replaced":
            # Coming back would only send the other process away in turn, for ever, and each
            # change of places gives the loser's leases to others.
            pid = "" if self._member is None else self._member.pid
            _log_event(logging.ERROR, "member_replaced", pid=pid, store=str(endpoint))
            message = f"another process has joined the store with this process's pid, {pid}"
            self._give_up(ServerUnavailable(message, code=error.code, retriable=False))
            return
        # A store that stays away is one event, however often it is looked for.
        _log_event(
            logging.DEBUG if error.message == known else logging.WARNING,
            "store_disconnected",
            store=str(endpoint),
            reason=error.message,
            code=error.code,
        )
        if isinstance(error, _HOPELESS):
            self._chains.fail_all(error)

    def _give_up(self, error: ResonateError) -> None:
        if self._over is None:
            self._over = error
        self._chains.fail_all(error)

    # The stream's source

    def next_message(self) -> bytes | None:
        """Join the chains and credits that wait, as much as fits into a message."""
        pieces = [] if self._leaving else self._chains.take(CHAIN_BYTES_MAX)
        if self._credits_unsent or self._draining_unsent:
            rest = workers_pb2.ConnectRequest(
                credits=self._credits_unsent, draining=self._draining_unsent
            )
            pieces.append(rest.SerializeToString())
            self._credits_unsent = 0
            self._draining_unsent = False
        return b"".join(pieces) if pieces else None

    def may_finish(self) -> bool:
        """Leave when closing and all is sent, or when the store asked and all is answered."""
        if self._closing:
            return not self._chains.has_queued
        return self._leaving and not self._chains.on_wire

    def receive(self, message: workers_pb2.ConnectResponse) -> Iterator[None]:
        """Deliver answers, tasks and settlements, one for each step of the iterator."""
        if message.draining:
            self._leaving = True
        for result in message.results:
            self._take_result(result)
            yield
        receiver = self._receiver_now
        for push in message.tasks:
            self._credits -= 1
            self._tell(receiver.on_task, push_of(push))
            yield
        for promise in message.settled:
            self._tell(receiver.on_settled, promise_of(promise))
            yield
        for offer in message.offers:
            self._credits -= 1
            assert isinstance(receiver, OfferReceiver), "only a member that asked is offered tasks"
            self._tell(receiver.on_offer, offer_of(offer))
            yield
        if self._leaving or self._chains.may_send:
            self._wake()

    def _take_result(self, result: workers_pb2.ChainResult) -> None:
        pending = self._chains.find(result.correlation_id)
        if pending is None:
            return
        outcomes = outcomes_of(result.results, pending.chain)
        first = outcomes[0]
        if isinstance(first, Refusal) and first.status in _LATER:
            self._rest(pending, first)
        else:
            self._chains.answer(pending, outcomes)

    def _rest(self, pending: Pending, refusal: Refusal) -> None:
        """Send a chain again after a pause, if its deadline leaves time for it."""
        loop = asyncio.get_running_loop()
        if refusal.status == _NO_ROOM:
            pending.sent = False  # refused at the door: certainly nothing happened
        pause_s = _jittered(min(REST_S_MAX, REST_S_MIN * 2.0**pending.attempts))
        pending.attempts += 1
        pending.resting = True
        if loop.time() + pause_s >= pending.deadline:
            self._chains.fail(pending, error_of(refusal))
            return

        def again() -> None:
            self._rests.discard(handle)
            self._chains.add_again(pending)
            self._wake()

        handle = loop.call_later(pause_s, again)
        self._rests.add(handle)

    # Small things

    def _wake(self) -> None:
        if self._connection is not None:
            self._connection.wake()

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        reason = self._trouble if self._connection is None else "it is connected but silent"
        error = ServerUnavailable(f"the store did not answer in time: {reason}")
        self._chains.fail_late(loop.time(), error)
        self._ticker = loop.call_later(TICK_S, self._tick) if len(self._chains) else None

    def _tell(self, listener: Callable[..., None], *arguments: object) -> None:
        """Call the receiver; its defect must not end the stream that others live on."""
        try:
            listener(*arguments)
        except Exception:
            log.exception("receiver_broke")

    @property
    def _receiver_now(self) -> Receiver:
        assert self._receiver is not None, "started"
        return self._receiver


_NO_ROOM: Final = 429
_LATER: Final = frozenset({_NO_ROOM, 503})
_HOPELESS: Final = (Unauthenticated, PermissionDenied, InvalidRequest, NotSupported)
"""Answers to a hello that waiting does not change: whoever waits learns of them at once."""


def _closed() -> ResonateError:
    message = "the connection to the store is closed"
    return ServerUnavailable(message, code="closed", retriable=False)


def _jittered(span_s: float) -> float:
    return span_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, keeps no secret


def _unsendable(chain: Sequence[Request], reason: str) -> list[Outcome]:
    """Refuse a chain that the wire cannot carry, at the operation that the rules refuse."""
    for index, request in enumerate(chain):
        flaw = validate(request, DEFAULT_PROFILE)
        if flaw is not None:
            return [*[SKIPPED] * index, flaw, *[SKIPPED] * (len(chain) - index - 1)]
    unexplained = Refusal(status=400, code="invalid_request", message=reason)
    return [unexplained, *[SKIPPED] * (len(chain) - 1)]


def _too_large(chain: Sequence[Request], size: int) -> list[Outcome]:
    message = (
        f"a chain must have at least one operation and at most {CHAIN_BYTES_MAX} bytes,"
        f" it has {len(chain)} and {size}"
    )
    flaw = Refusal(status=400, code="invalid_chain", message=message)
    return [flaw, *[SKIPPED] * (len(chain) - 1)]


def _log_event(level: int, event: str, **keys: object) -> None:
    """Log an event with its details as keys, in the form that Holdfast's processes write out."""
    log.log(level, event, extra={"holdfast_keys": keys})
