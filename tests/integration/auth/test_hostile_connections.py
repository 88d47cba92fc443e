"""Connections that are made to cost a gateway something: each is cut, and says what it came to."""

import asyncio
from typing import Any

import pytest

from holdfast_chassis.listen import Address
from holdfast_gateway import connections
from holdfast_gateway.serving import serving

ANYWHERE = Address("127.0.0.1", 0)
CHUNKED = b"POST / HTTP/1.1\r\nhost: here\r\ntransfer-encoding: chunked\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nhost: here\r\n\r\n"
LARGE = b"x" * 1_000_000
SECONDS_MAX = 30


def answering(body: bytes) -> Any:
    """Make an application that reads a request and answers it."""

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        length = (b"content-length", str(len(body)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})

    return app


async def is_cut(reader: asyncio.StreamReader) -> bool:
    """Read until the connection is over."""
    async with asyncio.timeout(SECONDS_MAX):
        try:
            while await reader.read(65_536):
                pass
        except ConnectionError:
            pass
    return True


async def flood(writer: asyncio.StreamWriter, part: bytes, *, most: int) -> int:
    """Send the same again and again until the other side has had enough; answer what it took."""
    sent = 0
    try:
        while sent < most:
            writer.write(part)
            await writer.drain()
            sent += len(part)
    except ConnectionError:
        pass
    return sent


@pytest.mark.parametrize(
    ("before", "part"),
    [
        pytest.param(CHUNKED + b"0\r\n", b"x: " + b"y" * 8_000 + b"\r\n", id="trailers"),
        pytest.param(CHUNKED + b"0\r\nx: ", b"y" * 8_000, id="one-trailer"),
        pytest.param(CHUNKED + b"1;x=", b"y" * 8_000, id="extension"),
        pytest.param(GET, b"\r\n" * 4_000, id="nothing"),
    ],
)
async def test_what_is_neither_a_head_nor_a_body_has_a_size_too(before: bytes, part: bytes) -> None:
    """The server would keep all of it, or wait for as long as it comes."""
    async with serving(answering(b"ok"), ANYWHERE, stop_seconds=1) as address:
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(before)
        most = 64 * 1024 * 1024
        sent = await flood(writer, part, most=most)
        writer.close()

    assert sent < most
    assert await is_cut(reader)


async def test_empty_lines_do_not_keep_a_connection_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    async with serving(answering(b"ok"), ANYWHERE, stop_seconds=1) as address:
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(GET)
        await reader.readuntil(b"ok")
        writer.write(b"\r\n")
        assert await is_cut(reader)
        writer.close()


class Log:
    """Takes what is logged, and lets a test wait for it."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[str] = asyncio.Queue()

    def info(self, event: str, /, **_: object) -> None:
        """Keep the name of an event."""
        self.told.put_nowait(event)


async def test_a_client_that_reads_none_of_its_answers_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = Log()
    monkeypatch.setattr(connections, "SEND_SECONDS", 0.2)
    monkeypatch.setattr(connections, "log", log)
    async with serving(answering(LARGE), ANYWHERE, stop_seconds=1) as address:
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.transport.pause_reading()  # type: ignore[attr-defined] # it is a read transport, too
        writer.write(GET * 100)
        async with asyncio.timeout(SECONDS_MAX):
            assert await log.told.get() == "connection_cut"
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert await is_cut(reader)
        writer.close()


async def test_a_client_that_reads_slowly_gets_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SEND_SECONDS", 0.2)
    body = LARGE * 8
    async with serving(answering(body), ANYWHERE, stop_seconds=1) as address:
        reader, writer = await asyncio.open_connection(address.host, address.port, limit=65_536)
        writer.write(GET)
        await reader.readuntil(b"\r\n\r\n")
        size = 0
        async with asyncio.timeout(SECONDS_MAX):
            while size < len(body):
                size += len(await reader.readexactly(min(400_000, len(body) - size)))
                await asyncio.sleep(0.02)
        writer.close()

    assert size == len(body)


class Recorder:
    """An application that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes, frozenset[bytes]]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Read a request, and answer it."""
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.asked.append((scope["path"], body, frozenset(name for name, _ in scope["headers"])))
        await answering(b"ok")(scope, _nothing_more, send)


async def _nothing_more() -> dict[str, Any]:
    return {}


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: here\r\nx: y\r\n\r\n"
LENGTH = b"content-length: %d\r\n\r\n" % len(SMUGGLED)
CHUNK = b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(SMUGGLED)


@pytest.mark.parametrize("length", [LENGTH, CHUNK])
@pytest.mark.parametrize("protocol", [b"h2c", b"websocket"])
async def test_a_body_behind_an_upgrade_is_never_read_as_a_request(
    length: bytes, protocol: bytes
) -> None:
    """The parser skips it, and would take what comes next for another request."""
    upgrade = b"connection: upgrade\r\nupgrade: " + protocol + b"\r\n"
    app = Recorder()
    async with serving(app, ANYWHERE, stop_seconds=1) as address:
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(b"POST /first HTTP/1.1\r\nhost: here\r\n" + upgrade + length)
        async with asyncio.timeout(SECONDS_MAX):
            first = await reader.readuntil(b"\r\n\r\n")
        sent = await flood(writer, SMUGGLED, most=len(SMUGGLED))
        assert await is_cut(reader)
        writer.close()

    assert first.startswith(b"HTTP/1.1 400 ")
    assert sent <= len(SMUGGLED)
    assert app.asked == []


async def test_an_upgrade_without_a_body_is_answered_as_if_nobody_had_asked_for_it() -> None:
    app = Recorder()
    async with serving(app, ANYWHERE, stop_seconds=1) as address:
        reader, writer = await asyncio.open_connection(address.host, address.port)
        head = b"GET /first HTTP/1.1\r\nhost: here\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
        writer.write(head)
        async with asyncio.timeout(SECONDS_MAX):
            answer = await reader.read()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer
    assert [path for path, _, _ in app.asked] == ["/first"]


async def test_a_field_behind_the_body_is_no_header() -> None:
    """Whoever judges headers on the way has not seen it."""
    app = Recorder()
    async with serving(app, ANYWHERE, stop_seconds=1) as address:
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(CHUNKED + b"1\r\nx\r\n0\r\nauthorization: Bearer x\r\n\r\n")
        async with asyncio.timeout(SECONDS_MAX):
            await reader.readuntil(b"ok")
        writer.close()

    [(_, body, names)] = app.asked
    assert body == b"x"
    assert b"authorization" not in names
