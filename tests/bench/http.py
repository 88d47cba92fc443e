"""A client of HTTP/1.1 that costs next to nothing, so that the server is what is measured."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    body: bytes

    def json(self) -> Any:
        """Decode the body."""
        return json.loads(self.body)


class Connection:
    """One kept connection; one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, host: str, port: int) -> Self:
        """Connect."""
        return cls(*await asyncio.open_connection(host, port))

    def close(self) -> None:
        """Disconnect."""
        self._writer.close()

    async def post(self, path: str, value: object, **headers: str) -> Answer:
        """Send a value as JSON."""
        body = json.dumps(value).encode()
        lines = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
        self._writer.write(
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"{lines}Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        return await self._answer()

    async def get(self, path: str) -> Answer:
        """Ask."""
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return await self._answer()

    async def _answer(self) -> Answer:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split()[1])
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        if headers.get("transfer-encoding") == "chunked":
            return Answer(status, b"".join([chunk async for chunk in self._chunks()]))
        return Answer(status, await self._reader.readexactly(int(headers["content-length"])))

    async def _chunks(self) -> AsyncIterator[bytes]:
        while True:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            chunk = (await self._reader.readexactly(size + 2))[:-2]
            if not size:
                return
            yield chunk


class Pool:
    """Connections to one server; each request takes one that nobody uses."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._free: list[Connection] = []

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection; one that failed is not lent again."""
        connection = (
            self._free.pop() if self._free else await Connection.open(self._host, self._port)
        )
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._free.append(connection)

    def close(self) -> None:
        """Disconnect all that nobody uses; the next request connects anew."""
        while self._free:
            self._free.pop().close()
