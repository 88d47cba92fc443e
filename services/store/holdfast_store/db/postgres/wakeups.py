"""Wake-ups over LISTEN and NOTIFY, on a connection of their own.

NOTIFY makes commits wait for each other, all over the server. So it is never part of a batch: what
several batches have to tell leaves together, behind their commits, in a transaction that changes
nothing and waits for no disk.
"""

import asyncio
import contextlib
from typing import Final

import asyncpg

from holdfast_chassis.logs import get_logger
from holdfast_store.db.postgres import errors as postgres_errors
from holdfast_store.db.postgres.connections import Connector
from holdfast_store.storage import StorageError
from holdfast_store.wakeups import EVERYTHING, NO_NEWS, Hear, News, read, written

log = get_logger(__name__)

CHANNEL: Final = "holdfast_wakeups"

NOTIFY: Final = "SELECT pg_notify($1, $2)"

KEEPALIVE_S: Final = 5.0
"""Pause between messages to oneself: what does not come back says that nothing is heard."""

ANSWER_S: Final = 5.0
"""How long a statement on this connection may take; none of them waits for anybody's rows."""

PAUSE_S_MIN: Final = 0.05
PAUSE_S_MAX: Final = 2.0
"""Pauses between attempts to connect, each twice the one before."""


_SILENT: Final = "messages to oneself do not arrive: is there a proxy?"


class Silent(Exception):
    """The connection accepts statements, and what it is told does not come back.

    So it is behind a proxy that shares connections of the server between its clients.
    """


class PostgresWakeups:
    """Tells and hears, and connects again for as long as it runs."""

    def __init__(
        self, connector: Connector, *, store: str, keepalive_s: float = KEEPALIVE_S
    ) -> None:
        self._connector = connector
        self._store = store
        self._keepalive_s = keepalive_s
        self._pending = NO_NEWS
        self._wake = asyncio.Event()
        self._is_up = False
        self._number = 0
        self._came_back = 0
        self._heard_itself = asyncio.Event()
        self._failures = 0

    @property
    def is_up(self) -> bool:
        """Whether what others tell now is heard."""
        return self._is_up

    def tell(self, news: News) -> None:
        """Tell the others soon; kept while there is no connection."""
        self._pending |= news
        self._wake.set()

    async def run(self, hear: Hear) -> None:
        """Listen and tell until cancelled."""
        while True:
            try:
                connection = await self._connector.connect()
                try:
                    await self._use(connection, hear)
                finally:
                    self._is_up = False
                    connection.terminate()
            except (*postgres_errors.FAILURES, StorageError, Silent) as error:
                if not self._failures:
                    log.warning("wakeups_interrupted", error=str(error) or type(error).__name__)
                pause_s = PAUSE_S_MIN * 2 ** min(self._failures, 16)
                self._failures += 1
                await asyncio.sleep(min(pause_s, PAUSE_S_MAX))

    async def _use(self, connection: asyncpg.Connection, hear: Hear) -> None:
        """Serve until the connection fails, which raises."""

        def receive(_connection: object, _pid: int, _channel: str, payload: object) -> None:
            heard = read(str(payload))
            if heard.store == self._store:
                self._came_back = heard.number
                self._heard_itself.set()
            else:
                hear(heard.news)

        def end(_connection: object) -> None:
            self._wake.set()
            self._heard_itself.set()

        async with asyncio.timeout(ANSWER_S):
            # Nothing is lost with it that is not looked for in any case.
            await connection.execute("SET synchronous_commit = off")
            await connection.add_listener(CHANNEL, receive)
        connection.add_termination_listener(end)
        await self._send(connection)  # others learn of this store, and this one that it hears
        await self._hear_itself()
        self._is_up = True
        if self._failures:
            log.info("wakeups_resumed", tries=self._failures)
            self._failures = 0
        hear(EVERYTHING)
        await self._serve(connection)

    async def _hear_itself(self) -> None:
        self._heard_itself.clear()
        if self._came_back < self._number:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._keepalive_s):
                    await self._heard_itself.wait()
        if self._came_back < self._number:
            raise Silent(_SILENT)

    async def _serve(self, connection: asyncpg.Connection) -> None:
        loop = asyncio.get_running_loop()
        check_at, awaited = loop.time() + self._keepalive_s, self._number
        while True:
            try:
                async with asyncio.timeout_at(check_at):
                    await self._wake.wait()
            except TimeoutError:
                if self._came_back < awaited:
                    raise Silent(_SILENT) from None
                check_at, awaited = loop.time() + self._keepalive_s, self._number + 1
                await self._send(connection)
            self._wake.clear()
            if connection.is_closed():
                raise OSError("the connection of the wake-ups was closed")
            if self._pending:
                await self._send(connection)

    async def _send(self, connection: asyncpg.Connection) -> None:
        """Send what there is to tell, or a sign of life; when that fails it is told again later."""
        news, self._pending = self._pending, NO_NEWS
        self._number += 1
        try:
            async with asyncio.timeout(ANSWER_S):
                message = written(self._store, self._number, news)
                await connection.execute(NOTIFY, CHANNEL, message)
        except BaseException:
            self._pending |= news
            raise
