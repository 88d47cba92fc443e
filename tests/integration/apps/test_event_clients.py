"""Many clients that follow events: with real processes and real connections."""

import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.apps.following import END, Follower, begin, gateway_of, streams
from tests.integration.apps.processes import PORT_0, Start, get_until

CLIENTS = 2_000
WORKFLOWS = 10


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process, and the gateway it starts, have as many connections as the test wants."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * CLIENTS)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.timeout(240)
@pytest.mark.usefixtures("many_files")
async def test_thousands_of_idle_clients_are_told_of_the_end_and_let_go_at_the_stop(
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
    assert gateway.troubles() == []


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
