"""Many clients that follow events: with real processes and real connections."""

import asyncio
import resource
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.integration.apps.processes import PORT_0, SECONDS_MAX, Process, Start, get_until

CLIENTS = 1_000
WORKFLOWS = 10
END = b"0\r\n\r\n"  # of a chunked body: nothing was cut


class Follower:
    """One connection that asked for events, and reads only when told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def of(cls, base: str, path: str) -> "Follower":
        url = urlsplit(base)
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(f"GET {path} HTTP/1.1\r\nhost: {url.netloc}\r\n\r\n".encode())
        return cls(reader, writer)

    async def until(self, text: bytes) -> bytes:
        """Read up to a text."""
        async with asyncio.timeout(SECONDS_MAX):
            return await self._reader.readuntil(text)

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


@asynccontextmanager
async def gateway_of(
    start: Start,
    store_url: str,
) -> AsyncIterator[tuple[Process, httpx.AsyncClient]]:
    gateway = start("gateway", STORE_URL=store_url, LISTEN=PORT_0, BRIDGE_LISTEN=PORT_0)
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


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process, and the gateway it starts, have as many connections as the test wants."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * CLIENTS)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.timeout(240)
@pytest.mark.usefixtures("many_files")
async def test_a_thousand_idle_clients_are_told_of_the_end_and_let_go_at_the_stop(
    start: Start, store_url: str
) -> None:
    async with gateway_of(start, store_url) as (gateway, http):
        paths = [await begin(http, f"idle-{number}") for number in range(WORKFLOWS)]
        followers = [
            (number % WORKFLOWS, await Follower.of(str(http.base_url), paths[number % WORKFLOWS]))
            for number in range(CLIENTS)
        ]
        for _, follower in followers:
            await follower.until(b"event: workflow\n")
        await streams(gateway, http, CLIENTS)

        settled = await http.post("/v1/promises/idle-0/resolve", json={"value": "done"})
        ended = [follower for number, follower in followers if number == 0]
        for follower in ended:
            assert b"event: settled\n" in await follower.until(END)
        await streams(gateway, http, CLIENTS - len(ended))
        gateway.popen.send_signal(signal.SIGTERM)
        for number, follower in followers:
            if number:
                assert b"event: settled\n" not in await follower.until(END)
        code = await gateway.exit_code()
        for _, follower in followers:
            await follower.close()

    assert settled.status_code == 200
    assert code == 0
    assert not [each for each in gateway.events() if each["level"] in {"error", "warning"}]


async def test_a_stream_outlives_the_store(start: Start, tmp_path: Path) -> None:
    """A store that restarts is reached again, and then tells of what came to an end meanwhile."""
    settings = {"LISTEN": PORT_0, "DATABASE_URL": f"sqlite:///{tmp_path}/store.db"}
    store = start("store", **settings)
    await store.ready()
    address = (await store.logged("store_listening"))["address"]
    async with gateway_of(start, f"grpc://{address}") as (_, http):
        path = await begin(http, "patient")
        follower = await Follower.of(str(http.base_url), path)
        await follower.until(b"event: workflow\n")
        store.kill()
        again = start("store", **{**settings, "LISTEN": address})
        await again.ready()

        await get_until(http, "/ready", lambda answer: answer.is_success)
        settled = await http.post("/v1/promises/patient/resolve")
        text = await follower.until(END)
        await follower.close()

    assert settled.status_code == 200
    assert b"event: settled\n" in text
