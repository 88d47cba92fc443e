"""A few threads that read a SQLite file beside its writer."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from holdfast_store.db.session import Session
from holdfast_store.db.sqlite import errors as sqlite_errors
from holdfast_store.db.statements import Statements

R = TypeVar("R")


class Readers:
    """Threads with a connection each, opened when first needed; batches never wait for them."""

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        statements: Statements,
        report: Callable[[str], None],
        *,
        threads: int,
    ) -> None:
        self._connect = connect
        self._statements = statements
        self._report = report
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="sqlite-reader")
        self._of_thread = threading.local()
        self._connections: set[sqlite3.Connection] = set()

    async def run(self, read: Callable[[Session], R]) -> R:
        """Run a read on one of the threads; raise what its failure means."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._read, read)

    def close(self) -> None:
        """Wait for the reads that run, and disconnect; blocks."""
        self._executor.shutdown()
        while self._connections:
            self._connections.pop().close()

    def _read(self, read: Callable[[Session], R]) -> R:
        try:
            return read(self._session())
        except sqlite_errors.FAILURES as error:
            self._disconnect()
            raise sqlite_errors.meaning_of(error) from error

    def _session(self) -> Session:
        session: Session | None = getattr(self._of_thread, "session", None)
        if session is None:
            connection = self._connect()
            self._connections.add(connection)
            self._of_thread.connection = connection
            connection.execute("PRAGMA query_only = ON")
            session = Session(connection, self._statements, self._report)
            self._of_thread.session = session
        return session

    def _disconnect(self) -> None:
        """Forget the thread's connection after a failure: the next read opens another."""
        connection: sqlite3.Connection | None = getattr(self._of_thread, "connection", None)
        self._of_thread.session = self._of_thread.connection = None
        if connection is not None:
            self._connections.discard(connection)
            connection.close()
