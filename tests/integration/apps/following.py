"""Gateways as processes, and connections that follow events: they read only when told to."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import httpx

from tests.integration.apps.processes import PORT_0, SECONDS_MAX, Process, Start, get_until

END = b"0\r\n\r\n"  # of a chunked body: nothing was cut


class Follower:
    """One connection that asked for events, and reads only when told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def of(cls, base: str, path: str, *, is_narrow: bool = False) -> "Follower":
        """Connect; one that is narrow takes little that it does not read, and so does its peer."""
        url = urlsplit(base)
        limit = 1_024 if is_narrow else 4 * 1_024 * 1_024  # twice that is read ahead
        connection = socket.socket()
        if is_narrow:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.connect((url.hostname, url.port))
        connection.setblocking(False)  # noqa: FBT003 - theirs
        reader, writer = await asyncio.open_connection(sock=connection, limit=limit)
        writer.write(f"GET {path} HTTP/1.1\r\nhost: {url.netloc}\r\n\r\n".encode())
        return cls(reader, writer)

    async def until(self, text: bytes) -> bytes:
        """Read up to a text."""
        async with asyncio.timeout(SECONDS_MAX):
            return await self._reader.readuntil(text)

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):  # it may have been cut
            await self._writer.wait_closed()


@asynccontextmanager
async def gateway_of(
    start: Start,
    store_url: str,
    **settings: str,
) -> AsyncIterator[tuple[Process, httpx.AsyncClient]]:
    """Start a gateway; it is ready."""
    listens = {"LISTEN": PORT_0, "BRIDGE_LISTEN": PORT_0}
    gateway = start("gateway", STORE_URL=store_url, **listens, **settings)
    await gateway.ready()
    base = f"http://{(await gateway.logged('gateway_started'))['address']}"
    async with httpx.AsyncClient(base_url=base, timeout=SECONDS_MAX) as http:
        yield gateway, http


async def begin(http: httpx.AsyncClient, workflow_id: str) -> str:
    """Start a workflow that nobody runs; return where its events are."""
    made = {"id": workflow_id, "target": "nobody"}
    (await http.post("/v1/workflows/idle", json=made)).raise_for_status()
    return f"/v1/workflows/idle/{workflow_id}/events"


async def streams(gateway: Process, http: httpx.AsyncClient, number: int) -> None:
    """Return when so many clients follow events."""
    address = (await gateway.logged("metrics_listening"))["address"]
    told = f"holdfast_gateway_event_streams {float(number)}\n"
    await get_until(http, f"http://{address}/metrics", lambda answer: told in answer.text)
