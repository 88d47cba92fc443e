"""A proxy in front of PostgreSQL that loses what a broken network would lose."""

import asyncio
import contextlib
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Self

SOCKET = ".s.PGSQL.5432"
COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"


class Cut(Enum):
    """Where a connection breaks that sends a commit."""

    BEFORE_SERVER = auto()
    """The server never sees it."""
    BEFORE_ANSWER = auto()
    """The server carries it out and its answer is lost."""
    AT_ONCE = auto()
    """The server sees it; nobody waits for what it does."""
    LATER = auto()
    """The server sees it when it is told to `deliver` it."""


class Cutter:
    """Passes everything on, until it is told to cut at the next commit."""

    def __init__(self, folder: Path, *, server: Path) -> None:
        self._folder = folder
        self._server_folder = server
        self._cut: Cut | None = None
        self._sign = COMMIT
        self._stay_away = False
        self._is_open = True
        self._listener: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._kept: tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes] | None = None
        self.cuts = 0

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_unix_server(self._serve, self._folder / SOCKET)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._listener is not None
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut_next_commit(self, cut: Cut, *, stay_away: bool = False) -> None:
        """Break the connection that commits next; with `stay_away` let nobody connect again."""
        self.cut_next(COMMIT, cut, stay_away=stay_away)

    def cut_next(self, sign: bytes, cut: Cut, *, stay_away: bool = False) -> None:
        """Break the connection on which this is sent next; `stay_away` as above."""
        self._cut, self._sign = cut, sign
        self._stay_away = stay_away

    async def deliver(self) -> bytes:
        """Send on what was kept, and read what the server says to that."""
        assert self._kept is not None
        from_server, to_server, data = self._kept
        to_server.write(data)
        answer = await from_server.read(65_536)
        to_server.close()
        return answer

    def come_back(self) -> None:
        """Let connections through again."""
        self._is_open = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self._is_open:
                await self._relay(reader, writer)
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_unix_connection(self._server_folder / SOCKET)
        answers = asyncio.create_task(_pass_on(from_server, writer))
        try:
            while data := await reader.read(65_536):
                cut = self._cut if self._sign in data else None
                if cut is None:
                    to_server.write(data)
                    continue
                self._cut = None
                self._is_open = not self._stay_away
                self.cuts += 1
                answers.cancel()
                await asyncio.gather(answers, return_exceptions=True)
                if cut is Cut.LATER:
                    self._kept = (from_server, to_server, data)
                    return
                if cut is not Cut.BEFORE_SERVER:
                    to_server.write(data)
                    await to_server.drain()
                if cut is Cut.BEFORE_ANSWER:
                    await from_server.read(1)
                return
        finally:
            answers.cancel()
            if self._kept is None or self._kept[1] is not to_server:
                with contextlib.suppress(ConnectionError):
                    to_server.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
    writer.close()
