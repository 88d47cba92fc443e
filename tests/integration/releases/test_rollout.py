"""A new release migrates under load while the old one serves; either may then be started again."""

import asyncio
from pathlib import Path

import pytest

from tests.integration.postgres import Server, query
from tests.integration.releases.load import Load, assert_all_there
from tests.integration.releases.releases import NEXT, Release

pytestmark = pytest.mark.timeout(240)

EXPANDS = f"""
import sqlalchemy as sa
from alembic import op

revision = "{NEXT:04}"


def upgrade():
    op.add_column("promises", sa.Column("more", sa.Text))
    op.create_table("added", sa.Column("id", sa.Text, primary_key=True))
"""
INDEXES = f"""
from holdfast_store.db.index_building import build_index

revision = "{NEXT + 1:04}"
beside_writers = True


def upgrade():
    build_index("promises_more", "promises", ["more"], where="more IS NOT NULL")
    build_index("promises_settled", "promises", ["settled_at_ms"])
"""
CONTRACTS = f"""
from alembic import op

revision = "{NEXT + 2:04}"
needs = "{NEXT + 1:04}"


def upgrade():
    op.drop_table("added")
"""


@pytest.fixture
def old(tmp_path: Path) -> Release:
    """Take the release before."""
    return Release(tmp_path, "old")


@pytest.fixture
def new(tmp_path: Path) -> Release:
    """Take a release with two migrations that expand and one that contracts."""
    release = Release(tmp_path, "new")
    for number, text in enumerate((EXPANDS, INDEXES, CONTRACTS), NEXT):
        release.add_migration(number, text)
    return release


async def test_a_rollout_and_a_rollback_lose_nothing(
    postgres_server: Server, old: Release, new: Release
) -> None:
    url = postgres_server.create_database()
    load = Load()
    async with load.running():
        async with old.serving(url) as store, load.on(store):
            await load.goes_on()
            foretold = await new.run("migrate", "--check", database=url)
            migrated = await new.run("migrate", database=url)
            await load.goes_on()
        async with old.serving(url) as store, load.on(store):  # restarted on what is newer
            await load.goes_on()
        async with new.serving(url) as store, load.on(store):
            await load.goes_on()
        async with old.serving(url) as store, load.on(store):  # rolled back
            await load.goes_on()
            too_early = await new.run("migrate", "--contract", database=url)
            await load.goes_on()
        async with new.serving(url) as store, load.on(store):
            contracted = await new.run("migrate", "--contract", database=url)
            await load.goes_on()
            outdated = await old.run("serve", database=url)
            checked = await new.run("check", database=url)

    assert load.refused == []
    assert (foretold.code, migrated.code) == (1, 0), migrated.err
    assert [line.partition(":")[0] for line in migrated.out.splitlines()] == [
        f"expand {NEXT:04} (added)",
        f"expand {NEXT + 1:04} (added)",
    ]
    assert f"contract {NEXT + 2:04} (added): waits for --contract" in foretold.out
    assert too_early.code == 2, too_early.err
    assert f"knows only revision {NEXT - 1:04}: end the stores" in too_early.err
    assert contracted.code == 0, contracted.err
    assert outdated.code == 2
    assert f"only by versions that know revision {NEXT + 1:04}" in outdated.err
    assert (checked.code, checked.err) == (0, "")
    async with new.serving(url) as store:
        await assert_all_there(store, load.acknowledged)


async def test_a_file_is_taken_over_by_a_new_release_and_given_back(
    tmp_path: Path, old: Release, new: Release
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    load = Load()
    async with load.running():
        for release in (old, new, old, new):
            async with release.serving(url) as store, load.on(store):
                await load.goes_on()
    contracted = await new.run("migrate", "--contract", database=url)
    outdated = await old.run("serve", database=url)
    checked = await new.run("check", database=url)

    assert load.refused == []
    assert contracted.code == 0, contracted.err
    assert (outdated.code, checked.code) == (2, 0)
    async with new.serving(url) as store:
        await assert_all_there(store, load.acknowledged)


async def test_a_migration_that_is_killed_at_any_moment_is_simply_run_again(
    postgres_server: Server, old: Release, new: Release
) -> None:
    url = postgres_server.create_database()
    query(
        url,
        "INSERT INTO promises (id, state, tags, timeout_at_ms, created_at_ms, armed, counted_bytes,"
        " origin) SELECT 'p' || n, 'pending', '{}', n, 0, false, 64, 'p' || n"
        " FROM generate_series(1, 50000) AS n",
    )
    load = Load()
    revisions = []
    async with load.running(), old.serving(url) as store, load.on(store):
        for delay_s in (0.6, 0.7, 0.8, 0.9, 1.0, 1.1):
            process = await new.start("migrate", database=url)
            # However long it takes to come to anything: each try is killed a little later.
            await asyncio.wait([asyncio.ensure_future(process.wait())], timeout=delay_s)
            if process.returncode is None:
                process.kill()
            await process.communicate()
            revisions.append(str(query(url, "SELECT max(revision) FROM schema_revisions")[0][0]))
        last = await new.run("migrate", database=url)
        await load.goes_on()

    invalid = query(url, "SELECT indexrelid FROM pg_index WHERE NOT indisvalid")
    assert load.refused == []
    assert last.code == 0, last.err
    assert invalid == []
    assert revisions == sorted(revisions)
    assert (await new.run("migrate", "--check", database=url)).code == 0


async def test_two_that_migrate_at_once_under_load_do_it_once(
    postgres_server: Server, old: Release, new: Release
) -> None:
    url = postgres_server.create_database()
    load = Load()
    async with load.running(), old.serving(url) as store, load.on(store):
        ended = await asyncio.gather(*(new.run("migrate", database=url) for _ in range(3)))

    assert [each.code for each in ended] == [0, 0, 0], [each.err for each in ended]
    assert sum(f"expand {NEXT:04}" in each.out for each in ended) == 1
    assert load.refused == []


async def test_a_long_transaction_is_waited_for_without_standing_in_anybodys_way(
    postgres_server: Server, old: Release, new: Release
) -> None:
    """What changes a table waits behind a backup; everything else would wait behind that."""
    url = postgres_server.create_database()
    load = Load()
    async with load.running(), old.serving(url) as store, load.on(store):
        with postgres_server.reading(url, "promises"):
            migrating = asyncio.create_task(new.run("migrate", database=url))
            for _ in range(10):
                await load.goes_on()
            assert not migrating.done()
        ended = await migrating

    assert ended.code == 0, ended.err
    assert load.refused == []
