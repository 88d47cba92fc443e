"""Posting a message to an HTTP address: bounded in time, no redirect, no forbidden host."""

import asyncio
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Self

import httpcore

from holdfast_gateway.bridge.lookups import Lookups
from holdfast_gateway.bridge.pushing import Refused
from holdfast_gateway.bridge.targets import Rules, flaw_of_target

ANSWER_BYTES_MAX: Final = 64 * 1024
"""Of an answer's body: it is read so that the connection can be used again, and means nothing."""

_SUCCESS: Final = range(200, 300)


@dataclass(frozen=True, slots=True, kw_only=True)
class PostLimits:
    """What one message may cost, and where it may lead."""

    connect_seconds: float
    total_seconds: float
    connections_max: int
    allow: Rules
    deny: Rules


class HttpPost:
    """Posts messages; an async context manager around its connections.

    It goes to exactly the address that it is given: no redirects, no proxy of the environment, no
    cookies.
    """

    def __init__(
        self,
        limits: PostLimits,
        *,
        headers: Iterable[tuple[str, str]] = (),
        lookups: Lookups | None = None,
    ) -> None:
        self._limits = limits
        self._headers = [("content-type", "application/json"), *headers]
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=limits.connections_max,
            max_keepalive_connections=limits.connections_max,
            keepalive_expiry=15.0,
            network_backend=_Guarded(limits, lookups or Lookups()),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.aclose()

    async def __call__(self, url: str, body: bytes) -> None:
        """Post a body once; raise `Refused` unless the answer is a success."""
        limits = self._limits
        timeouts = {"connect": limits.connect_seconds, "pool": limits.total_seconds}
        try:
            async with asyncio.timeout(limits.total_seconds):
                request = self._pool.stream(
                    "POST",
                    url,
                    headers=self._headers,
                    content=body,
                    extensions={"timeout": timeouts},
                )
                async with request as response:
                    await _read_some(response)
        except TimeoutError as error:
            raise Refused(f"no answer within {limits.total_seconds:g} s") from error
        except _FAILURES as error:
            raise Refused(f"{type(error).__name__}: {error}"[:300]) from error
        if response.status not in _SUCCESS:
            raise Refused(f"the answer was {response.status}")


_FAILURES: Final = (
    *(httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError),
    *(httpcore.UnsupportedProtocol, httpcore.ConnectionNotAvailable),
    *(OSError, ValueError),  # an address that is none, and a host name that cannot be encoded
)


async def _read_some(response: httpcore.Response) -> None:
    """Read a short body; a longer one costs the connection, and nothing else."""
    size = 0
    async for part in response.aiter_stream():
        size += len(part)
        if size > ANSWER_BYTES_MAX:
            return


class _Guarded(httpcore.AsyncNetworkBackend):
    """Connects to addresses that the rules allow, and only to those that were judged.

    A name that is looked up once to be judged, and again to connect, could lead elsewhere.
    """

    def __init__(self, limits: PostLimits, lookups: Lookups) -> None:
        self._limits = limits
        self._lookups = lookups
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the backend's
        local_address: str | None = None,
        socket_options: Any = None,  # noqa: ANN401 - the backend's
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._lookups(host)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"{host} was not found in time") from error
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} was not found: {error}") from error
        flaw = flaw_of_target(host, addresses, allow=self._limits.allow, deny=self._limits.deny)
        if flaw is not None:
            raise httpcore.ConnectError(flaw)
        failure: Exception | None = None
        for address in addresses:
            try:
                return await self._backend.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError(f"{host} has no address")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
