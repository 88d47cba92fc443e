"""As many connections as a port may have: one more is refused, and nobody else notices."""

import asyncio
import errno
import resource
import socket
import ssl
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import REGISTRY

from holdfast_chassis.lifecycle import new_event_loop
from holdfast_gateway import listening
from holdfast_gateway.encryption import Encryption
from holdfast_gateway.listening import PARTS, Door, room_for
from holdfast_gateway.serving import serving
from tests.integration.auth.test_hostile_connections import ANYWHERE, GET, answering
from tests.integration.bridge.system import running
from tests.issuing import Authority

SECONDS_MAX = 30
MOST = 3


NewLoop = Callable[[], asyncio.AbstractEventLoop]
ON_BOTH_LOOPS = pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, new_event_loop], ids=["asyncio", "uvloop"]
)


def run(new_loop: NewLoop, test: Coroutine[Any, Any, None]) -> None:
    """Run a test; loops accept and close connections each in their own way."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(test)


def counted(name: str) -> float:
    found = REGISTRY.get_sample_value(f"holdfast_gateway_{name}", {"port": "full"})
    return found or 0


async def until_open(count: int) -> None:
    """Return when so many connections are open, as the metric tells."""
    async with asyncio.timeout(SECONDS_MAX):
        while counted("connections") != count:  # noqa: ASYNC110 - the kernel's doing
            await asyncio.sleep(0)


async def asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Send a request; answer the head of its answer."""
    async with asyncio.timeout(SECONDS_MAX):
        writer.write(GET)
        return await reader.readuntil(b"\r\n\r\n")


@ON_BOTH_LOOPS
def test_one_connection_too_many_is_refused_until_another_ends(new_loop: NewLoop) -> None:
    run(new_loop, one_too_many())


async def one_too_many() -> None:
    refused = counted("connections_refused_total")
    async with serving(
        answering(b"ok"), ANYWHERE, stop_seconds=1, name="full", connections_max=MOST
    ) as address:
        held = [await asyncio.open_connection(address.host, address.port) for _ in range(MOST)]
        await until_open(MOST)
        reader, writer = await asyncio.open_connection(address.host, address.port)
        answer = (await reader.read()).lower()
        writer.close()

        assert answer.startswith(b"http/1.1 503 ")
        assert b"\r\nretry-after: 5\r\n" in answer
        assert b"\r\nconnection: close\r\n" in answer
        assert counted("connections_refused_total") == refused + 1
        for each in held:  # who is in is served
            assert (await asked(*each)).startswith(b"HTTP/1.1 200 ")

        held.pop()[1].close()
        await until_open(MOST - 1)
        held.append(await asyncio.open_connection(address.host, address.port))
        assert (await asked(*held[-1])).startswith(b"HTTP/1.1 200 ")
        for _, each_writer in held:
            each_writer.close()
    await until_open(0)


@ON_BOTH_LOOPS
def test_a_flood_is_refused_and_costs_nothing(new_loop: NewLoop) -> None:
    """Whatever comes beyond, the process holds no more than it may."""
    run(new_loop, flood())


async def flood() -> None:
    refused = counted("connections_refused_total")
    async with serving(
        answering(b"ok"), ANYWHERE, stop_seconds=1, name="full", connections_max=MOST
    ) as address:
        many = await asyncio.gather(
            *(asyncio.open_connection(address.host, address.port) for _ in range(200))
        )
        async with asyncio.timeout(SECONDS_MAX):
            while counted("connections_refused_total") < refused + 200 - MOST:  # noqa: ASYNC110
                await asyncio.sleep(0)

        assert counted("connections") == MOST
        for _, writer in many:
            writer.close()
    await until_open(0)


@ON_BOTH_LOOPS
def test_connections_that_have_not_agreed_on_a_key_count_as_well(
    new_loop: NewLoop, tmp_path: Path
) -> None:
    """Nothing has come of them that an application could see."""
    run(new_loop, silent_beginnings(tmp_path))


async def silent_beginnings(tmp_path: Path) -> None:
    files = Authority(tmp_path).issue("gateway")
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    encryption = Encryption(str(files.cert), str(files.key))
    async with serving(
        answering(b"ok"),
        ANYWHERE,
        stop_seconds=1,
        encryption=encryption,
        name="full",
        connections_max=MOST,
    ) as address:
        silent = [await asyncio.open_connection(address.host, address.port) for _ in range(MOST)]
        await until_open(MOST)
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await asyncio.open_connection(address.host, address.port, ssl=context)

        silent[0][1].close()
        await until_open(MOST - 1)
        secured = await asyncio.open_connection(address.host, address.port, ssl=context)
        assert (await asked(*secured)).startswith(b"HTTP/1.1 200 ")
        for _, writer in (*silent, secured):
            writer.close()
    await until_open(0)


class Starved(socket.socket):
    """A listener that is refused a descriptor once."""

    refused = 0

    def accept(self) -> tuple[socket.socket, Any]:
        if not self.refused:
            self.refused += 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


async def test_a_process_out_of_descriptors_accepts_again_after_a_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listening, "REST_SECONDS", 0.01)
    listener = Starved(fileno=socket.create_server(("127.0.0.1", 0)).detach())
    door = Door(listener, asyncio.Protocol, name="full", most=1, context=None)
    door.open()

    _, writer = await asyncio.open_connection(*listener.getsockname())
    await until_open(1)

    assert listener.refused == 1
    writer.close()
    await until_open(0)
    await door.close()


def test_a_gateway_whose_ports_are_full_still_answers_probes_and_is_measured(
    tmp_path: Path,
) -> None:
    with running(tmp_path, gateway={"CONNECTIONS_MAX": "1"}) as system, ExitStack() as stack:
        [gateway] = system.gateways
        started = asyncio.run(gateway.logged("gateway_started"))
        answers = []
        for name in ("address", "bridge_address"):
            host, _, port = started[name].rpartition(":")
            first, second = (
                stack.enter_context(socket.create_connection((host, int(port)), SECONDS_MAX))
                for _ in range(2)
            )
            answers.append(second.recv(100)[:12])
            first.sendall(b"GET /health HTTP/1.1\r\nhost: here\r\n\r\n")
            answers.append(first.recv(100)[:12])
        probes = [httpx.get(f"http://{system.metrics[-1]}/{each}") for each in ("health", "ready")]

        assert answers == [b"HTTP/1.1 503", b"HTTP/1.1 200"] * 2
        assert [probe.status_code for probe in probes] == [200, 200]
        for name in ("rest", "bridge"):
            for metric in ("connections", "connections_refused_total"):
                assert system.counted(f"holdfast_gateway_{metric}", port=name) == 1
        assert [event["event"] for event in gateway.troubles()] == ["connections_refused"] * 2


def test_a_port_has_at_most_its_part_of_the_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [60, 300]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: limits.__setitem__(0, wanted[0]))

    assert room_for(20) == 20
    assert limits == [60, 300]
    assert room_for(50) == 50
    assert limits == [150, 300]
    assert room_for(1_000) == 300 // PARTS
    assert limits == [300, 300]
