"""Building an index of a large table while stores write to it."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

_INVALID = """
SELECT 1 FROM pg_catalog.pg_index
 WHERE indexrelid = to_regclass(:name) AND NOT indisvalid
"""


def build_index(name: str, table: str, columns: Sequence[str], *, where: str | None = None) -> None:
    """Create an index, unless it is there; only for a migration that says `beside_writers`.

    PostgreSQL reads the table twice meanwhile and locks out nobody but other changes of the table.
    What a killed build has left is there by its name and serves nobody: it is built anew.
    """
    condition = None if where is None else sa.text(where)
    connection = op.get_bind()
    beside = connection.dialect.name == "postgresql"
    if beside and connection.execute(sa.text(_INVALID), {"name": name}).first():
        op.drop_index(name, table, postgresql_concurrently=True)
    op.create_index(
        name,
        table,
        list(columns),
        if_not_exists=True,
        sqlite_where=condition,
        postgresql_where=condition,
        postgresql_concurrently=beside,
    )
