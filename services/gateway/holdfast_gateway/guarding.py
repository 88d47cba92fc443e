"""What one client may cost the gateway: so many requests, and so much time for each body."""

import asyncio
import math
import time
from collections.abc import Iterable
from http import HTTPStatus
from ipaddress import ip_network
from typing import Final

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, ReceiveMessage, Scope, Send

from holdfast_gateway import metrics
from holdfast_gateway.errors import Problem, send_problem
from holdfast_gateway.rates import Rates, client_of

QUIET: Final = frozenset({"/health", "/ready"})  # probes are neither counted nor refused


class Guarded:
    """An ASGI application behind the limits; `rates` is None where nobody counts requests."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        rates: Rates | None,
        trusted_proxies: Iterable[str],
        body_seconds: float,
    ) -> None:
        self._app = app
        self._rates = rates
        self._trusted = [ip_network(each) for each in trusted_proxies]
        self._body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, unless its client has sent too many."""
        if scope["type"] != ScopeType.HTTP or scope["path"] in QUIET:
            await self._app(scope, receive, send)
            return
        if seconds := self._seconds_to_wait(scope):
            metrics.requests_refused.inc()
            await send_problem(scope, send, _too_many(seconds))
            return
        await self._app(scope, _in_time(receive, self._body_seconds), send)

    def _seconds_to_wait(self, scope: Scope) -> float:
        if self._rates is None:
            return 0
        peer = scope["client"]
        client = client_of(peer[0] if peer else None, scope["headers"], self._trusted)
        return self._rates.take(client, now=time.monotonic())


def _too_many(seconds: float) -> Problem:
    return Problem(
        status=HTTPStatus.TOO_MANY_REQUESTS,
        code="too_many_requests",
        detail="This client has sent more requests than it may; send this one again later.",
        headers={"Retry-After": str(math.ceil(seconds))},
    )


def _in_time(receive: Receive, seconds: float) -> Receive:
    """Raise Problem in place of a part of the body that comes too late."""
    deadline = asyncio.get_running_loop().time() + seconds
    is_complete = False

    async def receive_in_time() -> ReceiveMessage:
        nonlocal is_complete
        if is_complete:  # what comes now is the end of the connection, which has no deadline
            return await receive()
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError as error:
            raise Problem(
                status=HTTPStatus.REQUEST_TIMEOUT,
                code="body_too_slow",
                detail=f"The body did not arrive within {seconds:g} seconds.",
                headers={"Connection": "close"},  # what comes of it later is not read
            ) from error
        is_complete = not message.get("more_body", False)
        return message

    return receive_in_time
