"""The tables, portable; `migrations` creates them and a test compares the two.

Columns hold what `holdfast.core.records` holds, one to one, and a few values derived from it when
a row is written, so that an index can answer what the store asks all the time. Nothing reads a
payload. JSON is text: no database looks inside.
"""

import sqlalchemy as sa

from holdfast_store.db.dialects import CLUSTERED, IdText

metadata = sa.MetaData()

promises = sa.Table(
    "promises",
    metadata,
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
    # Derived: the tags resonate:branch and resonate:parent, the deadline while it fires by itself,
    # and what the row counts against the byte bound of a preload.
    sa.Column("branch", IdText),
    sa.Column("parent", IdText),
    sa.Column("armed_at_ms", sa.BigInteger),
    sa.Column("counted_bytes", sa.BigInteger, nullable=False),
    # Derived: the root of the tree, by the tag resonate:origin or else the promise itself. Absent
    # in rows that a store of an older version wrote; retention fills it in.
    sa.Column("origin", IdText),
    # A number that every transaction renews which changes the promise, its task or its obligations,
    # where several stores may write. Absent in rows that a store of an older version wrote.
    sa.Column("revision", sa.BigInteger),
    # Room in each page, so that a revision that is renewed stays in its own and no index hears of
    # it. A task changes columns of indexes whenever it changes, and would have no use for that.
    postgresql_with={"fillfactor": 80},
)

_armed = promises.c.armed_at_ms.is_not(None)
_in_branch = promises.c.branch.is_not(None)
_with_parent = promises.c.parent.is_not(None)
sa.Index(
    "promises_armed",
    promises.c.armed_at_ms,
    promises.c.id,
    sqlite_where=_armed,
    postgresql_where=_armed,
)
sa.Index(
    "promises_branch",
    promises.c.branch,
    promises.c.id,
    sqlite_where=_in_branch,
    postgresql_where=_in_branch,
)
sa.Index(
    "promises_parent",
    promises.c.parent,
    promises.c.id,
    sqlite_where=_with_parent,
    postgresql_where=_with_parent,
)
# None of the columns of these two changes when a promise settles: an update stays in its page.
is_root = promises.c.origin == promises.c.id
sa.Index("promises_origin", promises.c.origin, promises.c.id)
sa.Index(
    "promises_roots",
    promises.c.created_at_ms,
    promises.c.id,
    sqlite_where=is_root,
    postgresql_where=is_root,
)

# States that few promises have for long, in the order of ids. Steps that were written down when
# they had ended well, as most are, cost nothing here.
is_uncommon = promises.c.state != sa.literal_column("'resolved'")
sa.Index(
    "promises_states",
    promises.c.state,
    promises.c.id,
    sqlite_where=is_uncommon,
    postgresql_where=is_uncommon,
)

tasks = sa.Table(
    "tasks",
    metadata,
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
    # Derived: the poll group of the target, and when a background step must look at the task.
    sa.Column("group", IdText, nullable=False),
    sa.Column("due_at_ms", sa.BigInteger),
    # Of the lease, like the instance: younger than the columns above.
    sa.Column("seat", sa.Text),
    # The number of the task's tree (`trees`), from its birth on; absent in rows older than that.
    sa.Column("tree", sa.BigInteger),
    **CLUSTERED,
)

_due = tasks.c.due_at_ms.is_not(None)
_queued = tasks.c.queued_at_ms.is_not(None)
# Literals, not parameters: a partial index serves only a query that repeats its condition.
is_leased = tasks.c.state == sa.literal_column("'acquired'")
is_open = tasks.c.state != sa.literal_column("'fulfilled'")
sa.Index("tasks_due", tasks.c.due_at_ms, sqlite_where=_due, postgresql_where=_due)
sa.Index(
    "tasks_queued",
    tasks.c.group,
    tasks.c.queued_at_ms,
    tasks.c.id,
    sqlite_where=_queued,
    postgresql_where=_queued,
)
sa.Index(
    "tasks_turns",
    tasks.c.group,
    tasks.c.tree,
    tasks.c.queued_at_ms,
    tasks.c.id,
    sqlite_where=_queued,
    postgresql_where=_queued,
)
sa.Index("tasks_leased", tasks.c.pid, sqlite_where=is_leased, postgresql_where=is_leased)
sa.Index(
    "tasks_open",
    tasks.c.group,
    tasks.c.state,
    sqlite_where=is_open,
    postgresql_where=is_open,
)

