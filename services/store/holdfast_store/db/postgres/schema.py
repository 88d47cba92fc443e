"""Who may use the tables of a PostgreSQL database, and that nobody takes them away meanwhile.

Each connection that writes batches holds a shared lock under the newest revision that its program
knows. A migration that contracts asks for the locks of all programs that are too old for what it
leaves, so that it begins when the last of them is gone, and none comes back before it is done.
"""

from typing import Any, Final, Protocol

from holdfast_store.db import revisions
from holdfast_store.db.revisions import History
from holdfast_store.db.statements import Statements

PROGRAMS_LOCK: Final = 0x_48_46_53_54
"""The first half of the numbers under which programs lock; the second half is a revision."""

TAKE_PART: Final = "SELECT pg_advisory_lock_shared($1, $2)"


class Fetches(Protocol):
    """A connection, or a session on one."""

    async def fetch(self, query: str, /, *args: object) -> list[Any]:
        """Run one statement and answer its rows."""


async def history(connection: Fetches, statements: Statements) -> History:
    """Tell which migrations ran, and which programs may use the tables since."""
    [(tables,)] = await connection.fetch(statements.tables_named, "schema_revisions")
    [(floors,)] = await connection.fetch(statements.tables_named, "schema_floors")
    found = await connection.fetch(statements.revisions) if tables else []
    floor = (await connection.fetch(statements.floor))[0][0] if floors else None
    return History(applied={row[0]: row[1] for row in found}, floor=floor)


async def enter(connection: Fetches, statements: Statements) -> History:
    """Take part as one of the programs; raise `SchemaMismatch` unless the tables fit.

    The lock comes first: whoever waited for it behind a migration sees what that one has done.
    """
    await connection.fetch(TAKE_PART, PROGRAMS_LOCK, int(revisions.expected_revision()))
    found = await history(connection, statements)
    revisions.check_current(found)
    return found
