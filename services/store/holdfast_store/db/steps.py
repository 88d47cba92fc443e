"""What a migration asks of the database that it changes."""

from collections.abc import Callable
from typing import Protocol, TypeVar

import sqlalchemy as sa

from holdfast_store.db.revisions import Migration

R = TypeVar("R")


class Steps(Protocol):
    """Transactions on the database that is migrated."""

    def one(self, work: Callable[[sa.Connection], R]) -> R:
        """Do some work in a transaction, and commit it; it may be done again from its beginning."""

    def outside(self, work: Callable[[sa.Connection], R]) -> R:
        """Do some work beside those who write, where the database has transactions in the way."""

    def check_nobody_needs(self, connection: sa.Connection, migration: Migration) -> None:
        """Raise `SchemaInUse` while a program runs that is too old for what a migration leaves."""
