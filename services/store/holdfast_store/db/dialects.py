"""What differs between databases: the only module that knows one by name.

Everything else in this package is portable. A dialect says how a statement becomes text, how a
list of any length travels in one parameter, and which options a table takes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import asyncpg

IdText = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""Text compared in the byte order of its UTF-8 form; so does SQLite without being told."""

CLUSTERED: Mapping[str, Any] = {"sqlite_with_rowid": False}
"""Options of a table of short rows: SQLite keeps them in the primary key's own tree."""

NONE: sa.ColumnElement[int] = sa.literal_column("0")
"""What a search for a part of a text answers that does not find it."""


class Dialect(Protocol):
    """How one database wants to be spoken to."""

    names_parameters: bool
    """Whether a parameter that a text has twice is given once."""

    def among(self, column: sa.ColumnElement[Any], parameter: str) -> sa.ColumnElement[bool]:
        """Whether a column is in the list of texts that a parameter carries."""

    def unpacked(self, parameter: str) -> sa.FromClause:
        """Unpack the list of texts that a parameter carries, as rows with a column `value`."""

    def unpacked_rows(
        self, parameter: str, columns: Mapping[str, sa.types.TypeEngine[Any]]
    ) -> sa.Subquery:
        """Unpack the rows that a parameter carries as a JSON array of arrays."""

    def with_first(
        self,
        outer: sa.FromClause,
        inner: sa.FromClause,
        *,
        key: sa.ColumnElement[Any],
        first: sa.Select[Any],
    ) -> sa.FromClause:
        """Join each outer row with the few inner rows whose key a correlated select answers."""

    def upsert(self, table: sa.Table, *, key: Sequence[str], replace: Sequence[str]) -> sa.Insert:
        """Insert a row, or replace these columns of the row with the same key."""

    def contains(
        self, text: sa.ColumnElement[Any], part: sa.ColumnElement[Any]
    ) -> sa.ColumnElement[bool]:
        """Whether a text has another one in it."""

    def tables_named(self, parameter: str) -> sa.Select[int]:
        """Count the tables that have the name that a parameter carries."""

    def compile(
        self, statement: sa.Executable, columns: Sequence[str] = ()
    ) -> tuple[str, tuple[str, ...]]:
        """Answer the text of a statement for the driver, and its parameters' names in order."""


class Sqlite:
    """SQLite, spoken to through the standard library's driver."""

    names_parameters = False
    _dialect = sqlite.dialect(paramstyle="qmark")

    def among(self, column: sa.ColumnElement[Any], parameter: str) -> sa.ColumnElement[bool]:
        """Whether a column is in the list of texts that a parameter carries as a JSON array."""
        return column.in_(sa.select(self.unpacked(parameter).c.value))

    def unpacked(self, parameter: str) -> sa.FromClause:
        """Unpack the JSON array that a parameter carries."""
        return sa.func.json_each(sa.bindparam(parameter, type_=sa.Text)).table_valued(
            sa.column("value", IdText), name=f"each_{parameter}"
        )

    def unpacked_rows(
        self, parameter: str, columns: Mapping[str, sa.types.TypeEngine[Any]]
    ) -> sa.Subquery:
        """Unpack the JSON array that a parameter carries, and each array in it."""
        row = self.unpacked(parameter).c.value
        return sa.select(
            *(
                sa.func.json_extract(row, sa.literal_column(f"'$[{index}]'"), type_=type_).label(c)
                for index, (c, type_) in enumerate(columns.items())
            )
        ).subquery(parameter)

    def with_first(
        self,
        outer: sa.FromClause,
        inner: sa.FromClause,
        *,
        key: sa.ColumnElement[Any],
        first: sa.Select[Any],
    ) -> sa.FromClause:
        """Join by a correlated list, which SQLite reads once per outer row; it has no LATERAL."""
        return outer.join(inner, key.in_(first.correlate(outer)))

    def upsert(self, table: sa.Table, *, key: Sequence[str], replace: Sequence[str]) -> sa.Insert:
        """Insert or replace, by the name of the conflicting key."""
        insert = sqlite.insert(table)
        if not replace:
            return insert.on_conflict_do_nothing(index_elements=key)
        return insert.on_conflict_do_update(
            index_elements=key, set_={name: insert.excluded[name] for name in replace}
        )

    def contains(
        self, text: sa.ColumnElement[Any], part: sa.ColumnElement[Any]
    ) -> sa.ColumnElement[bool]:
        """Whether a text has another one in it."""
        return sa.func.instr(text, part) > NONE

    def tables_named(self, parameter: str) -> sa.Select[int]:
        """Count the tables that have the name that a parameter carries."""
        catalog = sa.table("sqlite_master", sa.column("name", sa.Text))
        return (
            sa.select(sa.func.count())
            .select_from(catalog)
            .where(catalog.c.name == sa.bindparam(parameter))
        )

    def compile(
        self, statement: sa.Executable, columns: Sequence[str] = ()
    ) -> tuple[str, tuple[str, ...]]:
        """Answer the text with question marks, and what each of them stands for."""
        compiled = cast("sa.ClauseElement", statement).compile(
            dialect=self._dialect, column_keys=list(columns) or None
        )
        return str(compiled), tuple(cast("Any", compiled).positiontup or ())