sa.Index(
    "tasks_states",
    tasks.c.state,
    tasks.c.id,
    sqlite_where=is_open,
    postgresql_where=is_open,
)

callbacks = sa.Table(
    "callbacks",
    metadata,
    sa.Column(
        "awaited",
        IdText,
        sa.ForeignKey("promises.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column(
        "awaiter",
        IdText,
        sa.ForeignKey("tasks.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("wait_version", sa.BigInteger),
    sa.Index("callbacks_awaiter", "awaiter"),
    **CLUSTERED,
)

listeners = sa.Table(
    "listeners",
    metadata,
    sa.Column(
        "promise_id",
        IdText,
        sa.ForeignKey("promises.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("address", IdText, primary_key=True),
    **CLUSTERED,
)

# No key to the awaited promise: retention may delete its tree while this task, in another, still
# remembers who woke it.
resumes = sa.Table(
    "resumes",
    metadata,
    sa.Column(
        "task_id",
        IdText,
        sa.ForeignKey("tasks.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("awaited", IdText, primary_key=True),
    sa.Index("resumes_awaited", "awaited"),
    **CLUSTERED,
)

# Only unblock messages: an execute message is `tasks.queued_at_ms`. No key to the promise either,
# because a message whose promise is gone is simply not delivered.
outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("address", IdText, primary_key=True),
    sa.Column("promise_id", IdText, primary_key=True),
    sa.Column("enqueued_at_ms", sa.BigInteger, nullable=False),
    sa.Index("outbox_enqueued", "enqueued_at_ms"),
    sa.Index("outbox_promise", "promise_id"),
    **CLUSTERED,
)

schedules = sa.Table(
    "schedules",
    metadata,
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
    # Derived: the next planned instant unless paused.
    sa.Column("due_at_ms", sa.BigInteger),
)

_scheduled = schedules.c.due_at_ms.is_not(None)
sa.Index(
    "schedules_due",
    schedules.c.due_at_ms,
    sqlite_where=_scheduled,
    postgresql_where=_scheduled,
)

# One row per connection that writes batches where several may: the number of its last batch,
# written in that batch's own transaction. Whoever lost the answer to a commit reads there how it
# ended. A file has one row, `clock`. Time goes on from the newest instant of all rows when a store
# starts, though the clock was set back.
writers = sa.Table(
    "writers",
    metadata,
    sa.Column("id", IdText, primary_key=True),
    sa.Column("batch", sa.BigInteger, nullable=False),
    sa.Column("seen_at_ms", sa.BigInteger, nullable=False),
    **CLUSTERED,
)

# One row per store where there may be several: when it last spoke, and as JSON how many members and
# free credits each group has there. Whoever has not spoken for long does not count.
replicas = sa.Table(
    "replicas",
    metadata,
    sa.Column("id", IdText, primary_key=True),
    sa.Column("seen_at_ms", sa.BigInteger, nullable=False),
    sa.Column("groups", sa.Text, nullable=False),
    **CLUSTERED,
)

# Which migration ran, and the checksum of the file that it came from.
schema_revisions = sa.Table(
    "schema_revisions",
    metadata,
    sa.Column("revision", sa.Text, primary_key=True),
    sa.Column("checksum", sa.Text, nullable=False),
)

# Which revision a program must know at least to use the tables, per migration that took something
# away from the others.
schema_floors = sa.Table(
    "schema_floors",
    metadata,
    sa.Column("revision", sa.Text, primary_key=True),
    sa.Column("needs", sa.Text, nullable=False),
)
