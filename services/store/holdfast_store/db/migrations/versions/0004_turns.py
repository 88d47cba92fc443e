"""The tree of each task, by which the trees of a group take turns.

Tasks from before, and those that a store of the version before still makes, have none: they are
given out by their age alone, and are soon gone.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tasks", sa.Column("tree", sa.BigInteger))
