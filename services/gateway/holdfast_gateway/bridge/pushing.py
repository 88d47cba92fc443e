"""Messages to HTTP addresses, sent by gateways as members of the store (§4.4).

Every gateway is a member of the group of HTTP addresses, so that the store spreads messages over
those that are there and keeps them while there is none. A message is sent once. What becomes of a
task whose message was lost, with the gateway or on the way, is decided by its retry timer; whoever
waits for a promise asks again, as the protocol has it. Hosts share what may be under way at once,
so that the messages of one that hangs wait, or are lost, and nobody else's.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from secrets import token_hex
from typing import Final, Protocol

from holdfast.core.ids import HTTP_GROUP
from holdfast.core.membership import DeliveryMode, Member, TaskOffer, TaskPush
from holdfast.core.records import Promise
from holdfast_chassis.logs import get_logger
from holdfast_gateway.bridge import messages, metrics
from holdfast_gateway.bridge.polling import MemberStore, ServerUrl
from holdfast_gateway.bridge.turns import PATIENCE_SECONDS, Message, Turns, host_of

WAITING_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of messages that are kept here while they wait for their turn."""

log = get_logger(__name__)


class Refused(Exception):
    """A message could not be delivered; the text says why."""


class Post(Protocol):
    """The way to HTTP addresses."""

    async def __call__(self, url: str, body: bytes) -> None:
        """Post a body once; raise `Refused` unless the answer is a success."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushLimits:
    """How much is under way at once."""

    in_flight: int


class Pushes:
    """The gateway's membership in the group of HTTP addresses."""

    def __init__(
        self, store: MemberStore, post: Post, *, server_url: ServerUrl, limits: PushLimits
    ) -> None:
        self._store = store
        self._post = post
        self._server_url = server_url
        self._limits = limits
        self._turns = Turns(most=limits.in_flight, waiting_bytes_max=WAITING_BYTES_MAX)
        self._under_way: set[asyncio.Task[None]] = set()
        self._watch: asyncio.TimerHandle | None = None
        self._dropped = 0
        self._is_over = False

    async def start(self) -> None:
        """Join; connecting goes on in the background."""
        await self._store.start(
            Member(
                pid=f"push#{token_hex(8)}",
                instance=token_hex(8),
                groups=(HTTP_GROUP,),
                credits=self._limits.in_flight,
                delivery_mode=DeliveryMode.OFFERED,
            ),
            self,
        )

    async def close(self, grace_seconds: float) -> None:
        """Leave the store, and give what is here its time."""
        await self._store.close()
        try:
            async with asyncio.timeout(grace_seconds):
                while self._under_way:  # each that ends lets others begin
                    await asyncio.wait(self._under_way)
        except TimeoutError:
            log.warning("pushes_given_up", count=len(self._under_way) + self._turns.waiting)
        self._is_over = True
        if self._watch is not None:
            self._watch.cancel()
        late = list(self._under_way)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    # Receiver

    def on_task(self, push: TaskPush) -> None:
        """Never called: tasks are offered."""
        raise AssertionError(f"a member that is offered tasks was given one: {push.task.id}")

    def on_settled(self, promise: Promise) -> None:
        """Never called: what is settled comes with its address."""
        raise AssertionError(f"nobody waits for a promise at the gateway itself: {promise.id}")

    def on_offer(self, offer: TaskOffer) -> None:
        """Send a task on; its credit comes back when it has been sent, or waits for too long."""
        body = messages.execute(offer, server_url=self._server_url())
        self._take(_message(offer.address, messages.EXECUTE, offer.id, body))

    def on_unblock(self, address: str, promise: Promise) -> None:
        """Send a settled promise on."""
        body = messages.unblock(promise)
        self._take(_message(address, messages.UNBLOCK, promise.id, body))

    def on_connected(self) -> None:
        """Nothing to do: the store sends what waits."""

    def on_disconnected(self) -> None:
        """Nothing to do: what is under way goes on."""

    def _take(self, message: Message) -> None:
        """Send a message, or let it wait for its turn."""
        now = self._now()
        if self._turns.begin(message.host, now=now):
            self._begin(message)
            return
        kept = self._turns.wait(message)
        if kept is None:
            metrics.delivered(message.kind, metrics.DROPPED)
            self._dropped += 1
        metrics.pushes_waiting.set(self._turns.waiting)
        if kept is not message or self._turns.is_held_up(message.host, now=now):
            self._give_back([message])
        if self._watch is None:
            self._look_later()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _look_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(PATIENCE_SECONDS, self._look)

    def _look(self) -> None:
        """Give back the credits of what waits for hosts that are held up, while anything waits."""
        self._watch = None
        if self._dropped:  # said once for all of them: a host that hangs may have thousands
            log.warning("messages_dropped", count=self._dropped, reason="too many wait")
            self._dropped = 0
        self._give_back(self._turns.held_up(now=self._now()))
        if self._turns.waiting:
            self._look_later()

    def _give_back(self, held: Iterable[Message]) -> None:
        credited = [message for message in held if message.has_credit]
        for message in credited:
            message.has_credit = False
        if credited:
            self._store.give_back(len(credited))

    def _begin(self, message: Message) -> None:
        task = asyncio.create_task(self._push(message), name="push")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _push(self, message: Message) -> None:
        try:
            with metrics.pushes_in_flight.track_inprogress():
                await self._post_once(message)
        finally:
            self._give_back([message])
            self._end(message.host)

    def _end(self, host: str) -> None:
        """Let others begin in the place of a post that has ended."""
        if self._is_over:
            return
        following = self._turns.end(host, now=self._now())
        metrics.pushes_waiting.set(self._turns.waiting)
        for message in following:
            self._begin(message)

    async def _post_once(self, message: Message) -> None:
        kind = message.kind
        try:
            await self._post(message.address, message.body)
        except Refused as error:
            metrics.delivered(kind, metrics.ERROR)
            log.warning("push_failed", kind=kind, host=message.host, reason=str(error))
        except Exception:
            metrics.delivered(kind, metrics.ERROR)
            log.exception("push_broke", kind=kind, host=message.host)
        else:
            metrics.delivered(kind, metrics.SUCCESS)


def _message(address: str, kind: str, id: str, body: bytes) -> Message:
    host = host_of(address)
    has_credit = kind == messages.EXECUTE
    return Message(host=host, address=address, kind=kind, id=id, body=body, has_credit=has_credit)
