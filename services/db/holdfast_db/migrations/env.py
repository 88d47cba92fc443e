"""Runs migrations in the transaction that `holdfast_db.database.migrate` opened."""

from alembic import context

from holdfast_db.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
