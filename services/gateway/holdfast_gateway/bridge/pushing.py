"""Messages to HTTP addresses, sent by gateways as members of the store (§4.4).

Every gateway is a member of the group of HTTP addresses, so that the store spreads messages over
those that are there and keeps them while there is none. A message is sent once. What becomes of a
task whose message was lost, with the gateway or on the way, is decided by its retry timer; whoever
waits for a promise asks again, as the protocol has it.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Final, Protocol

from holdfast.core.ids import HTTP_GROUP
from holdfast.core.membership import DeliveryMode, Member, TaskOffer, TaskPush
from holdfast.core.records import Promise
from holdfast_chassis.logs import get_logger
from holdfast_gateway.bridge import messages, metrics
from holdfast_gateway.bridge.polling import MemberStore, ServerUrl

UNBLOCKS_MAX: Final = 10_000
"""Messages to whoever waits for a promise, kept here while they wait for their turn."""

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
        self._turn = asyncio.Semaphore(limits.in_flight)
        self._under_way: set[asyncio.Task[None]] = set()

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
        """Leave the store, and give what is under way its time."""
        await self._store.close()
        if self._under_way:
            _, late = await asyncio.wait(self._under_way, timeout=grace_seconds)
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
        """Send a task on; its credit comes back when it has been sent."""
        message = messages.execute(offer, server_url=self._server_url())
        self._begin(self._push_task(offer.address, message))

    def on_unblock(self, address: str, promise: Promise) -> None:
        """Send a settled promise on."""
        if len(self._under_way) >= UNBLOCKS_MAX:
            metrics.delivered(messages.UNBLOCK, metrics.DROPPED)
            log.warning("message_dropped", kind=messages.UNBLOCK, reason="too many wait")
            return
        self._begin(self._push(address, messages.UNBLOCK, messages.unblock(promise)))

    def on_connected(self) -> None:
        """Nothing to do: the store sends what waits."""

    def on_disconnected(self) -> None:
        """Nothing to do: what is under way goes on."""

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="push")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _push_task(self, address: str, message: bytes) -> None:
        try:
            await self._push(address, messages.EXECUTE, message)
        finally:
            self._store.give_back(1)

    async def _push(self, address: str, kind: str, message: bytes) -> None:
        async with self._turn:
            with metrics.pushes_in_flight.track_inprogress():
                try:
                    await self._post(address, message)
                except Refused as error:
                    metrics.delivered(kind, metrics.ERROR)
                    log.warning("push_failed", kind=kind, reason=str(error))
                except Exception:
                    metrics.delivered(kind, metrics.ERROR)
                    log.exception("push_broke", kind=kind)
                else:
                    metrics.delivered(kind, metrics.SUCCESS)
