"""What the engine is told about each class of PostgreSQL's errors."""

import asyncpg
import pytest

from holdfast_store.db.postgres import errors as postgres_errors
from holdfast_store.db.postgres.connections import place_of
from holdfast_store.storage import (
    BatchRejected,
    InsertConflict,
    StorageError,
    StorageUnavailable,
    TransactionAborted,
)


def error(state: str, *, table: str = "") -> asyncpg.PostgresError:
    """Make an error as the driver makes it of what the server sent."""
    fields = {"C": state, "M": "message", "S": "ERROR", "t": table}
    made: asyncpg.PostgresError = asyncpg.PostgresError.new(fields)
    return made


@pytest.mark.parametrize(
    ("failure", "meaning"),
    [
        (error("23505", table="promises"), InsertConflict),
        (error("23505", table="tasks"), InsertConflict),
        (error("23505", table="resumes"), BatchRejected),
        (error("23503"), BatchRejected),
        (error("22021"), BatchRejected),
        (error("21000"), BatchRejected),
        (error("54000"), BatchRejected),
        (asyncpg.exceptions._base.DataError("a number is too large"), BatchRejected),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"), BatchRejected),
        (error("40001"), TransactionAborted),
        (error("40P01"), TransactionAborted),
        (error("55P03"), TransactionAborted),
        (error("25P03"), TransactionAborted),
        (error("0A000"), TransactionAborted),
        (error("25006"), StorageUnavailable),
        (error("53100"), StorageUnavailable),
        (error("53300"), StorageUnavailable),
        (error("57014"), StorageUnavailable),
        (error("57P01"), StorageUnavailable),
        (error("42P01"), StorageUnavailable),
        (error("28P01"), StorageUnavailable),
        (asyncpg.InterfaceError("connection is closed"), StorageUnavailable),
        (ConnectionResetError(), StorageUnavailable),
        (TimeoutError(), StorageUnavailable),
    ],
    ids=lambda value: getattr(value, "__name__", None) or f"{value!r} {vars(value)}",
)
def test_a_failure_means_what_can_be_done_about_it(
    failure: Exception, meaning: type[StorageError]
) -> None:
    assert isinstance(failure, postgres_errors.FAILURES)
    assert type(postgres_errors.meaning_of(failure)) is meaning


@pytest.mark.parametrize(
    ("failure", "is_broken"),
    [
        (error("57P01"), True),
        (error("08006"), True),
        (error("25006"), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (asyncpg.InterfaceError("connection is closed"), True),
        (asyncpg.exceptions._base.DataError("a number is too large"), False),
        (error("23505"), False),
        (error("40001"), False),
        (KeyError("odd"), False),
    ],
)
def test_a_connection_is_kept_unless_it_is_broken(failure: Exception, *, is_broken: bool) -> None:
    assert postgres_errors.is_of_connection(failure) is is_broken


@pytest.mark.parametrize(
    ("failure", "is_definite"),
    [
        (error("40001"), True),
        (error("40003"), False),
        (error("23503"), True),
        (error("53100"), False),
        (error("57P01"), False),
        (error("57014"), False),
        (error("XX000"), False),
        (ConnectionResetError(), False),
        (TimeoutError(), False),
    ],
)
def test_only_some_answers_to_a_commit_say_that_nothing_was_committed(
    failure: Exception, *, is_definite: bool
) -> None:
    """An administrator may end a session that waits for a replica: its commit stands."""
    assert postgres_errors.tells_that_nothing_was_committed(failure) is is_definite


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://u:secret@db:5432/holdfast", "PostgreSQL at db:5432/holdfast"),
        ("postgresql://u:p%40ss@db/holdfast?password=secret", "PostgreSQL at db/holdfast"),
        ("postgres:///holdfast?user=u", "PostgreSQL at /holdfast"),
        ("postgresql://", "PostgreSQL at the default server"),
    ],
)
def test_a_place_is_named_without_what_is_secret(url: str, place: str) -> None:
    assert place_of(url) == place
