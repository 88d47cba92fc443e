"""Connections to PostgreSQL, all with the same bounds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from holdfast_store.db.errors import UnsupportedDatabase
from holdfast_store.db.postgres.errors import FAILURES, is_refusal, meaning_of
from holdfast_store.storage import StorageError, StorageRefused, StorageUnavailable

VERSION_MIN = 15
"""The oldest major version that the tests run on."""


_SET: Final = """
SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS given (name, value)
UNION ALL
SELECT set_config('synchronous_commit', 'on', false)
 WHERE current_setting('synchronous_commit') = 'off'
"""
"""Commits are to survive a crash of the server, whatever else the database is used for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How long anything may take; whatever exceeds one is repeated or refused, not waited for."""

    connect_s: float = 5.0
    statement_ms: int = 30_000
    count_ms: int = 5_000
    """For counting all open tasks, with the processor to itself: some ten million of them."""
    lock_ms: int = 5_000
    """Wait for another transaction's rows; longer than that database looks for deadlocks."""
    idle_in_transaction_ms: int = 10_000
    """Locks of a process that stands still are given up, so that the others can go on."""
    answer_s: float = 35.0
    """Silence after which a connection counts as broken; longer than any statement may run."""


class Connector:
    """Makes connections to the one address, of a server that accepts writes."""

    def __init__(self, url: str, *, bounds: Bounds) -> None:
        self._url = url
        self.bounds = bounds
        self.place = place_of(url)

    async def connect(self) -> asyncpg.Connection:
        """Connect; raise a `StorageError` that names the place and never the password."""
        try:
            connection = await asyncpg.connect(self._url, **self.options())
            try:
                await self._prepare(connection)
            except BaseException:
                connection.terminate()
                raise
        except FAILURES as error:
            raise self.refusal(error) from error
        return connection

    def options(self) -> dict[str, Any]:
        """Answer what every connection is made with."""
        bounds = self.bounds
        return {
            "timeout": bounds.connect_s,
            "command_timeout": bounds.answer_s,
            "target_session_attrs": "read-write",
            "server_settings": {"application_name": "holdfast-store"},
        }

    async def _prepare(self, connection: asyncpg.Connection) -> None:
        """Refuse what is too old or too small, and set the bounds.

        By a statement, because a proxy may refuse settings that come with the connection.
        """
        major = connection.get_server_version().major
        if major < VERSION_MIN:
            raise UnsupportedDatabase(
                f"PostgreSQL {VERSION_MIN} or newer is needed, this is {major}"
            )
        encoding = connection.get_settings().server_encoding
        if encoding != "UTF8":
            raise UnsupportedDatabase(
                f"the database stores text as {encoding}: create one with the encoding UTF8"
            )
        settings = self._settings()
        await connection.execute(_SET, list(settings), list(settings.values()))

    def _settings(self) -> Mapping[str, str]:
        bounds = self.bounds
        return {
            "statement_timeout": str(bounds.statement_ms),
            "lock_timeout": str(bounds.lock_ms),
            "idle_in_transaction_session_timeout": str(bounds.idle_in_transaction_ms),
            "default_transaction_isolation": "read committed",
            # Every statement has an index. A plan that was made while the tables were small, and
            # is kept with the prepared statement, must not read them from end to end for ever.
            "enable_seqscan": "off",
            # Nor may one that merges or hashes a whole index: that looks cheap while nobody has
            # analyzed the tables, and grows with them.
            "enable_mergejoin": "off",
            "enable_hashjoin": "off",
            # There is one way to run each statement, whatever it is given: looking for a better one
            # each time costs more than running it.
            "plan_cache_mode": "force_generic_plan",
            # Or else `array_texts` would write texts where it writes nothing.
            "array_nulls": "on",
            # Compiling a statement costs more than a thousand runs of it.
            "jit": "off",
        }

    def refusal(self, error: BaseException) -> StorageError:
        """Say why the database cannot be reached."""
        if isinstance(error, ValueError) and not isinstance(error, OSError):  # a certificate's
            return UnsupportedDatabase(f"the database address is not understood: {error}")
        meaning = meaning_of(error)
        if isinstance(error, TimeoutError) and not str(error):
            return StorageUnavailable(f"{self.place} does not answer")
        kind = StorageRefused if is_refusal(error) else StorageUnavailable
        return kind(f"{self.place}: {meaning}")


def place_of(url: str) -> str:
    """Name a database without what is secret about it: no user, password or option."""
    rest = url.partition("://")[2].partition("?")[0]
    where = rest.rpartition("@")[2] or "the default server"
    return f"PostgreSQL at {where}"
