"""Clients that poll: bytes off a socket, so that nothing between hides what was sent."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tests.integration.bridge.guard import check_message

SECONDS_MAX = 20


class Poll:
    """One stream of `GET /poll/{group}/{id}`."""

    def __init__(self, url: str, group: str, name: str, *, token: str | None = None) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._path = f"/poll/{group}/{name}"
        self._token = token
        self.head = ""
        self.comments = 0

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        head = f"GET {self._path} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n"
        if self._token is not None:
            head += f"Authorization: Bearer {self._token}\r\n"
        self._writer.write(f"{head}\r\n".encode())
        async with asyncio.timeout(SECONDS_MAX):
            self.head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.cut()

    @property
    def status(self) -> int:
        """Return the status of the answer."""
        return int(self.head.split(" ", 2)[1])

    async def cut(self) -> None:
        """Close the connection, as the kernel does for a process that is killed."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def _events(self) -> AsyncIterator[bytes]:
        """Yield what is between blank lines; HTTP's own framing is taken off."""
        text = b""
        while True:
            while b"\n\n" not in text:
                size = int(await self._reader.readuntil(b"\r\n"), 16)
                text += (await self._reader.readexactly(size + 2))[:size]
                if size == 0:
                    return
            event, _, text = text.partition(b"\n\n")
            yield event

    async def message(self) -> dict[str, Any]:
        """Return the next message; it must be one that every client takes."""
        async with asyncio.timeout(SECONDS_MAX):
            if not hasattr(self, "_stream"):
                self._stream = self._events()
            async for event in self._stream:
                if event.startswith(b":"):
                    self.comments += 1
                    continue
                assert event.startswith(b"data: ")
                assert b"\n" not in event
                assert b"\r" not in event
                message: dict[str, Any] = json.loads(event.removeprefix(b"data: "))
                check_message(message)
                return message
        raise EOFError

    async def task(self) -> tuple[str, int]:
        """Return the id and the version of the task that the next message is about."""
        message = await self.message()
        assert message["kind"] == "execute", message
        return message["data"]["task"]["id"], message["data"]["task"]["version"]

    async def comment(self) -> None:
        """Return when a sign of life has come."""
        seen = self.comments
        async with asyncio.timeout(SECONDS_MAX):
            while self.comments == seen:
                if not hasattr(self, "_stream"):
                    self._stream = self._events()
                event = await anext(self._stream)
                assert event.startswith(b":"), event
                self.comments += 1
