"""The remote store: one stream that is kept alive, and what must survive its breaks."""

import asyncio
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final, Protocol, runtime_checkable

from holdfast.core.membership import DeliveryMode, Member, TaskOffer
from holdfast.core.records import Promise
from holdfast.core.requests import Refusal, Request
from holdfast.core.search import (
    PromisePage,
    PromiseSearch,
    SchedulePage,
    ScheduleSearch,
    TaskPage,
    TaskSearch,
)
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
from holdfast.rpc.access import ANONYMOUS, Access, Metadata
from holdfast.rpc.answers import offer_of, outcomes_of, promise_of, push_of
from holdfast.rpc.chains import Chains, Pending, too_large, unsendable
from holdfast.rpc.connection import Broken, Connection
from holdfast.rpc.dialing import Dialer, Line
from holdfast.rpc.endpoints import (
    MESSAGE_BYTES_MAX,
    Address,
    parse_endpoints,
)
from holdfast.rpc.requests import write_chain, write_hello
from holdfast.rpc.searching import Searching
from holdfast.v1 import workers_pb2

log = logging.getLogger(__name__)

TIMEOUT_S: Final = 30.0
BACKOFF_S_MIN: Final = 0.2
BACKOFF_S_MAX: Final = 1.0
"""Who looks for a store that is being started anew finds it this soon: an attempt that is refused
costs neither side much."""
HEALTHY_S_MIN: Final = 1.0
"""A stream that lasted this long was worth having; shorter ones count as failures."""
STAY_S_MAX: Final = 600.0
"""How long a process stays with one of several stores before it draws one of them anew."""
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
class UnblockReceiver(Protocol):
    """A receiver that joins the group of HTTP addresses and sends on what is for them."""

    def on_unblock(self, address: str, promise: Promise) -> None:
        """Take a settled promise that somebody waits for at an address."""


@runtime_checkable
class HoldingReceiver(Protocol):
    """A receiver that knows which leases its process holds, and can say so when it reconnects."""

    def held(self) -> frozenset[tuple[str, int]]:
        """List the leases, as id and version."""


