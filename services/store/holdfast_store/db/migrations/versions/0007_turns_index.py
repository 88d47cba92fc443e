"""An index by which the trees of a group take turns."""

from holdfast_store.db.index_building import build_index

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

beside_writers = True


def upgrade() -> None:
    build_index(
        "tasks_turns",
        "tasks",
        ["group", "tree", "queued_at_ms", "id"],
        where="queued_at_ms IS NOT NULL",
    )
