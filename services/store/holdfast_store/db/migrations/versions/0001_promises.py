"""Promises, tasks, obligations, the outbox and schedules."""

import sqlalchemy as sa
from alembic import op

from holdfast_store.db.dialects import CLUSTERED, IdText

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "promises",
        sa.Column("id", IdText, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("param_data", sa.LargeBinary),
        sa.Column("param_headers", sa.Text),
        sa.Column("value_data", sa.LargeBinary),
        sa.Column("value_headers", sa.Text),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("timeout_at_ms", sa.BigInteger, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("settled_at_ms", sa.BigInteger),
        sa.Column("armed", sa.Boolean, nullable=False),
        sa.Column("branch", IdText),
        sa.Column("parent", IdText),
        sa.Column("armed_at_ms", sa.BigInteger),
        sa.Column("counted_bytes", sa.BigInteger, nullable=False),
    )
    partial_index("promises_armed", "promises", ["armed_at_ms", "id"], "armed_at_ms IS NOT NULL")
    partial_index("promises_branch", "promises", ["branch", "id"], "branch IS NOT NULL")
    partial_index("promises_parent", "promises", ["parent", "id"], "parent IS NOT NULL")

    op.create_table(
        "tasks",
        sa.Column("id", IdText, sa.ForeignKey("promises.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("ttl_ms", sa.BigInteger),
        sa.Column("pid", IdText),
        sa.Column("target", IdText, nullable=False),
        sa.Column("lease_at_ms", sa.BigInteger),
        sa.Column("dispatch_at_ms", sa.BigInteger),
        sa.Column("queued_at_ms", sa.BigInteger),
        sa.Column("paced_until_ms", sa.BigInteger, nullable=False),
        sa.Column("instance", sa.Text),
        sa.Column("wait_mode", sa.Text, nullable=False),
        sa.Column("waiting_on", sa.BigInteger, nullable=False),
        sa.Column("unknown_releases", sa.BigInteger, nullable=False),
        sa.Column("deliveries", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("group", IdText, nullable=False),
        sa.Column("due_at_ms", sa.BigInteger),
        **CLUSTERED,
    )
    partial_index("tasks_due", "tasks", ["due_at_ms"], "due_at_ms IS NOT NULL")
    partial_index(
        "tasks_queued", "tasks", ["group", "queued_at_ms", "id"], "queued_at_ms IS NOT NULL"
    )
    partial_index("tasks_leased", "tasks", ["pid"], "state = 'acquired'")
    partial_index("tasks_open", "tasks", ["group", "state"], "state != 'fulfilled'")

    op.create_table(
        "callbacks",
        sa.Column(
            "awaited", IdText, sa.ForeignKey("promises.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column(
            "awaiter", IdText, sa.ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("wait_version", sa.BigInteger),
        **CLUSTERED,
    )
    op.create_index("callbacks_awaiter", "callbacks", ["awaiter"])

    op.create_table(
        "listeners",
        sa.Column(
            "promise_id",
            IdText,
            sa.ForeignKey("promises.id", ondelete="CASCADE"),
            primary_key=True,
        ),
        sa.Column("address", IdText, primary_key=True),
        **CLUSTERED,
    )

    op.create_table(
        "resumes",
        sa.Column(
            "task_id", IdText, sa.ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("awaited", IdText, primary_key=True),
        **CLUSTERED,
    )

    op.create_table(
        "outbox",
        sa.Column("address", IdText, primary_key=True),
        sa.Column("promise_id", IdText, primary_key=True),
        sa.Column("enqueued_at_ms", sa.BigInteger, nullable=False),
        **CLUSTERED,
    )
    op.create_index("outbox_enqueued", "outbox", ["enqueued_at_ms"])

    op.create_table(
        "schedules",
        sa.Column("id", IdText, primary_key=True),
        sa.Column("cron", sa.Text, nullable=False),
        sa.Column("promise_id", sa.Text, nullable=False),
        sa.Column("promise_timeout_ms", sa.BigInteger, nullable=False),
        sa.Column("promise_param_data", sa.LargeBinary),
        sa.Column("promise_param_headers", sa.Text),
        sa.Column("promise_tags", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("next_run_at_ms", sa.BigInteger, nullable=False),
        sa.Column("last_run_at_ms", sa.BigInteger),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("time_zone", sa.Text, nullable=False),
        sa.Column("due_at_ms", sa.BigInteger),
    )
    partial_index("schedules_due", "schedules", ["due_at_ms"], "due_at_ms IS NOT NULL")

    op.create_table(
        "schema_revisions",
        sa.Column("revision", sa.Text, primary_key=True),
        sa.Column("checksum", sa.Text, nullable=False),
    )


def partial_index(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
