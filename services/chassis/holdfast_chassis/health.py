"""`/health`, `/ready` and `/metrics` over HTTP, on a port of their own.

A few requests a second from probes and scrapers do not need a web framework, and a process that is
busy must still answer them. One request per connection; whatever is too long or too slow is cut.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Self

from prometheus_client import REGISTRY, CollectorRegistry

from holdfast_chassis import metrics
from holdfast_chassis.listen import Address
from holdfast_chassis.logs import get_logger

log = get_logger(__name__)

REQUEST_BYTES_MAX = 8 * 1024  # what probes send is a tenth of this
REQUEST_SECONDS_MAX = 5.0  # for reading one request, and again for writing its answer
CONNECTIONS_MAX = 64  # more than this at once is no prober


class HealthServer:
    """Answers as long as the event loop turns; an async context manager that listens inside.

    `not_ready` returns the reasons why no work should be sent here, by short name; none means
    ready. `not_alive` returns the reasons why only a new process helps: what the loop that answers
    cannot show by itself, such as another loop that hangs. Both are called for each request, so
    they must be quick.
    """

    def __init__(
        self,
        listen: Address,
        *,
        not_ready: Callable[[], Mapping[str, str]],
        not_alive: Callable[[], Mapping[str, str]] = dict,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self._listen = listen
        self._not_ready = not_ready
        self._not_alive = not_alive
        self._registry = registry
        self._server: asyncio.Server | None = None
        self._connections = 0

    @property
    def address(self) -> Address:
        """Where the server listens, with the port that the system chose."""
        assert self._server is not None, "not started"
        host, port = self._server.sockets[0].getsockname()[:2]
        return Address(host, port)

    async def start(self) -> None:
        """Listen; raise OSError when the address cannot be had."""
        self._server = await asyncio.start_server(
            self._serve, self._listen.host, self._listen.port, limit=REQUEST_BYTES_MAX
        )
        log.info("metrics_listening", address=str(self.address))

    async def stop(self) -> None:
        """Stop listening; requests under way are at most seconds from their end."""
        if self._server is not None:
            self._server.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections > CONNECTIONS_MAX:
                return
            status, content_type, body = await self._answer(reader)
            head = (
                f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {content_type}\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            async with asyncio.timeout(REQUEST_SECONDS_MAX):
                writer.write(head.encode() + body)
                writer.write_eof()
                await writer.drain()
                # Closing with input unread resets the connection, and the answer may be lost.
                await reader.read(REQUEST_BYTES_MAX)
        except (OSError, TimeoutError) as error:
            log.debug("probe_lost", reason=str(error))
        finally:
            self._connections -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[HTTPStatus, str, bytes]:
        try:
            async with asyncio.timeout(REQUEST_SECONDS_MAX):
                request = await reader.readuntil(b"\r\n\r\n")
        except TimeoutError:
            return _problem(HTTPStatus.REQUEST_TIMEOUT)
        except asyncio.LimitOverrunError:
            return _problem(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        except asyncio.IncompleteReadError:
            return _problem(HTTPStatus.BAD_REQUEST)
        match request.split(b"\r\n", 1)[0].decode("latin-1").split(" "):
            case ["GET", target, version] if version.startswith("HTTP/1."):
                return self._get(target.partition("?")[0])
            case [_, _, version] if version.startswith("HTTP/1."):
                return _problem(HTTPStatus.METHOD_NOT_ALLOWED)
            case _:
                return _problem(HTTPStatus.BAD_REQUEST)

    def _get(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        match path:
            case "/health":
                return self._alive()
            case "/ready":
                return self._ready()
            case "/metrics":
                return HTTPStatus.OK, metrics.CONTENT_TYPE, metrics.exposition(self._registry)
            case _:
                return _problem(HTTPStatus.NOT_FOUND)

    def _alive(self) -> tuple[HTTPStatus, str, bytes]:
        reasons = dict(self._not_alive())
        if not reasons:
            return _json(HTTPStatus.OK, {"status": "alive"})
        document = {"status": "not alive", "reasons": reasons}
        return _json(HTTPStatus.SERVICE_UNAVAILABLE, document)

    def _ready(self) -> tuple[HTTPStatus, str, bytes]:
        try:
            reasons = dict(self._not_ready())
        except Exception:  # a check that fails is a reason, not an end of answering
            log.exception("ready_check_failed")
            reasons = {"check": "The readiness check itself failed; the log says how."}
        status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
        return _json(status, {"status": "not ready" if reasons else "ready", "reasons": reasons})


def _json(status: HTTPStatus, body: Mapping[str, object]) -> tuple[HTTPStatus, str, bytes]:
    return status, "application/json", json.dumps(body).encode()


def _problem(status: HTTPStatus) -> tuple[HTTPStatus, str, bytes]:
    return _json(status, {"status": status.phrase.lower()})
