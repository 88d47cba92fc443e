"""Who waits in this process for which promise, and that the store tells us.

A listener is registered for every promise somebody waits for, again after each reconnect and once
a minute, since a notification may be lost. Promises that nobody outside may await are polled.
"""

import asyncio
import weakref
from collections.abc import Iterable

from holdfast.core.records import Promise, PromiseState
from holdfast.core.requests import (
    Done,
    PromiseGet,
    PromiseRegisterListener,
    Refusal,
    Request,
)
from holdfast.errors import ServerUnavailable
from holdfast.outcomes import error_of
from holdfast.port import Answer, Store

REFRESH_S = 60.0
POLL_S_MIN = 0.1
POLL_S_MAX = 2.0


class Subscription:
    """Interest in one promise; lives as long as a handle refers to it."""

    __slots__ = ("__weakref__", "id", "listening", "local", "polling", "record", "waiters")

    def __init__(self, promise_id: str) -> None:
        self.id = promise_id
        self.record: Promise | None = None
        self.listening = False
        """Whether a listener was registered on the present connection."""
        self.local = False
        """Whether a run in this process will settle it: no listener is needed meanwhile."""
        self.polling = False
        self.waiters: list[asyncio.Future[Promise]] = []

    def settle(self, record: Promise) -> None:
        """Learn the outcome."""
        self.record = record
        self.local = False
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(record)

    def fail(self, error: Exception) -> None:
        """Tell those who wait that the outcome cannot be learned."""
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(error)


class Subscriptions:
    """All subscriptions of a process. Used from one event loop."""

    def __init__(self, store: Store, *, address: str) -> None:
        self._store = store
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._by_id: weakref.WeakValueDictionary[str, Subscription] = weakref.WeakValueDictionary()
        self._waited: dict[str, Subscription] = {}
        """Those with waiters: they must not vanish, and they are the ones to refresh."""
        self._refresh: asyncio.TimerHandle | None = None
        self._closed = False

    def of(self, promise_id: str) -> Subscription:
        """Find or make the subscription to a promise."""
        subscription = self._by_id.get(promise_id)
        if subscription is None:
            subscription = self._by_id[promise_id] = Subscription(promise_id)
        return subscription

    def listener(self, promise_id: str) -> Request:
        """Make the request that makes the store tell us."""
        return PromiseRegisterListener(awaited=promise_id, address=self._address)

    async def wait(self, subscription: Subscription) -> Promise:
        """Return the settled record."""
        if subscription.record is not None:
            return subscription.record
        waiter: asyncio.Future[Promise] = self._loop.create_future()
        subscription.waiters.append(waiter)
        self._waited[subscription.id] = subscription
        self._arm()
        # One that is polled was refused a listener, which asking again would not change; and each
        # further refusal would begin another poll beside the one that goes on.
        if not subscription.local and not subscription.listening and not subscription.polling:
            self._register(subscription, first=True)
        try:
            return await waiter
        finally:
            if not waiter.done() or waiter.cancelled():
                subscription.waiters = [w for w in subscription.waiters if w is not waiter]
            if not subscription.waiters:
                self._waited.pop(subscription.id, None)

    def on_settled(self, record: Promise) -> None:
        """Learn that a promise is settled."""
        subscription = self._by_id.get(record.id)
        if subscription is not None:
            subscription.settle(record)

    def on_local_end(self, promise_id: str) -> None:
        """Learn that a run here will not settle its promise itself: ask the store."""
        subscription = self._by_id.get(promise_id)
        if subscription is not None and subscription.local:
            subscription.local = False
            if subscription.waiters and not subscription.listening and not subscription.polling:
                self._register(subscription, first=False)

    def on_connected(self) -> None:
        """Register again everything that is waited for."""
        for subscription in list(self._by_id.values()):
            subscription.listening = False
        self._register_again(list(self._waited.values()))

    def close(self, error: Exception) -> None:
        """Fail everything that is waited for."""
        self._closed = True
        if self._refresh is not None:
            self._refresh.cancel()
        for subscription in list(self._waited.values()):
            subscription.fail(error)

    def _arm(self) -> None:
        if self._refresh is None and not self._closed:
            self._refresh = self._loop.call_later(REFRESH_S, self._refreshed)

    def _refreshed(self) -> None:
        self._refresh = None
        if self._waited:
            self._register_again(list(self._waited.values()))
            self._arm()

    def _register_again(self, subscriptions: Iterable[Subscription]) -> None:
        for subscription in subscriptions:
            if not subscription.local and not subscription.polling:
                self._register(subscription, first=False)

    def _register(self, subscription: Subscription, *, first: bool) -> None:
        subscription.listening = True
        future = self._store.submit([self.listener(subscription.id)])

        def answered(done: "asyncio.Future[Answer]") -> None:
            if done.cancelled():
                return
            error = done.exception()
            if isinstance(error, Exception):
                subscription.listening = False
                # Later ones are repeated by the next connection and the refresh.
                if first or not isinstance(error, ServerUnavailable):
                    subscription.fail(error)
                return
            self.on_listening(subscription, done.result().outcomes[0])

        future.add_done_callback(answered)

    def on_listening(self, subscription: Subscription, outcome: object) -> None:
        """Learn how the registration of a listener was answered."""
        if isinstance(outcome, Done) and outcome.promise is not None:
            subscription.listening = True
            if outcome.promise.state is not PromiseState.PENDING:
                subscription.settle(outcome.promise)
        elif isinstance(outcome, Refusal):
            subscription.listening = False
            if outcome.status == 422:  # noqa: PLR2004 - internal: only its own run may await it
                if not subscription.polling:  # a refusal that was on its way when polling began
                    self._poll(subscription, POLL_S_MIN)
            else:
                subscription.fail(error_of(outcome))

    def _poll(self, subscription: Subscription, delay: float) -> None:
        """Read a promise that refuses listeners until it is settled or nobody waits."""
        if not subscription.waiters or self._closed:
            subscription.polling = False
            return
        subscription.polling = True
        longer = min(delay * 1.5, POLL_S_MAX)

        def look() -> None:
            self._store.submit([PromiseGet(id=subscription.id)]).add_done_callback(looked)

        def looked(done: "asyncio.Future[Answer]") -> None:
            if done.cancelled():
                subscription.polling = False
                return
            outcome = None if done.exception() else done.result().outcomes[0]
            record = outcome.promise if isinstance(outcome, Done) else None
            if record is not None and record.state is not PromiseState.PENDING:
                subscription.polling = False
                subscription.settle(record)
            else:
                self._poll(subscription, longer)

        self._loop.call_later(delay, look)
