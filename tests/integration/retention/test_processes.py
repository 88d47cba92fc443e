"""Stores that delete old trees are killed in the midst of it: what is left is whole, and sound."""

import asyncio
import sqlite3
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.postgres import Server, query
from tests.integration.releases.load import Load
from tests.integration.store_archives.files import migrated, url_of
from tests.integration.store_archives.processes import Ended, run, serving_at, start, until

pytestmark = pytest.mark.timeout(240)

CHILDREN = 4_000
SMALL = 300
AGE_MS = 60_000
SETTINGS = {"retention_ms": str(AGE_MS), "retention_batch_rows": "100", "retention_pause_ms": "5"}

HEAD = (
    "INSERT INTO promises (id, state, tags, timeout_at_ms, created_at_ms, settled_at_ms, armed,"
    " counted_bytes, parent, origin)"
)
OF_LARGE = '{"resonate:origin":"large","resonate:parent":"large"}'
OF_OPEN = '{"resonate:origin":"open","resonate:parent":"open"}'


def rows(numbers: Callable[[int], str], true: str, false: str) -> list[str]:
    """Write a large tree that is over, small ones, and one that goes on."""
    old = int(time.time() * 1000) - 10 * AGE_MS
    late = old + 10**12
    settled = f"{late}, {old}, {old}, {false}, 64"
    large, small, open_, its_children = (
        f"{HEAD} SELECT 'large.' || n, 'resolved', '{OF_LARGE}', {settled}, 'large', 'large'",
        f"{HEAD} SELECT 'small-' || n, 'rejected', '{{}}', {settled}, NULL, 'small-' || n",
        f"{HEAD} VALUES ('open', 'pending', '{{\"resonate:external\":\"true\"}}', {late}, {old},",
        f"{HEAD} SELECT 'open.' || n, 'resolved', '{OF_OPEN}', {settled}, 'open', 'open'",
    )
    return [
        f"{HEAD} VALUES ('large', 'resolved', '{{}}', {settled}, NULL, 'large')",
        f"{large} FROM {numbers(CHILDREN)}",
        f"{small} FROM {numbers(SMALL)}",
        f"{open_} NULL, {true}, 64, NULL, 'open')",
        "UPDATE promises SET armed_at_ms = timeout_at_ms WHERE id = 'open'",
        f"{its_children} FROM {numbers(SMALL)}",
    ]


LEFT = (
    "SELECT count(*), count(CASE WHEN id = 'large' THEN 1 END),"
    " count(CASE WHEN origin = 'large' AND id <> 'large' THEN 1 END),"
    " count(CASE WHEN origin = 'open' THEN 1 END) FROM promises WHERE id NOT LIKE 'load-%'"
)
NOT_OLD = SMALL + 1


async def serve(url: str) -> Process:
    """Start a store that deletes a little at a time."""
    settings = {"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0"} | SETTINGS
    return await start("serve", database=url, standard_input=DEVNULL, **settings)


class Database:
    """Either kind, asked beside its stores."""

    def __init__(self, url: str, ask: Callable[[str], list[tuple[int, ...]]]) -> None:
        self.url = url
        self._ask = ask

    def left(self) -> tuple[int, int, int, int]:
        """Count all promises, the large root, its children, and the tree that goes on."""
        [found] = self._ask(LEFT)
        total, root, children, open_ = map(int, found)
        return total, root, children, open_

    async def check(self) -> Ended:
        """Judge it by the invariants."""
        return await run("check", database=self.url)


@pytest.fixture
def on_file(tmp_path: Path) -> Database:
    """Fill a file."""
    path = migrated(tmp_path / "store.db")

    def ask(text: str) -> list[tuple[int, ...]]:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as connection:
            return connection.execute(text).fetchall()

    def numbers(count: int) -> str:
        numbered = (
            f"WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {count})"
        )
        return f"({numbered} SELECT n FROM n)"

    for statement in rows(numbers, "1", "0"):
        ask(statement)
    return Database(url_of(path), ask)


@pytest.fixture
def on_server(postgres_server: Server) -> Database:
    """Fill a database on a server."""
    url = postgres_server.create_database()
    for statement in rows(lambda count: f"generate_series(1, {count}) AS n", "true", "false"):
        query(url, statement)
    return Database(url, lambda text: [tuple(map(int, map(str, row))) for row in query(url, text)])


@pytest.fixture(params=["on_file", "on_server"])
def database(request: pytest.FixtureRequest) -> Database:
    """Take either."""
    chosen: Database = request.getfixturevalue(request.param)
    return chosen


async def test_a_store_that_is_killed_while_it_deletes_leaves_whole_trees(
    database: Database,
) -> None:
    seen = [database.left()]
    checks: list[Ended] = []

    def is_further() -> bool:
        return database.left()[0] < seen[-1][0]

    for _ in range(3):
        process = await serve(database.url)
        await until(is_further)
        process.kill()
        await process.communicate()
        seen.append(database.left())
        checks.append(await database.check())
    process = await serve(database.url)
    await until(lambda: database.left()[0] == NOT_OLD)
    process.kill()
    await process.communicate()
    checks.append(await database.check())

    totals = [total for total, _, _, _ in seen]
    assert totals == sorted(totals, reverse=True)
    assert totals[1] > NOT_OLD, "the first kill came in the midst"
    assert all(root or not children for _, root, children, _ in seen), "a root goes last"
    assert all(open_ == NOT_OLD for *_, open_ in seen)
    assert database.left() == (NOT_OLD, 0, 0, NOT_OLD)
    for ended in checks:
        assert ended.code == 0, ended.out + ended.err


async def test_two_stores_delete_under_load_while_a_check_looks_on(on_server: Database) -> None:
    load = Load()
    async with (
        load.running(),
        serving_at(on_server.url, **SETTINGS) as first,
        serving_at(on_server.url, **SETTINGS),
        load.on(first),
    ):
        checks = [await on_server.check()]
        await load.goes_on()
        await until(lambda: on_server.left()[0] == NOT_OLD)
        checks.append(await on_server.check())

    assert load.refused == []
    for ended in checks:
        assert ended.code == 0, ended.out + ended.err


async def test_rows_of_an_older_version_are_filed_before_anything_is_deleted(
    database: Database,
) -> None:
    ask = database._ask
    ask("UPDATE promises SET origin = NULL")
    async with serving_at(database.url, **SETTINGS):
        await until(lambda: int(ask("SELECT count(*) FROM promises")[0][0]) == NOT_OLD)

    checked = await database.check()
    assert database.left() == (NOT_OLD, 0, 0, NOT_OLD)
    assert checked.code == 0, checked.out + checked.err


async def test_nothing_is_deleted_unless_it_is_asked_for(on_file: Database) -> None:
    before = on_file.left()
    async with serving_at(on_file.url):
        await asyncio.sleep(0)

    assert on_file.left() == before