class Postgres:
    """PostgreSQL, spoken to through asyncpg."""

    names_parameters = True
    _dialect = asyncpg.dialect()  # type: ignore[no-untyped-call]

    def among(self, column: sa.ColumnElement[Any], parameter: str) -> sa.ColumnElement[bool]:
        """Whether a column is in the array of texts that a parameter carries."""
        return column == sa.any_(sa.bindparam(parameter, type_=postgresql.ARRAY(sa.Text)))

    def unpacked(self, parameter: str) -> sa.FromClause:
        """Unpack the array that a parameter carries."""
        return self.rows(parameter, {"value": sa.Text()}, prefix="")

    def unpacked_rows(
        self, parameter: str, columns: Mapping[str, sa.types.TypeEngine[Any]]
    ) -> sa.Subquery:
        """Unpack the JSON array that a parameter carries, and each array in it."""
        each = sa.func.json_array_elements(
            sa.cast(sa.bindparam(parameter, type_=sa.Text), sa.JSON)
        ).table_valued(sa.column("value", sa.JSON), name=f"each_{parameter}")
        row = each.render_derived().c.value
        return sa.select(
            *(
                sa.cast(row.op("->>")(sa.literal_column(str(index))), type_).label(c)
                for index, (c, type_) in enumerate(columns.items())
            )
        ).subquery(parameter)

    def rows(
        self, name: str, columns: Mapping[str, sa.types.TypeEngine[Any]], *, prefix: str = "new_"
    ) -> sa.FromClause:
        """Make rows of parameters that carry a column each, in the order of the columns.

        A parameter has the name of its column behind the prefix; a single column without a prefix
        has the name of the rows.
        """
        arrays = [
            sa.bindparam(f"{prefix}{column}" if prefix else name, type_=postgresql.ARRAY(type_))
            for column, type_ in columns.items()
        ]
        return _unnested(name, arrays, columns)

    def written_rows(
        self, name: str, columns: Mapping[str, sa.types.TypeEngine[Any]], *, prefix: str = "new_"
    ) -> sa.FromClause:
        """Make the same of parameters that carry the text of an array each.

        Bytes still come as an array: as text they are twice as long, and dear to read.
        """
        arrays: list[sa.ColumnElement[Any]] = []
        for column, type_ in columns.items():
            array = postgresql.ARRAY(type_)
            is_bytes = isinstance(type_, sa.LargeBinary)
            given = sa.bindparam(
                f"{prefix}{column}" if prefix else name, type_=array if is_bytes else sa.Text()
            )
            arrays.append(given if is_bytes else sa.cast(given, array))
        return _unnested(name, arrays, columns)

    def with_first(
        self,
        outer: sa.FromClause,
        inner: sa.FromClause,
        *,
        key: sa.ColumnElement[Any],
        first: sa.Select[Any],
    ) -> sa.FromClause:
        """Join by a lateral list, read once per outer row by its index."""
        keys = first.correlate(outer).lateral()
        [found] = keys.c
        return outer.join(keys, sa.true()).join(inner, key == found)

    def upsert(self, table: sa.Table, *, key: Sequence[str], replace: Sequence[str]) -> sa.Insert:
        """Insert or replace, by the name of the conflicting key."""
        insert = postgresql.insert(table)
        return _on_conflict(insert, key=key, replace=replace)

    def upsert_rows(
        self,
        table: sa.Table,
        new: sa.SelectBase,
        *,
        columns: Sequence[str],
        replace: Sequence[str],
    ) -> sa.Insert:
        """Do the same with whatever a query answers for these columns, at once."""
        insert = postgresql.insert(table).from_select(columns, new)
        key = [column.name for column in table.primary_key.columns]
        return _on_conflict(insert, key=key, replace=replace)

    def contains(
        self, text: sa.ColumnElement[Any], part: sa.ColumnElement[Any]
    ) -> sa.ColumnElement[bool]:
        """Whether a text has another one in it."""
        return sa.func.strpos(text, part) > NONE

    def tables_named(self, parameter: str) -> sa.Select[int]:
        """Count the tables that have the name that a parameter carries and are found by it."""
        catalog = sa.table("pg_class", sa.column("oid"), schema="pg_catalog")
        name = sa.cast(sa.bindparam(parameter, type_=sa.Text), sa.Text)
        return (
            sa.select(sa.func.count())
            .select_from(catalog)
            .where(catalog.c.oid == sa.func.to_regclass(name))
        )

    def compile(
        self, statement: sa.Executable, columns: Sequence[str] = ()
    ) -> tuple[str, tuple[str, ...]]:
        """Answer the text with numbered parameters, and what each of them stands for."""
        compiled = cast("sa.ClauseElement", statement).compile(
            dialect=self._dialect, column_keys=list(columns) or None
        )
        return str(compiled), tuple(cast("Any", compiled).positiontup or ())


def _unnested(
    name: str,
    arrays: Sequence[sa.ColumnElement[Any]],
    columns: Mapping[str, sa.types.TypeEngine[Any]],
) -> sa.FromClause:
    return (
        sa.func.unnest(*arrays)
        .table_valued(*(sa.column(c, t) for c, t in columns.items()), name=f"each_{name}")
        .render_derived()
    )


def _on_conflict(
    insert: postgresql.Insert, *, key: Sequence[str], replace: Sequence[str]
) -> sa.Insert:
    if not replace:
        return insert.on_conflict_do_nothing(index_elements=key)
    return insert.on_conflict_do_update(
        index_elements=key, set_={name: insert.excluded[name] for name in replace}
    )


def migration_engine(path: Path, *, busy_timeout_ms: int) -> sa.Engine:
    """Make an engine for migrations, whose transactions really include the creation of tables.

    The driver starts none before such a statement, so it is told to leave transactions alone, and
    the engine says BEGIN itself: at once with the write lock, so that two processes that migrate
    the same file go one after the other.
    """
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        connect_args={"timeout": busy_timeout_ms / 1000},
        poolclass=sa.NullPool,
    )

    def leave_transactions_alone(connection: Any, _record: object) -> None:  # noqa: ANN401
        connection.isolation_level = None

    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    sa.event.listen(engine, "connect", leave_transactions_alone)
    sa.event.listen(engine, "begin", begin)
    return engine
