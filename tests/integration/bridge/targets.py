"""HTTP servers that messages are pushed to, which answer as a test says."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from tests.integration.bridge.guard import check_message

SECONDS_MAX = 30


@dataclass
class Pushed:
    """One message that came."""

    path: str
    headers: dict[str, str]
    message: dict[str, Any]

    @property
    def task(self) -> tuple[str, int]:
        """Return the id and the version of its task."""
        assert self.message["kind"] == "execute", self.message
        task = self.message["data"]["task"]
        return task["id"], task["version"]


@dataclass
class Target:
    """A server and what it was sent."""

    url: str = ""
    status: str = "200 OK"
    headers: str = ""
    hold: asyncio.Event | None = None
    """Answers wait for it."""
    pushed: "asyncio.Queue[Pushed]" = field(default_factory=asyncio.Queue)

    async def next(self) -> Pushed:
        """Return the next message, once it has come."""
        async with asyncio.timeout(SECONDS_MAX):
            return await self.pushed.get()

    connections: set["asyncio.Task[Any]"] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection."""
        task = asyncio.current_task()
        assert task is not None
        self.connections.add(task)
        try:
            await self._serve(reader, writer)
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                line, *fields = head.strip().split("\r\n")
                headers = {k.lower(): v for k, _, v in (each.partition(": ") for each in fields)}
                body = await reader.readexactly(int(headers["content-length"]))
                method, path, _ = line.split(" ")
                assert method == "POST"
                message = json.loads(body)
                check_message(message)
                self.pushed.put_nowait(Pushed(path, headers, message))
                if self.hold is not None:
                    await self.hold.wait()
                answer = f"HTTP/1.1 {self.status}\r\n{self.headers}content-length: 2\r\n\r\n{{}}"
                writer.write(answer.encode())


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[Target]:
    """Serve on a free port."""
    target = Target()
    server = await asyncio.start_server(target.serve, "127.0.0.1", 0)
    target.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield target
    finally:
        server.close()
        for connection in target.connections:
            connection.cancel()
        await asyncio.gather(*target.connections, return_exceptions=True)
