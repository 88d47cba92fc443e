"""Fills a store's database by copying the rows of one workflow that really ran.

Whatever the store writes for one workflow is then there as often as is wanted, in as many
statements as there are tables.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Final

import psycopg
import sqlalchemy as sa

from holdfast_store.db.tables import callbacks, promises, resumes, tasks

TABLES: Final = (promises, tasks, callbacks, resumes)

_NUMBERS_SQLITE: Final = (
    "(WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < {count})"
    " SELECT n FROM r) AS numbers"
)
_NUMBERS_POSTGRESQL: Final = "generate_series(1, {count}) AS numbers (n)"


def fill(url: str, *, root: str, count: int) -> None:
    """Copy a tree so many times; the store does not run meanwhile."""
    if url.startswith("sqlite:///"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
            for statement in copies(root, numbers=_NUMBERS_SQLITE.format(count=count)):
                connection.execute(statement)
        return
    with psycopg.connect(url, autocommit=True) as server:
        for statement in copies(root, numbers=_NUMBERS_POSTGRESQL.format(count=count)):
            server.execute(statement.encode())
        # As the server does by itself after a while.
        server.execute("VACUUM ANALYZE")


def count_suspended(url: str) -> int:
    """Count the workflows that wait for something."""
    question = "SELECT count(*) FROM tasks WHERE state = 'suspended'"
    if url.startswith("sqlite:///"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            return int(connection.execute(question).fetchone()[0])
    with psycopg.connect(url) as server:
        row = server.execute(question.encode()).fetchone()
    assert row is not None
    return int(row[0])


def copies(root: str, *, numbers: str) -> Iterator[str]:
    """Write the statements that copy a tree, each time with another root; rows referred to first.

    `numbers` is a relation with a column `n`, one row for each copy.
    """
    assert "'" not in root
    for table in TABLES:
        names = [f'"{column.name}"' for column in table.columns]
        copied = [
            f"replace({name}, '{root}', '{root}-' || n)"
            if isinstance(column.type, sa.Text)
            else name
            for name, column in zip(names, table.columns, strict=True)
        ]
        key = f'"{next(iter(table.primary_key.columns)).name}"'
        yield (
            f"INSERT INTO {table.name} ({', '.join(names)})"
            f" SELECT {', '.join(copied)} FROM {table.name}, {numbers}"
            f" WHERE {key} = '{root}' OR substr({key}, 1, {len(root) + 1}) = '{root}.'"
        )
