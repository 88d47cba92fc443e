"""A gateway whose clients send too much, too slowly or at the wrong moment: with real processes."""

import asyncio
import contextlib
import json
import re
import signal
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from holdfast import Resonate
from holdfast_chassis.listen import Address
from holdfast_gateway import connections
from holdfast_gateway.serving import serving
from tests.integration.apps.embedded import System
from tests.integration.apps.following import END, Follower, begin, gateway_of, streams
from tests.integration.apps.processes import PORT_0, SECONDS_MAX, Process, Start, get_until
from tests.integration.apps.test_openapi import LISTED, request_of_examples

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
JSON = {"content-type": "application/json"}
ORDER = {
    "id": "ord-1",
    "items": [{"sku": "mug", "qty": 1, "price": 5}],
    "customer": {"id": "c", "email": "ada@example.com"},
}


async def promises_of(store_url: str) -> list[str]:
    """List all promises that there are."""
    async with Resonate(store_url, env={}) as resonate:
        return [each.id for each in (await resonate.promises.search(raw=True)).promises]


async def answered(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Read the status, headers and JSON body of one answer."""
    async with asyncio.timeout(SECONDS_MAX):
        line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = dict(each.lower().split(": ", 1) for each in lines)
        body = await reader.readexactly(int(headers["content-length"]))
    return int(line.split()[1]), headers, json.loads(body)


async def connected(http: httpx.AsyncClient) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = urlsplit(str(http.base_url))
    return await asyncio.open_connection(url.hostname, url.port)


def head(path: str, length: int) -> bytes:
    lines = (
        f"POST {path} HTTP/1.1",
        "host: here",
        "content-type: application/json",
        f"content-length: {length}",
    )
    return "\r\n".join([*lines, "", ""]).encode()


async def test_a_client_that_sends_too_many_requests_is_told_when_to_come_back(
    start: Start, store_url: str
) -> None:
    limits = {"RATE_PER_SECOND": "0.01", "RATE_BURST": "3", "TRUSTED_PROXIES": "127.0.0.0/8"}
    async with gateway_of(start, store_url, **limits) as (gateway, http):
        of_one = {"X-Forwarded-For": "198.51.100.1, 203.0.113.7"}
        accepted = [await http.post(f"/begin?id=ok-{n}", headers=of_one) for n in range(3)]
        of_one["X-Forwarded-For"] = "198.51.100.2, 203.0.113.7"  # the same client lies again
        refused = [await http.post(f"/begin?id=no-{n}", headers=of_one) for n in range(3)]
        elsewhere = await http.post("/begin?id=other", headers={"X-Forwarded-For": "203.0.113.8"})
        probes = [await http.get("/health") for _ in range(9)]
        metrics = (await gateway.logged("metrics_listening"))["address"]
        counted = (await http.get(f"http://{metrics}/metrics")).text

    assert [answer.status_code for answer in accepted] == [200] * 3
    assert [answer.status_code for answer in refused] == [429] * 3
    assert all(1 <= int(answer.headers["retry-after"]) <= 100 for answer in refused)
    body = refused[0].json()
    assert (body["code"], body["status"]) == ("too_many_requests", 429)
    assert refused[0].headers["content-type"] == "application/problem+json"
    assert refused[0].headers["x-request-id"] == body["requestId"]
    assert elsewhere.status_code == 200
    assert {answer.status_code for answer in probes} == {200}
    assert "holdfast_gateway_requests_refused_total 3.0\n" in counted
    assert await promises_of(store_url) == ["ok-0", "ok-1", "ok-2", "other"]


async def test_an_address_that_nobody_trusted_wrote_is_not_believed(
    start: Start, store_url: str
) -> None:
    limits = {"RATE_PER_SECOND": "0.01", "RATE_BURST": "1"}
    async with gateway_of(start, store_url, **limits) as (_, http):
        answers = [
            await http.post("/begin", headers={"X-Forwarded-For": f"203.0.113.{number}"})
            for number in range(2)
        ]

    assert [answer.status_code for answer in answers] == [200, 429]


async def endless(parts: int) -> AsyncIterator[bytes]:
    for _ in range(parts):
        yield b" " * 65_536


async def test_a_body_that_is_too_large_or_too_slow_is_refused_and_starts_nothing(
    start: Start, store_url: str
) -> None:
    limits = {"BODY_BYTES_MAX": "65536", "BODY_SECONDS": "2"}
    async with gateway_of(start, store_url, **limits) as (_, http):
        too_large = await http.post("/begin?id=large", content=b" " * 65_537, headers=JSON)
        no_length = await http.post("/begin?id=chunked", content=endless(8), headers=JSON)
        reader, writer = await connected(http)
        writer.write(head("/begin?id=slow", 7) + b'{"n":')
        slow = await answered(reader)
        rest = await reader.read()  # the connection is over
        writer.close()
        fine = await http.post("/begin?id=fine", content=b" " * 65_530 + b"{}", headers=JSON)

    assert (too_large.status_code, too_large.json()["code"]) == (413, "body_too_large")
    assert (no_length.status_code, no_length.json()["code"]) == (413, "body_too_large")
    assert too_large.json()["error"].startswith("failed_to_begin: ")
    assert (slow[0], slow[2]["code"], slow[1]["connection"]) == (408, "body_too_slow", "close")
    assert rest == b""
    assert fine.status_code == 200
    assert await promises_of(store_url) == ["fine"]


@pytest.mark.parametrize("sent", [b"", b"GET /health HTTP/1.1\r\nhost: here\r\nx: "])
async def test_a_head_that_does_not_end_in_time_is_cut(
    system: System, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """Here in one process: nobody wants to wait as long as clients may."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    async with serving(system.app, Address("127.0.0.1", 0), stop_seconds=5) as address:
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(sent)
        async with asyncio.timeout(SECONDS_MAX):
            [rest] = await asyncio.gather(reader.read(), return_exceptions=True)
        writer.close()

    assert rest == b"" or isinstance(rest, ConnectionResetError)


async def test_a_body_that_nobody_reads_has_its_time_too(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "GRACE_SECONDS", 0.1)
    listening = serving(system.app, Address("127.0.0.1", 0), stop_seconds=5, body_seconds=0.1)
    async with listening as address:
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(head("/health", 100).replace(b"POST", b"GET"))
        status, _, _ = await answered(reader)
        async with asyncio.timeout(SECONDS_MAX):
            [rest] = await asyncio.gather(reader.read(), return_exceptions=True)
        writer.close()

    assert status == 200
    assert rest == b"" or isinstance(rest, ConnectionResetError)


async def test_a_head_that_is_too_large_is_refused(system: System) -> None:
    async with serving(system.app, Address("127.0.0.1", 0), stop_seconds=5) as address:
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(b"GET /health HTTP/1.1\r\nhost: here\r\n")
        line = b"x: " + b"y" * 8_000 + b"\r\n"
        async with asyncio.timeout(SECONDS_MAX):
            while b"431" not in (first := await _read_or_send(reader, writer, line)):
                assert first == b""
        writer.close()


async def _read_or_send(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes
) -> bytes:
    """Send one more line of a head, unless there is an answer already."""
    try:
        async with asyncio.timeout(0.01):
            return await reader.readline()
    except TimeoutError:
        writer.write(line)
        await writer.drain()
        return b""


async def test_a_store_that_hangs_holds_no_route_for_longer_than_the_gateway_waits(
    start: Start, store_url: str, stopped_store: Process
) -> None:
    """Every route of the document that asks the store; the store goes on afterwards."""
    async with gateway_of(start, store_url, STORE_SECONDS="1") as (_, http):
        before = await get_until_accepted(http, "/begin?id=before")
        stopped_store.popen.send_signal(signal.SIGSTOP)
        try:
            # A busy machine is late, but connecting anew and trying again takes longer still.
            async with asyncio.timeout(12):
                answers = await asyncio.gather(
                    *(http.request(**request_of_examples(listed)) for listed in LISTED)
                )
        finally:
            stopped_store.popen.send_signal(signal.SIGCONT)
        after = await get_until(http, "/wait?id=before", lambda answer: answer.is_success)

    assert before.is_success
    assert after.json()["status"] == "pending"
    told = {
        f"{method} {path}": (answer.status_code, answer.headers.get("retry-after"))
        for (method, path, _), answer in zip(LISTED, answers, strict=True)
    }
    assert told == dict.fromkeys(told, (503, "1"))
    assert len(told) > 20


@pytest.fixture
async def stopped_store(start: Start, tmp_path: Path) -> Process:
    store = start("store", LISTEN=PORT_0, DATABASE_URL=f"sqlite:///{tmp_path}/store.db")
    await store.ready()
    return store


@pytest.fixture
async def store_url(stopped_store: Process) -> str:
    return f"grpc://{(await stopped_store.logged('store_listening'))['address']}"


async def test_more_than_the_store_can_take_is_refused_until_it_can_again(
    start: Start, tmp_path: Path
) -> None:
    """Its database is locked, so that what it may keep in memory fills up."""
    database = tmp_path / "small.db"
    settings = {"DATABASE_URL": f"sqlite:///{database}", "QUEUE_OPERATIONS_MAX": "256"}
    store = start("store", LISTEN=PORT_0, **settings)
    await store.ready()
    store_url = f"grpc://{(await store.logged('store_listening'))['address']}"
    async with gateway_of(start, store_url, STORE_SECONDS="1") as (_, http):
        with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as locking:
            locking.execute("BEGIN IMMEDIATE")
            sending = (http.post(f"/begin?id=early-{number}") for number in range(300))
            early = await asyncio.gather(*sending)
        late = await get_until_accepted(http, "/begin?id=late")
        found = await get_until(http, "/wait?id=late", lambda answer: answer.is_success)

    assert {answer.status_code for answer in early} == {503}
    assert {answer.headers["retry-after"] for answer in early} == {"1"}
    assert "overloaded" in {answer.json()["code"] for answer in early}
    assert late.json()["promise"] == "late"
    assert found.json()["status"] == "pending"


async def get_until_accepted(http: httpx.AsyncClient, url: str) -> httpx.Response:
    """Send a request as often as its refusals ask for."""
    async with asyncio.timeout(SECONDS_MAX):
        while (answer := await http.post(url)).status_code == 503:  # noqa: ASYNC110 - as it says
            await asyncio.sleep(float(answer.headers["retry-after"]))
    return answer


async def test_a_gateway_that_is_told_to_stop_ends_what_it_has_begun_and_takes_nothing_new(
    start: Start, store_url: str
) -> None:
    async with gateway_of(start, store_url) as (gateway, http):
        follower = await Follower.of(str(http.base_url), await begin(http, "idle"))
        await follower.until(b"event: workflow\n")
        waiting = asyncio.create_task(http.get("/v1/workflows/idle/idle?wait=60"))
        body = json.dumps(ORDER).encode()
        reader, writer = await connected(http)
        writer.write(head("/orders", len(body)) + body[:10])
        metrics = (await gateway.logged("metrics_listening"))["address"]
        told = ("holdfast_gateway_waits_in_flight 1.0", "holdfast_gateway_requests_in_flight 3.0")
        await get_until(
            http,
            f"http://{metrics}/metrics",
            lambda answer: all(each in answer.text for each in told),
        )

        gateway.popen.send_signal(signal.SIGTERM)
        events = await follower.until(END)  # from here on it stops
        await _refused(http)
        writer.write(body[10:])
        accepted = await answered(reader)
        waited = await waiting
        code = await gateway.exit_code()
        writer.close()
        await follower.close()

    assert b"event: settled" not in events
    assert (accepted[0], accepted[2]["status"]) == (202, "accepted")
    assert (waited.status_code, waited.json()["state"]) == (200, "pending")
    assert code == 0
    assert "order/ord-1" in await promises_of(store_url)


async def _refused(http: httpx.AsyncClient) -> None:
    """Return when no new connection is taken any more."""
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            try:
                _, writer = await connected(http)
            except ConnectionRefusedError:
                return
            writer.close()
            await asyncio.sleep(0.02)


async def test_a_client_that_does_not_read_is_cut_and_one_that_reads_is_not(
    start: Start, store_url: str
) -> None:
    limits = {"EVENTS_SEND_SECONDS": "3", "EVENTS_KEEP_ALIVE_SECONDS": "0.05"}
    async with gateway_of(start, store_url, **limits) as (gateway, http):
        made = {"id": "large", "target": "nobody", "args": ["x" * 700_000]}
        (await http.post("/v1/workflows/idle", json=made)).raise_for_status()
        base, path = str(http.base_url), "/v1/workflows/idle/large/events"
        reading = await Follower.of(base, path)
        await reading.until(b"event: workflow\n")
        lazy = await Follower.of(base, path, is_narrow=True)

        cut = await gateway.logged("client_cut")
        await streams(gateway, http, 1)
        (await http.post("/v1/promises/large/resolve")).raise_for_status()
        end = await reading.until(END)
        for follower in (reading, lazy):
            await follower.close()

    assert b"event: settled" in end
    assert re.fullmatch("[0-9a-f]{32}", cut["trace_id"])


async def test_ids_of_request_and_trace_are_in_every_line_and_every_refusal(
    start: Start, store_url: str
) -> None:
    headers = {"X-Request-Id": "req-1", "traceparent": PARENT}
    async with gateway_of(start, store_url) as (gateway, http):
        bought = await http.post("/buy/one", headers=headers)
        refusals = [
            await http.post("/orders", json={**ORDER, "id": 7}, headers=headers),
            await http.get("/nothing", headers=headers),
            await http.get("/v1/promises/nobody", headers=headers),
            await http.put("/orders", headers=headers),
        ]
        unnamed = await http.get("/v1/promises/nobody")
        gateway.popen.send_signal(signal.SIGTERM)
        await gateway.exit_code()

    for answer in refusals:
        assert (answer.json()["requestId"], answer.json()["traceId"]) == ("req-1", TRACE)
        assert answer.headers["x-request-id"] == "req-1"
    assert bought.headers["x-request-id"] == "req-1"
    new = unnamed.json()
    assert new["requestId"] == unnamed.headers["x-request-id"] != "req-1"
    assert new["traceId"] != TRACE
    lines = [each for each in gateway.events() if each.get("request_id") == "req-1"]
    assert {each["trace_id"] for each in lines} == {TRACE}
    assert [each["event"] for each in lines].count("request_answered") == 5
    assert "[api]       POST /buy/one — item: widget-001" in [each["event"] for each in lines]
    outside = {each["event"] for each in gateway.events() if "request_id" not in each}
    assert "request_answered" not in outside
