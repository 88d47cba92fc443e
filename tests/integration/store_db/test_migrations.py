"""Migrations bring a file up to this version, and a file that does not fit is refused."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from holdfast_store.db import migrate as migration
from holdfast_store.db import revisions
from holdfast_store.db.errors import (
    SchemaAhead,
    SchemaBehind,
    SchemaMismatch,
    SchemaTampered,
    UnsupportedDatabase,
)
from holdfast_store.db.sqlite.storage import SqliteStorage
from holdfast_store.db.tables import metadata
from holdfast_store.storage import StorageUnavailable, TransactionAborted
from holdfast_store.storages import migrate, open_storage
from tests.integration.store_db.records import promise, save, stored


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def execute(path: Path, text: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        return connection.execute(text).fetchall()
    finally:
        connection.close()


async def refusal(path: Path) -> type[SchemaMismatch]:
    """Open a file that does not fit; answer what it is refused with."""
    storage = SqliteStorage(path)
    with pytest.raises(SchemaMismatch) as refused:
        await storage.open()
    return refused.type


async def test_a_new_file_is_brought_to_the_newest_revision(tmp_path: Path) -> None:
    path = tmp_path / "new.db"

    before = migration.current_revision(url_of(path))
    reached = migration.migrate(url_of(path))

    assert before is None
    assert reached == migration.current_revision(url_of(path)) == revisions.expected_revision()
    storage = open_storage(url_of(path))
    await storage.open()
    await storage.close()


def test_asking_for_the_revision_makes_no_file(tmp_path: Path) -> None:
    assert migration.current_revision(url_of(tmp_path / "absent.db")) is None
    assert list(tmp_path.iterdir()) == []


async def test_migrating_again_changes_nothing(sqlite_file: Path) -> None:
    storage = SqliteStorage(sqlite_file)
    await storage.open()
    await save(storage, promises_created=[promise("p")])

    migrate(url_of(sqlite_file))  # beside a running store

    assert (await stored(storage, "p")).promise("p") == promise("p")
    await storage.close()


def test_the_migrations_make_exactly_the_tables_that_the_statements_use(
    sqlite_file: Path, tmp_path: Path
) -> None:
    described = tmp_path / "described.db"
    engine = sa.create_engine(f"sqlite:///{described}")
    metadata.create_all(engine)
    engine.dispose()

    def schema(path: Path) -> dict[object, str]:
        rows = execute(path, "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        plain = {
            name: str(sql).replace("tasks.", "").replace("promises.", "") for name, sql in rows
        }
        return {
            name: " ".join(sql.replace("schedules.", "").replace('"', "").split())
            for name, sql in plain.items()
            if name != "alembic_version"
        }

    assert schema(sqlite_file) == schema(described)


def test_revisions_are_numbered_without_a_gap_and_carry_the_numbers_of_their_files() -> None:
    config = Config()
    config.set_main_option("script_location", str(revisions.MIGRATIONS))
    scripts = list(ScriptDirectory.from_config(config).walk_revisions())

    by_alembic = [script.revision for script in reversed(scripts)]
    assert by_alembic == list(revisions.known_revisions())
    assert by_alembic == [f"{number:04}" for number in range(1, len(by_alembic) + 1)]


async def test_a_file_without_tables_is_behind(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    execute(path, "CREATE TABLE something (id)")

    assert await refusal(path) is SchemaBehind


async def test_a_file_that_lacks_the_newest_migration_is_behind(sqlite_file: Path) -> None:
    execute(sqlite_file, "DELETE FROM schema_revisions")

    assert await refusal(sqlite_file) is SchemaBehind


async def test_a_file_that_a_newer_version_has_contracted_is_ahead_for_open_and_migrate(
    sqlite_file: Path,
) -> None:
    execute(sqlite_file, "INSERT INTO schema_revisions VALUES ('9999', 'x')")
    execute(sqlite_file, "INSERT INTO schema_floors VALUES ('9999', '9998')")

    assert await refusal(sqlite_file) is SchemaAhead
    with pytest.raises(SchemaAhead, match=r"9999 and .* only by versions that know revision 9998"):
        migrate(url_of(sqlite_file))


async def test_a_file_of_another_line_of_versions_is_refused(sqlite_file: Path) -> None:
    execute(sqlite_file, "INSERT INTO schema_revisions VALUES ('0000', 'x')")

    assert await refusal(sqlite_file) is SchemaTampered


async def test_a_migration_that_changed_after_it_ran_is_refused(sqlite_file: Path) -> None:
    execute(sqlite_file, "UPDATE schema_revisions SET checksum = 'other'")

    assert await refusal(sqlite_file) is SchemaTampered
    with pytest.raises(SchemaTampered, match="0001"):
        migrate(url_of(sqlite_file))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Copy the migrations, so that a test may add to them."""
    copy = tmp_path / "migrations"
    shutil.copytree(revisions.MIGRATIONS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def add_migration(folder: Path, number: int, *, body: str, needs: str | None = None) -> None:
    contracts = "" if needs is None else f'needs = "{needs}"'
    text = f"""
import sqlalchemy as sa
from alembic import op

revision = "{number:04}"
down_revision = "{number - 1:04}"
{contracts}


def upgrade():
    {body}
"""
    (folder / "versions" / f"{number:04}_added.py").write_text(text)


NEXT = len(revisions.known_revisions()) + 1


async def test_an_older_version_goes_on_with_a_file_that_a_newer_one_has_expanded(
    sqlite_file: Path, folder: Path
) -> None:
    storage = SqliteStorage(sqlite_file)
    await storage.open()
    await save(storage, promises_created=[promise("p")])
    add_migration(folder, NEXT, body='op.add_column("promises", sa.Column("more", sa.Text))')

    reached = migration.migrate(url_of(sqlite_file), folder=folder)

    await save(storage, promises_created=[promise("q")])
    await storage.close()
    again = SqliteStorage(sqlite_file)
    await again.open()
    assert (await stored(again, "p", "q")).promise("q") == promise("q")
    await again.close()
    assert reached == migrate(url_of(sqlite_file)) == f"{NEXT:04}"
    rows = "SELECT id, more FROM promises ORDER BY id"
    assert execute(sqlite_file, rows) == [("p", None), ("q", None)]


DROP = 'op.drop_index("promises_branch")'


async def test_what_contracts_waits_until_it_is_asked_for(sqlite_file: Path, folder: Path) -> None:
    add_migration(folder, NEXT, body=DROP, needs=f"{NEXT:04}")
    add_migration(folder, NEXT + 1, body='op.create_table("late", sa.Column("id", sa.Text))')
    told: list[str] = []

    def run(*, contract: bool) -> str | None:
        return migration.migrate(
            url_of(sqlite_file),
            folder=folder,
            contract=contract,
            told=lambda each, _seconds: told.append(str(each)),
        )

    run(contract=False)
    before = migration.outlook(url_of(sqlite_file), folder=folder)
    storage = SqliteStorage(sqlite_file)
    await storage.open()
    await storage.close()
    run(contract=True)

    assert told == [f"expand {NEXT + 1:04} (added)", f"contract {NEXT:04} (added)"]
    assert [each.revision for each in before.contracting] == [f"{NEXT:04}"]
    assert not before.expanding
    assert not migration.outlook(url_of(sqlite_file), folder=folder).contracting
    assert await refusal(sqlite_file) is SchemaAhead


async def test_a_file_that_a_store_has_open_is_not_contracted(
    sqlite_file: Path, folder: Path
) -> None:
    add_migration(folder, NEXT, body=DROP, needs=f"{NEXT:04}")
    storage = SqliteStorage(sqlite_file)
    await storage.open()

    with pytest.raises(StorageUnavailable, match="has one owner"):
        migration.migrate(url_of(sqlite_file), folder=folder, contract=True, busy_timeout_ms=50)

    await storage.close()
    migration.migrate(url_of(sqlite_file), folder=folder, contract=True)


def test_asking_what_is_missing_changes_nothing(sqlite_file: Path, folder: Path) -> None:
    add_migration(folder, NEXT, body='op.create_table("late", sa.Column("id", sa.Text))')
    before = sqlite_file.read_bytes()

    outlook = migration.outlook(url_of(sqlite_file), folder=folder)

    assert [str(each) for each in outlook.wanted(contract=True)] == [f"expand {NEXT:04} (added)"]
    assert sqlite_file.read_bytes() == before


def test_a_migration_that_fails_leaves_the_file_as_it_was(sqlite_file: Path, folder: Path) -> None:
    tables = "SELECT sql FROM sqlite_master"
    before = execute(sqlite_file, tables)
    add_migration(folder, NEXT, body='op.create_table("half", sa.Column("id", sa.Text))')
    add_migration(folder, NEXT + 1, body='op.drop_table("not_there")')

    with pytest.raises(StorageUnavailable, match="not_there"):
        migration.migrate(url_of(sqlite_file), folder=folder)

    assert execute(sqlite_file, tables) == before
    assert migration.current_revision(url_of(sqlite_file)) == revisions.expected_revision()


def first_migration(folder: Path) -> Path:
    [found] = (folder / "versions").glob("0001_*.py")
    return found


def test_a_migration_whose_file_changed_is_refused(sqlite_file: Path, folder: Path) -> None:
    first = first_migration(folder)
    first.write_text(first.read_text() + "# more\n")

    with pytest.raises(SchemaTampered):
        migration.migrate(url_of(sqlite_file), folder=folder)


def test_other_line_ends_are_no_change(sqlite_file: Path, folder: Path) -> None:
    first = first_migration(folder)
    first.write_bytes(first.read_bytes().replace(b"\n", b"\r\n"))

    assert migration.migrate(url_of(sqlite_file), folder=folder) == revisions.expected_revision()


def test_a_file_that_another_process_writes_to_is_migrated_later(
    sqlite_file: Path, folder: Path
) -> None:
    other = sqlite3.connect(sqlite_file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(TransactionAborted):
        migration.migrate(url_of(sqlite_file), folder=folder, busy_timeout_ms=10)

    other.execute("ROLLBACK")
    other.close()
    migration.migrate(url_of(sqlite_file), folder=folder)


def test_several_processes_may_migrate_a_new_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    text = f"from holdfast_store.storages import migrate; migrate({url_of(path)!r})"

    processes = [subprocess.Popen([sys.executable, "-c", text]) for _ in range(3)]
    codes = [process.wait() for process in processes]

    assert codes == [0, 0, 0]
    assert migration.current_revision(url_of(path)) == revisions.expected_revision()


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match=r"absent/new\.db"):
        migrate(url_of(tmp_path / "absent" / "new.db"))


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("postgresql+asyncpg://u:secret@host/db", "names no driver"),
        ("postgresql:db", "starts with postgresql://"),
        ("mysql://u:secret@host/db", "this one has mysql:"),
        ("holdfast.db", "no scheme"),
        ("", "no scheme"),
        ("sqlite:holdfast.db", "starts with sqlite:///"),
        ("sqlite://", "starts with sqlite:///"),
        ("sqlite:///", "needs the name of a file"),
        ("sqlite:///:memory:", "needs the name of a file"),
        ("sqlite:///a.db?mode=ro", "needs the name of a file"),
    ],
)
@pytest.mark.parametrize("use", [open_storage, migrate])
def test_an_address_that_names_no_file_is_refused_without_its_password(
    url: str, sentence: str, use: Callable[[str], object]
) -> None:
    with pytest.raises(UnsupportedDatabase, match=sentence) as refused:
        use(url)

    assert "secret" not in str(refused.value)


async def test_addresses_may_be_relative_or_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    migrate("sqlite:///relative.db")
    migrate(f"sqlite:///{tmp_path}/with space.db")

    assert (tmp_path / "relative.db").exists()
    assert (tmp_path / "with space.db").exists()
    for name in ("sqlite:///relative.db", f"sqlite:///{tmp_path}/with space.db"):
        storage = open_storage(name)
        await storage.open()
        await storage.close()
