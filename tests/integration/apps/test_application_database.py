"""Opening and migrating the application database, on real files."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import insert, inspect, select, text, update

from holdfast_db.database import DatabaseUnusable, migrate, open_database, reading
from holdfast_db.tables import accounts, metadata


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Take an empty database of either kind."""
    if request.param == "postgres":
        bare: str = request.getfixturevalue("bare_postgres_url")
        return bare
    return f"sqlite:///{tmp_path}/app.db"


def test_a_migrated_database_has_every_table_as_declared(url: str) -> None:
    engine = open_database(url)

    migrate(engine)

    found = inspect(engine)
    for table in metadata.tables.values():
        columns = {column["name"]: column for column in found.get_columns(table.name)}
        assert list(columns) == [column.name for column in table.columns]
        for column in table.columns:
            assert str(columns[column.name]["type"]) == str(column.type)
            assert columns[column.name]["nullable"] == column.nullable
    engine.dispose()


def test_accounts_are_there_from_the_start(url: str) -> None:
    engine = open_database(url)
    migrate(engine)

    with engine.begin() as connection:
        rows = connection.execute(select(accounts)).all()

    assert len(rows) == 100
    assert {"acct-1", "acct-100"} <= {row.id for row in rows}
    engine.dispose()


def test_migrating_again_changes_nothing(url: str) -> None:
    engine = open_database(url)
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(update(accounts).values(balance_cents=7))

    migrate(engine)

    with engine.begin() as connection:
        assert set(connection.scalars(select(accounts.c.balance_cents))) == {7}
    engine.dispose()


def test_several_processes_may_migrate_at_the_same_moment(url: str) -> None:
    engines = [open_database(url) for _ in range(4)]
    together = threading.Barrier(len(engines))

    def start(number: int) -> None:
        together.wait()
        migrate(engines[number])

    with ThreadPoolExecutor(len(engines)) as pool:
        list(pool.map(start, range(len(engines))))

    with engines[0].begin() as connection:
        assert len(connection.execute(select(accounts)).all()) == 100
    for engine in engines:
        engine.dispose()


def test_a_failed_migration_leaves_nothing_behind(url: str) -> None:
    engine = open_database(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE charges (x integer)"))

    with pytest.raises(DatabaseUnusable):
        migrate(engine)

    assert inspect(engine).get_table_names() == ["charges"]
    engine.dispose()


def test_a_database_of_a_newer_version_is_refused(url: str) -> None:
    engine = open_database(url)
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(DatabaseUnusable, match="not one that this version can use"):
        migrate(engine)

    engine.dispose()


def test_a_database_in_memory_is_one_database_for_all_threads() -> None:
    engine = open_database("sqlite://")
    migrate(engine)

    def count(_: int) -> int:
        with engine.begin() as connection:
            return len(connection.execute(select(accounts)).all())

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(count, range(8))) == {100}
    engine.dispose()


def test_writers_wait_for_each_other_instead_of_failing(url: str) -> None:
    engine = open_database(url)
    migrate(engine)

    def read_then_write(number: int) -> None:
        with engine.begin() as connection:
            connection.execute(select(accounts)).all()
            row = {"id": f"new-{number}", "owner": "Ada", "balance_cents": 0}
            connection.execute(insert(accounts).values(row))

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(read_then_write, range(20)))

    with engine.begin() as connection:
        assert len(connection.execute(select(accounts)).all()) == 120
    engine.dispose()


def test_readers_do_not_wait_for_a_writer(url: str) -> None:
    engine = open_database(url)
    migrate(engine)

    with engine.begin() as writer:
        writer.execute(update(accounts).values(balance_cents=7))
        with reading(engine) as reader:
            seen = set(reader.scalars(select(accounts.c.balance_cents)))

    assert 7 not in seen
    engine.dispose()


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mysql+pymysql://db/app", "needs the driver 'pymysql', which is not installed"),
        ("nonsense", "is not understood"),
        ("martian://db/app", "is not understood"),
    ],
)
def test_a_url_that_cannot_be_opened_says_why(url: str, sentence: str) -> None:
    with pytest.raises(DatabaseUnusable, match=sentence):
        open_database(url)


def test_a_file_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/missing/app.db")

    with pytest.raises(DatabaseUnusable, match="does not answer: unable to open database file"):
        migrate(engine)
