"""Who wrote a promise last, so that a store can tell whether what it remembers still stands.

A row without one is from before, or from a store of the version before: it is read again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("promises", sa.Column("revision", sa.BigInteger))
    if op.get_bind().dialect.name == "postgresql":
        # A revision that is renewed stays in its page while there is room: no index hears of it.
        # Pages that are full already stay as they are.
        op.execute("ALTER TABLE promises SET (fillfactor = 80)")
