"""What PostgreSQL's errors, and those of its driver, mean to the engine."""

import asyncpg

from holdfast_store.storage import (
    BatchRejected,
    InsertConflict,
    NotCertain,
    StorageError,
    StorageUnavailable,
    TransactionAborted,
)

DATA_ERRORS = (ValueError, TypeError, KeyError, OverflowError)
"""What converting a record raises when it holds what a column cannot: the operation's own fault."""

FAILURES = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
    *DATA_ERRORS,
)
"""Everything that one statement of a batch may raise."""

BORN_IN_BATCHES = {"promises", "tasks", "schedules"}
"""Tables whose rows a batch creates because it found none."""

NOT_CERTAIN = "22012"
"""Division by zero, which happens nowhere but where something was taken for granted in vain."""

_UNIQUE_VIOLATION = "23505"
_REPEATABLE = {
    "40001",  # serialization failure
    "40P01",  # deadlock detected
    "55P03",  # lock not available in time
    "25P03",  # idle in the transaction for too long: this process was suspended
    "0A000",  # a cached plan no longer fits the tables
}
_OF_DATA = (
    "21",  # cardinality violation
    "22",  # data exception
    "23",  # integrity constraint violation
    "54",  # too large for an index or a statement
)
_OF_CONNECTION = (
    "08",  # connection exception
    "25006",  # read-only: a replica that was the primary until now
    "25P03",
    "0A000",
    "57P",  # shut down, crashed, starting
)
_OF_ACCESS = (
    "28",  # wrong password, or no such user
    "3D",  # no such database
    "42501",  # no right to do this
)
"""What stays so until somebody changes the address, the account or its rights."""
_DEFINITE = ("40001", "40P01", "23", "25P02")
"""What, raised by COMMIT, says that the transaction was undone."""


def state_of(error: BaseException) -> str:
    """PostgreSQL's code of an error; empty for what the driver raised by itself."""
    return (error.sqlstate or "") if isinstance(error, asyncpg.PostgresError) else ""


def is_of_connection(error: BaseException) -> bool:
    """Whether the connection is gone, or a new one has a better chance."""
    if isinstance(error, asyncpg.PostgresError):
        return state_of(error).startswith(_OF_CONNECTION)
    if isinstance(error, ValueError):
        return False  # the driver refused a parameter before it sent anything
    return isinstance(
        error, OSError | TimeoutError | asyncpg.InterfaceError | asyncpg.InternalClientError
    )


def is_refusal(error: BaseException) -> bool:
    """Whether the server is there, and will say the same the next time."""
    return state_of(error).startswith(_OF_ACCESS)


def tells_that_nothing_was_committed(error: BaseException) -> bool:
    """Whether a failed COMMIT is known to have changed nothing."""
    return state_of(error).startswith(_DEFINITE)


def meaning_of(error: BaseException) -> StorageError:
    """Translate into the error of the port that says what a failed statement means."""
    state = state_of(error)
    if state == _UNIQUE_VIOLATION and _table_of(error) in BORN_IN_BATCHES:
        return InsertConflict(f"a row exists already: {error}")
    if state == NOT_CERTAIN:
        return NotCertain(f"what was taken for granted did not hold: {error}")
    if state in _REPEATABLE:
        return TransactionAborted(f"the database gave the transaction up ({state}): {error}")
    if state.startswith(_OF_DATA) or isinstance(error, DATA_ERRORS):
        return BatchRejected(f"the database refuses the data of an operation: {error}")
    name = state or type(error).__name__
    return StorageUnavailable(f"the database cannot be used now ({name}): {error}")


def _table_of(error: BaseException) -> str | None:
    return getattr(error, "table_name", None)
