"""Statements that delete every record of a database: what `debug.reset` is to it.

What says who uses the database, and how, stays: the writers, the replicas, the revisions.
"""

from functools import cache
from typing import Final

import sqlalchemy as sa

from holdfast_store.db.dialects import Dialect
from holdfast_store.db.tables import (
    callbacks,
    listeners,
    outbox,
    promises,
    resumes,
    schedules,
    tasks,
)

_TABLES: Final = (resumes, callbacks, listeners, outbox, schedules, tasks, promises)
"""Rows that refer to others come before those, so that no key has to be followed."""


def statements(dialect: Dialect) -> list[str]:
    """Compile what deletes everything, to be run in this order as one transaction."""
    return [dialect.compile(sa.delete(table))[0] for table in _TABLES]


@cache
def lock() -> str:
    """Say to PostgreSQL that nobody else may write meanwhile; whoever reads is not held up.

    Without it a batch of another store could add a record behind the statement that deletes its
    kind, and keep others from being deleted that it refers to.
    """
    names = ", ".join(table.name for table in reversed(_TABLES))
    return f"LOCK TABLE {names} IN EXCLUSIVE MODE"
