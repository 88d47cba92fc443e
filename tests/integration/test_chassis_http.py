"""The health server over real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from holdfast_chassis import health, metrics
from holdfast_chassis.health import HealthServer
from holdfast_chassis.listen import Address


class Probed:
    """A running server, the reasons it gives, and a way to ask it."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] | None = {}
        self.hanging: dict[str, str] = {}
        registry = CollectorRegistry()
        metrics.describe_build("store", registry=registry)
        self.server = HealthServer(
            Address("127.0.0.1", 0),
            not_ready=self._not_ready,
            not_alive=lambda: self.hanging,
            registry=registry,
        )

    async def ask(self, request: bytes) -> tuple[str, bytes]:
        """Send bytes; return the status line and the body."""
        reader, writer = await asyncio.open_connection(
            self.server.address.host, self.server.address.port
        )
        writer.write(request)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        head, _, body = answer.partition(b"\r\n\r\n")
        return head.partition(b"\r\n")[0].decode(), body

    async def get(self, path: str) -> tuple[str, bytes]:
        return await self.ask(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def _not_ready(self) -> dict[str, str]:
        assert self.reasons is not None, "broken on purpose"
        return self.reasons


@pytest.fixture
async def probed() -> AsyncIterator[Probed]:
    probed = Probed()
    async with probed.server:
        yield probed


async def test_a_running_process_is_alive(probed: Probed) -> None:
    assert await probed.get("/health?verbose") == ("HTTP/1.1 200 OK", b'{"status": "alive"}')


async def test_a_process_of_which_a_part_hangs_is_not_alive(probed: Probed) -> None:
    probed.hanging = {"loop": "The loop hangs."}

    status, body = await probed.get("/health")

    assert status == "HTTP/1.1 503 Service Unavailable"
    assert json.loads(body) == {"status": "not alive", "reasons": {"loop": "The loop hangs."}}


async def test_readiness_gives_its_reasons(probed: Probed) -> None:
    assert (await probed.get("/ready"))[0] == "HTTP/1.1 200 OK"

    probed.reasons = {"database": "The database does not answer."}
    status, body = await probed.get("/ready")

    assert status == "HTTP/1.1 503 Service Unavailable"
    assert json.loads(body) == {"status": "not ready", "reasons": probed.reasons}


async def test_a_readiness_check_that_fails_is_not_ready(probed: Probed) -> None:
    probed.reasons = None

    status, body = await probed.get("/ready")

    assert status == "HTTP/1.1 503 Service Unavailable"
    assert "check" in json.loads(body)["reasons"]


async def test_metrics_are_exposed(probed: Probed) -> None:
    status, body = await probed.get("/metrics")

    assert status == "HTTP/1.1 200 OK"
    assert b'holdfast_build_info{component="' in body


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /other HTTP/1.1\r\n\r\n", "404 Not Found"),
        (b"POST /health HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        (b"\x00\xff\r\n\r\n", "400 Bad Request"),
        (b"GET /" + b"x" * 16_000, "431 Request Header Fields Too Large"),
    ],
)
async def test_bad_requests_are_answered(probed: Probed, request_: bytes, status: str) -> None:
    assert (await probed.ask(request_))[0] == f"HTTP/1.1 {status}"


async def test_a_request_that_never_ends_is_cut(
    probed: Probed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "REQUEST_SECONDS_MAX", 0.05)

    assert (await probed.ask(b"GET /health"))[0] == "HTTP/1.1 408 Request Timeout"
