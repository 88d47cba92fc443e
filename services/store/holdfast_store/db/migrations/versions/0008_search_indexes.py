"""Indexes by which promises and tasks are listed that are in a state of which there are few."""

from holdfast_store.db.index_building import build_index

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

beside_writers = True


def upgrade() -> None:
    build_index("promises_states", "promises", ["state", "id"], where="state != 'resolved'")
    build_index("tasks_states", "tasks", ["state", "id"], where="state != 'fulfilled'")
