"""Who writes batches: what tells the outcome of a commit whose answer was lost."""

import sqlalchemy as sa
from alembic import op

from holdfast_store.db.dialects import CLUSTERED, IdText

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "writers",
        sa.Column("id", IdText, primary_key=True),
        sa.Column("batch", sa.BigInteger, nullable=False),
        sa.Column("seen_at_ms", sa.BigInteger, nullable=False),
        **CLUSTERED,
    )
