"""Indexes by which retention finds old trees, their promises, and who still asks for those."""

from holdfast_store.db.index_building import build_index

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

beside_writers = True


def upgrade() -> None:
    build_index("promises_origin", "promises", ["origin", "id"])
    build_index("promises_roots", "promises", ["created_at_ms", "id"], where="origin = id")
    build_index("resumes_awaited", "resumes", ["awaited"])
    build_index("outbox_promise", "outbox", ["promise_id"])
