"""The tree of each promise, for retention; and who may use the tables after a contraction.

A row without an origin is from before, or from a store of the version before: retention reads its
tags and fills the column in, a few rows at a time.
"""

import sqlalchemy as sa
from alembic import op

from holdfast_store.db.dialects import IdText

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("promises", sa.Column("origin", IdText))
    op.create_table(
        "schema_floors",
        sa.Column("revision", sa.Text, primary_key=True),
        sa.Column("needs", sa.Text, nullable=False),
    )
