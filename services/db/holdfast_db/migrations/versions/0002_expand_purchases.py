"""Make the table of what the shop sold, and of what was taken back."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "purchases",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("item_id", sa.Text, nullable=False),
        sa.Column("order_id", sa.Text),
        sa.Column("decided_at_ms", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("purchases")
