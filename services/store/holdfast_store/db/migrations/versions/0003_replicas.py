"""Several stores on one database: whose connection a lease stands for, and who else there is.

Leases from before, and those that a store of the version before still takes, stand for no
connection: they end by their time to live.
"""

import sqlalchemy as sa
from alembic import op

from holdfast_store.db.dialects import CLUSTERED, IdText

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tasks", sa.Column("seat", sa.Text))
    op.create_table(
        "replicas",
        sa.Column("id", IdText, primary_key=True),
        sa.Column("seen_at_ms", sa.BigInteger, nullable=False),
        sa.Column("groups", sa.Text, nullable=False),
        **CLUSTERED,
    )
