"""What SQLite's errors mean to the engine."""

import sqlite3

from holdfast_store.storage import (
    BatchRejected,
    StorageError,
    StorageUnavailable,
    TransactionAborted,
)

DATA_ERRORS = (ValueError, TypeError, KeyError, OverflowError)
"""What converting a record raises when it holds what a column cannot: the operation's own fault."""

FAILURES = (sqlite3.Error, sqlite3.Warning, *DATA_ERRORS)
"""Everything that one statement of a batch may raise."""

DUPLICATE_KEYS = {sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE}

_REPEATABLE = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_OF_DATA = {
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_RANGE,
    sqlite3.SQLITE_TOOBIG,
}
_OF_CONNECTION = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}

_UNDONE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_NOMEM,
}


def primary_code(error: BaseException) -> int | None:
    """SQLite's result code without its extension; `None` for what the driver raised by itself."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def extended_code(error: BaseException) -> int | None:
    """SQLite's result code with its extension."""
    return getattr(error, "sqlite_errorcode", None)


def is_of_connection(error: BaseException) -> bool:
    """Whether a new connection has a better chance than the one that failed."""
    return primary_code(error) in _OF_CONNECTION


def is_of_device(error: BaseException) -> bool:
    """Whether reading or writing the file itself failed."""
    return primary_code(error) == sqlite3.SQLITE_IOERR


def is_undone_by_sqlite(error: BaseException) -> bool:
    """Whether SQLite promises that it rolled the transaction back, if it is open no more."""
    return primary_code(error) in _UNDONE


def is_damage(error: BaseException) -> bool:
    """Whether a row was found and cannot be read: by its record, or by the driver already."""
    is_undecodable = isinstance(error, sqlite3.OperationalError) and primary_code(error) is None
    return is_undecodable or isinstance(error, DATA_ERRORS)


def meaning_of(error: BaseException, *, place: str = "the database") -> StorageError:
    """Translate into the error of the port that says what a failed statement means."""
    code = primary_code(error)
    if code in _REPEATABLE:
        return TransactionAborted(f"another process holds {place}: {error}")
    if code in _OF_DATA or is_damage(error):
        return BatchRejected(f"{place} refuses the data of an operation: {error}")
    if isinstance(error, sqlite3.InterfaceError | sqlite3.DataError | sqlite3.ProgrammingError):
        return BatchRejected(f"the driver refuses the data of an operation: {error}")
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return StorageUnavailable(f"{place} cannot be used now ({name}): {error}")
