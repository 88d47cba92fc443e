"""Whatever is sent to the bridge: an answer below 500, no crash, nothing kept.

FUZZ_SECONDS and FUZZ_SEED make it run for longer, and along another way. What fails is printed as
bytes; put it into the corpus.
"""

import asyncio
import os
import random
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.fuzz.bridge.mutations import bodies, mutated, paths
from tests.integration.bridge.guard import check_response
from tests.integration.bridge.system import Client, System, running

SECONDS = float(os.environ.get("FUZZ_SECONDS", "8"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
INPUTS_MIN = 200
GROWTH_BYTES_MAX = 64 * 1024 * 1024

METHODS = (b"GET", b"POST", b"OPTIONS", b"HEAD", b"DELETE", b"BREW")


@pytest.fixture(scope="module", params=["0", "1"], ids=["debug off", "debug on"])
def fuzzed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    directory = tmp_path_factory.mktemp("fuzzed")
    # What is made to have an address leads nowhere: it would be chance that chooses whom to call.
    gateway = {"BRIDGE_PUSH": "0"}
    with running(directory, store={"DEBUG": request.param}, gateway=gateway) as system:
        yield system


def resident_bytes(system: System) -> int:
    """Return the memory of the gateway and the store."""
    pids = [process.popen.pid for process in (system.store, *system.gateways)]
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids]
    return sum(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.timeout(SECONDS * 4 + 120)
def test_no_body_brings_the_bridge_down(fuzzed: System) -> None:
    chance = random.Random(SEED)
    end = time.monotonic() + SECONDS
    with closing(Client(fuzzed.url)) as client:
        tried, before = 0, 0
        for body in mutated(chance, bodies()):
            answer = client.post(body)
            assert answer.status_code < 500, (answer.status_code, answer.text, body)
            check_response(answer.json())
            assert answer.json()["head"]["status"] == answer.status_code, body
            tried += 1
            if tried == INPUTS_MIN:
                before = resident_bytes(fuzzed)  # what is made once has been made
            if tried > INPUTS_MIN and time.monotonic() > end:
                break
        assert client("promise.get", {"id": "nobody"}).status == 404
    print(f"{tried} bodies, seed {SEED}")  # noqa: T201 - with -s, how much was tried
    assert all(process.popen.poll() is None for process in (fuzzed.store, *fuzzed.gateways))
    assert resident_bytes(fuzzed) - before < GROWTH_BYTES_MAX


@pytest.mark.timeout(SECONDS * 4 + 120)
async def test_no_path_brings_the_bridge_down(fuzzed: System) -> None:
    """Requests are written byte by byte, so that no client mends them; streams are left at once."""
    chance = random.Random(SEED)
    end = time.monotonic() + SECONDS
    parts = urlsplit(fuzzed.url)
    tried, statuses = 0, set[int]()
    for path in mutated(chance, paths()):
        method = chance.choice(METHODS[:1] * 4 + METHODS)
        status = await _status(str(parts.hostname), int(parts.port or 0), method, path)
        assert status is None or status < 500, (status, method, path)
        statuses.add(status or 0)
        tried += 1
        if tried > INPUTS_MIN and time.monotonic() > end:
            break
    print(f"{tried} paths, seed {SEED}, statuses {sorted(statuses)}")  # noqa: T201 - the same
    assert {200, 400, 404, 405, 410} <= statuses

    async with asyncio.timeout(30):
        while await asyncio.to_thread(  # noqa: ASYNC110 - in another process
            fuzzed.counted, "holdfast_gateway_bridge_poll_connections"
        ):
            await asyncio.sleep(0.05)
    with closing(Client(fuzzed.url)) as client:
        assert (await asyncio.to_thread(client, "promise.get", {"id": "nobody"})).status == 404


async def _status(host: str, port: int, method: bytes, path: bytes) -> int | None:
    """Send a request; answer the status, or `None` where the connection is just closed."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(method + b" " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        async with asyncio.timeout(30):
            line = await reader.readline()
        return int(line.split(b" ")[1])
    except (ConnectionError, ValueError, IndexError):
        return None
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
