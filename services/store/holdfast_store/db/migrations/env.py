"""Run by alembic: migrations on the connection that its caller has begun a transaction on."""

import sqlalchemy as sa
from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo

from holdfast_store.db.tables import metadata, schema_revisions


def record(ctx: MigrationContext, step: MigrationInfo, *_: object, **__: object) -> None:
    """Keep the checksum of a migration's file beside its revision."""
    assert ctx.connection is not None
    revision = step.up_revision_id
    assert revision is not None
    ctx.connection.execute(
        sa.insert(schema_revisions).values(revision=revision, checksum=checksums[revision])
    )


checksums = context.config.attributes["checksums"]
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    on_version_apply=record,
)
with context.begin_transaction():
    context.run_migrations()
