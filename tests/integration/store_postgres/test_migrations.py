"""Migrations bring a database up to this version, and one that does not fit is refused."""

import os
import subprocess
import sys

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from holdfast_store.db import migrate as migration
from holdfast_store.db import revisions
from holdfast_store.db.errors import SchemaAhead, SchemaBehind, SchemaMismatch, SchemaTampered
from holdfast_store.db.postgres.migration import MIGRATION_LOCK
from holdfast_store.db.postgres.storage import PostgresStorage
from holdfast_store.db.tables import metadata
from holdfast_store.storage import StorageError, StorageUnavailable, TransactionAborted
from holdfast_store.storages import migrate, open_storage
from tests.integration.postgres import Server, query
from tests.integration.store_db.records import promise, save, stored

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"


async def test_an_empty_database_is_brought_to_the_newest_revision(bare_postgres_url: str) -> None:
    before = migration.current_revision(bare_postgres_url)
    reached = migration.migrate(bare_postgres_url)

    assert before is None
    assert reached == migration.current_revision(bare_postgres_url)
    assert reached == revisions.expected_revision()
    storage = open_storage(bare_postgres_url)
    await storage.open()
    await storage.close()


async def test_migrating_again_changes_nothing(postgres_url: str) -> None:
    storage = PostgresStorage(postgres_url)
    await storage.open()
    await save(storage, promises_created=[promise("p")])

    migrate(postgres_url)  # beside a running store

    assert (await stored(storage, "p")).promise("p") == promise("p")
    await storage.close()


def test_the_migrations_make_exactly_the_tables_that_the_statements_use(postgres_url: str) -> None:
    engine = sa.create_engine(postgres_url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_name": lambda name, kind, _: (name, kind) != ("alembic_version", "table")
            },
        )
        differences = compare_metadata(context, metadata)
    engine.dispose()

    assert differences == []


def test_a_promise_whose_revision_is_renewed_stays_in_its_page(postgres_url: str) -> None:
    """Otherwise each renewal would be an entry in every index, as if the promise were new."""
    make = (
        "INSERT INTO promises (id, state, tags, timeout_at_ms, created_at_ms, armed, counted_bytes,"
        " origin) SELECT 'p' || n, 'resolved', '{}', 9, 1, FALSE, 0, 'p' || n"
        " FROM generate_series(1, 1000) AS n"
    )
    query(postgres_url, make)

    query(postgres_url, "UPDATE promises SET revision = 1 WHERE right(id, 1) = '0'")

    pages = "SELECT count(*) FROM promises WHERE (ctid::text::point)[0] < {}"
    filled = query(postgres_url, "SELECT reloptions FROM pg_class WHERE relname = 'promises'")
    before = "SELECT max((ctid::text::point)[0]) FROM promises WHERE right(id, 1) <> '0'"
    [(last,)] = query(postgres_url, before)
    assert query(postgres_url, pages.format(int(str(last).split(".")[0]) + 1)) == [(1000,)]
    assert filled == [(["fillfactor=80"],)]


def test_ids_are_ordered_by_their_bytes_whatever_the_database_orders_by(postgres_url: str) -> None:
    compared = "SELECT 'a' < 'B', 'a' COLLATE \"C\" < 'B'"
    collations = query(
        postgres_url,
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema ="
        " 'public' AND column_name IN ('id', 'awaited', 'awaiter', 'address', 'group', 'pid')"
        " AND collation_name IS DISTINCT FROM 'C'",
    )

    assert query(postgres_url, compared) == [(True, False)]
    assert collations == []


def test_several_processes_may_migrate_an_empty_database_at_once(bare_postgres_url: str) -> None:
    text = f"from holdfast_store.storages import migrate; migrate({bare_postgres_url!r})"

    processes = [subprocess.Popen([sys.executable, "-c", text]) for _ in range(3)]
    codes = [process.wait() for process in processes]

    assert codes == [0, 0, 0]
    assert migration.current_revision(bare_postgres_url) == revisions.expected_revision()


def test_whoever_waits_for_too_long_migrates_later(bare_postgres_url: str) -> None:
    with psycopg.connect(bare_postgres_url) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))

        with pytest.raises(TransactionAborted, match="another process holds"):
            migration.migrate(bare_postgres_url, busy_timeout_ms=50)

    migration.migrate(bare_postgres_url)


def test_a_failed_migration_leaves_nothing_behind(bare_postgres_url: str) -> None:
    query(bare_postgres_url, "CREATE TABLE schedules (x integer)")

    with pytest.raises(StorageError, match="schedules"):
        migrate(bare_postgres_url)

    assert query(bare_postgres_url, TABLES) == [("schedules",)]


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("DROP TABLE schema_revisions", SchemaBehind),
        ("DELETE FROM schema_revisions WHERE revision = '0002'", SchemaBehind),
        ("UPDATE schema_revisions SET revision = '9999' WHERE revision = '0002'", SchemaBehind),
        ("INSERT INTO schema_floors VALUES ('9999', '9998')", SchemaAhead),
        ("UPDATE schema_revisions SET checksum = 'x' WHERE revision = '0001'", SchemaTampered),
    ],
)
async def test_tables_that_do_not_fit_are_refused(
    postgres_server: Server, statement: str, error: type[SchemaMismatch]
) -> None:
    url = postgres_server.create_database()
    query(url, statement)

    with pytest.raises(error):
        await PostgresStorage(url).open()


async def test_a_database_that_cannot_hold_every_text_is_refused(postgres_server: Server) -> None:
    query(
        postgres_server.url("postgres"),
        "CREATE DATABASE latin ENCODING LATIN1 LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0",
    )

    with pytest.raises(StorageUnavailable, match="as LATIN1: create one with the encoding UTF8"):
        migrate(postgres_server.url("latin"))
    with pytest.raises(StorageUnavailable, match="as LATIN1"):
        await PostgresStorage(postgres_server.url("latin")).open()


def run(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the store on a database."""
    return subprocess.run(
        [sys.executable, "-m", "holdfast_store", *arguments],
        env={**os.environ, "HOLDFAST_STORE_DATABASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_commands_migrate_and_check_a_database(bare_postgres_url: str) -> None:
    refused = run(bare_postgres_url, "check")
    migrated = run(bare_postgres_url, "migrate")
    checked = run(bare_postgres_url, "check")

    assert (refused.returncode, migrated.returncode, checked.returncode) == (2, 0, 0)
    assert "run `holdfast-store migrate`" in refused.stderr
    assert "every invariant holds" in checked.stdout


def test_a_store_does_not_migrate_what_others_may_use(bare_postgres_url: str) -> None:
    served = run(bare_postgres_url, "serve")

    assert served.returncode != 0
    assert "run `holdfast-store migrate`" in served.stderr + served.stdout
    assert query(bare_postgres_url, TABLES) == []


def test_an_index_that_was_half_built_is_built_anew(postgres_server: Server) -> None:
    """What a killed build leaves has the name of the index and is used by no statement."""
    url = postgres_server.create_database()
    query(
        url,
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'promises_origin'::regclass",
    )
    query(url, "DROP INDEX promises_roots")
    query(url, "DELETE FROM schema_revisions WHERE revision = '0006'")

    migrate(url)

    valid = query(
        url,
        "SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indrelid ="
        " 'promises'::regclass AND indexrelid::regclass::text IN ('promises_origin',"
        " 'promises_roots') ORDER BY 1",
    )
    assert valid == [("promises_origin", True), ("promises_roots", True)]
    assert migration.current_revision(url) == revisions.expected_revision()
