"""Make the first tables, and the accounts that the job service works on."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ACCOUNTS = 100
OWNERS = ("Ada", "Barbara", "Edsger", "Grace", "Leslie", "Tony")


def upgrade() -> None:
    accounts = op.create_table(
        "accounts",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("balance_cents", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "results",
        sa.Column("job_id", sa.Text, primary_key=True),
        sa.Column("result", sa.Text, nullable=False),
        sa.Column("saved_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "reservations",
        sa.Column("order_id", sa.Text, primary_key=True),
        sa.Column("items", sa.BigInteger, nullable=False),
        sa.Column("reserved_at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "charges",
        sa.Column("order_id", sa.Text, primary_key=True),
        sa.Column("charge_id", sa.Text, nullable=False),
        sa.Column("total_cents", sa.BigInteger, nullable=False),
        sa.Column("charged_at_ms", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(
        accounts,
        [
            {
                "id": f"acct-{number}",
                "owner": OWNERS[number % len(OWNERS)],
                "balance_cents": number * 1_000,
            }
            for number in range(1, ACCOUNTS + 1)
        ],
    )


def downgrade() -> None:
    for table in ("charges", "reservations", "results", "accounts"):
        op.drop_table(table)