class RemoteStore:
    """The library's `Store` over `Workers.Connect`.

    The stream is opened in the background and again after every break, at another store if there
    are several. What has no answer then is sent again with the same correlation data, until its
    deadline.
    """

    def __init__(
        self, url: str, *, access: Access = ANONYMOUS, timeout_s: float = TIMEOUT_S
    ) -> None:
        """Prepare; raises `ValueError` for a URL that names no gRPC store."""
        self._url = url
        self._access = access
        self._dialer = Dialer(parse_endpoints(url), access=access)
        self._timeout_s = timeout_s
        self._searching = Searching(self._dialer, metadata=access.metadata, timeout_s=timeout_s)
        self._chains = Chains()
        self._member: Member | None = None
        self._receiver: Receiver | None = None
        self._credits = 0
        self._credits_unsent = 0
        self._draining = False
        self._draining_unsent = False
        self._leaving = False
        """The present store is being left: nothing new goes out, answers still come in."""
        self._closing = False
        self._was_welcomed = False
        """Whether the last stream came to stand."""
        self._connection: Connection | None = None
        self._next: asyncio.Future[Line] | None = None
        """The way to the store after this one, sought while this one is being left."""
        self._last: Address | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        """Known from `start` on: to ask for the running loop is a system call, for each chain."""
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
        self._loop = asyncio.get_running_loop()
        self._runner = self._loop.create_task(self._run(), name="store-connection")

    def submit(
        self, chain: Sequence[Request], *, credits: int = 0, timeout: float | None = None
    ) -> "asyncio.Future[Answer]":
        """Queue a chain; what is queued in one turn of the event loop leaves as one message.

        A refusal for lack of room (429) or of a database (503) is not an answer: the chain is
        sent again after a pause. When that is still so at the deadline, the future raises
        `ServerOverloaded` or `ServerUnavailable`.
        """
        loop = self._loop
        assert loop is not None, "started"
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
            future.set_result(Answer(outcomes=unsendable(chain, str(error))))
            return future
        data = message.SerializeToString()
        if not chain or len(data) > CHAIN_BYTES_MAX:
            future.set_result(
                Answer(outcomes=too_large(chain, len(data), bytes_max=CHAIN_BYTES_MAX))
            )
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

    async def search_promises(self, search: PromiseSearch) -> PromisePage:
        """List promises by a call of its own; raises `ResonateError`."""
        return await self._searching.promises(search)

    async def search_tasks(self, search: TaskSearch) -> TaskPage:
        """List tasks by a call of its own; raises `ResonateError`."""
        return await self._searching.tasks(search)

    async def search_schedules(self, search: ScheduleSearch) -> SchedulePage:
        """List schedules by a call of its own; raises `ResonateError`."""
        return await self._searching.schedules(search)

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
        await self._searching.close()
        if self._runner is None or self._closing:
            return
        self._closing = True
        if self._connection is not None:
            self._connection.wake()
        if self._connection is not None or self._leaving:
            await asyncio.wait({self._runner}, timeout=CLOSE_S_MAX)
        self._runner.cancel()
        await asyncio.gather(self._runner, return_exceptions=True)
        self._give_up(_closed())
        for handle in (*self._rests, *([self._ticker] if self._ticker else [])):
            handle.cancel()

    # Connecting

    async def _run(self) -> None:
        """Stay connected until closed, or until another process took this one's place."""
        strikes = pauses = 0
        try:
            while not self._is_over:
                stayed_s = await self._try_once()
                # Leases survive a broken stream only if the member is back at once: there is no
                # pause before every store had its chance.
                strikes += 1
                if stayed_s is not None and stayed_s >= HEALTHY_S_MIN:
                    strikes = pauses = 0
                elif stayed_s is None or strikes > self._dialer.known:
                    await asyncio.sleep(_jittered(_backoff_s(pauses)))
                    pauses += 1
        finally:
            await self._drop_next()

    @property
    def _is_over(self) -> bool:
        if self._closing:
            # What one store was left with is for the next one.
            return not (self._leaving and len(self._chains))
        return self._over is not None

    async def _try_once(self) -> float | None:
        """Find a store and stay until its stream ends; answer how long, or `None` for no store."""
        try:
            line = await self._find()
        except ResonateError as error:  # nobody answers, or a file of the client's is missing
            self._judge(error, self._url)
            return None
        except Exception:
            log.exception("store_not_sought")  # as below: whoever waits must not wait for ever
            return None
        self._last = line.address
        started = asyncio.get_running_loop().time()
        self._was_welcomed = False
        try:
            await self._visit(line)
        except Broken as broken:
            self._judge(broken.error, str(line.address))
        except Exception:
            # A defect, here or in what the store sent. Whoever waits must not wait for a task that
            # has died: connect again, as after any other break.
            log.exception("store_connection_broke")
        return asyncio.get_running_loop().time() - started

    async def _find(self) -> Line:
        """Take the way that was sought already, or seek one."""
        sought, self._next = self._next, None
        if sought is None:
            return await self._dialer.dial(after=self._last)
        return await sought

    async def _drop_next(self) -> None:
        sought, self._next = self._next, None
        if sought is None:
            return
        sought.cancel()
        (line,) = await asyncio.gather(sought, return_exceptions=True)
        if isinstance(line, Line):
            await line.channel.close()

    async def _visit(self, line: Line) -> None:
        """Join one store and stay until the stream ends; raise `Broken`."""
        connection = Connection(line, self)
        moving: asyncio.Task[None] | None = None
        try:
            first = await connection.open(self._hello(), self._metadata())
            self._was_welcomed = True
            self.value_bytes_max = first.welcome.value_bytes_max
            self._leaving = False
            self._chains.requeue_all()
            self._connection = connection
            _log_event(logging.INFO, "store_connected", store=str(line.address))
            moving = asyncio.create_task(self._move(connection), name="store-move")
            self._tell(self._receiver_now.on_connected)
            for _ in self.receive(first):
                pass
            await connection.run()
        finally:
            if self._connection is not None:
                self._connection = None
                self._trouble = f"the connection to {line.address} ended"
                self._tell(self._receiver_now.on_disconnected)
            if moving is not None:
                moving.cancel()
                await asyncio.gather(moving, return_exceptions=True)
            await connection.close()

    def _metadata(self) -> Metadata:
        try:
            return self._access.metadata()
        except ResonateError as error:
            raise Broken(error) from error

    # Leaving for another store

    async def _move(self, connection: Connection) -> None:
        """Now and then draw one of all stores, and go there if it is another one."""
        while True:
            await asyncio.sleep(_jittered(STAY_S_MAX))
            line = await self._dialer.move(connection.address)
            if line is not None:
                break
        if self._leaving or self._closing:
            await line.channel.close()
            return
        _log_event(logging.INFO, "store_left", store=str(connection.address), reason="moving")
        found: asyncio.Future[Line] = asyncio.get_running_loop().create_future()
        found.set_result(line)
        self._leave(found)

    def _leave(self, sought: "asyncio.Future[Line]") -> None:
        assert self._connection is not None, "somebody is left"
        self._leaving = True
        self._next = sought
        self._connection.leave()

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

    def _judge(self, error: ResonateError, store: str) -> None:
        """Decide what an ended stream means for those who wait."""
        known, self._trouble = self._trouble, error.message
        if error.code == "member_replaced":
            # Coming back would only send the other process away in turn, for ever, and each
            # change of places gives the loser's leases to others.
            pid = "" if self._member is None else self._member.pid
            _log_event(logging.ERROR, "member_replaced", pid=pid, store=store)
            message = f"another process has joined the store with this process's pid, {pid}"
            self._give_up(ServerUnavailable(message, code=error.code, retriable=False))
            return
        # A store that stays away is one event, however often it is looked for.
        _log_event(
            logging.DEBUG if error.message == known else logging.WARNING,
            "store_disconnected",
            store=store,
            reason=error.message,
            code=error.code,
        )
        if isinstance(error, Unauthenticated) and self._was_welcomed:
            return  # the token has expired since; the next hello tells whether there is another one
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
        """Finish when closing and all is sent, or when leaving and all is answered."""
        if self._leaving:
            return not self._chains.on_wire
        return self._closing and not self._chains.has_queued

    def receive(self, message: workers_pb2.ConnectResponse) -> Iterator[None]:
        """Deliver answers, tasks and settlements, one for each step of the iterator."""
        if message.draining and not self._leaving and not self._closing:
            seeking = self._dialer.dial(after=self._last)
            self._leave(asyncio.create_task(seeking, name="store-dial"))
        # Most fields are empty, and the iteration of an empty one costs an exception.
        for result in message.results or ():
            self._take_result(result)
            yield
        receiver = self._receiver_now
        for push in message.tasks or ():
            self._credits -= 1
            self._tell(receiver.on_task, push_of(push))
            yield
        for promise in message.settled or ():
            self._tell(receiver.on_settled, promise_of(promise))
            yield
        for offer in message.offers or ():
            self._credits -= 1
            assert isinstance(receiver, OfferReceiver), "only a member that asked is offered tasks"
            self._tell(receiver.on_offer, offer_of(offer))
            yield
        for unblock in message.unblocks or ():
            assert isinstance(receiver, UnblockReceiver), "only a member that asked is sent these"
            self._tell(receiver.on_unblock, unblock.address, promise_of(unblock.promise))
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


def _backoff_s(pauses: int) -> float:
    return min(BACKOFF_S_MAX, BACKOFF_S_MIN * 2.0 ** min(pauses, 16))


def _jittered(span_s: float) -> float:
    return span_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, keeps no secret


def _log_event(level: int, event: str, **keys: object) -> None:
    """Log an event with its details as keys, in the form that Holdfast's processes write out."""
    log.log(level, event, extra={"holdfast_keys": keys})
