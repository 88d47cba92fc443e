"""`holdfast-store check` beside stores that write, and beside stores that are killed."""

import asyncio
import contextlib

import pytest

from holdfast import errors
from holdfast.core.profile import DEFAULT_PROFILE
from holdfast.rpc import RemoteStore
from holdfast_store.archives.audit import Audit
from holdfast_store.db.postgres.archive import PostgresArchive
from holdfast_store.db.postgres.storage import PostgresStorage
from tests.integration.postgres import Server, query
from tests.integration.rpc.support import FAR_MS, Mailbox, member
from tests.integration.store_archives.processes import run, started_at
from tests.integration.store_archives.test_commands import steps_of
from tests.integration.store_db.records import promise, save

pytestmark = pytest.mark.timeout(240)

AT_ONCE = 12
KILLS = 3


class Trees:
    """Runs one tree after the other on whichever store lives; a killed one is followed."""

    def __init__(self) -> None:
        self.done = 0
        self.url = ""
        self._progress = asyncio.Condition()

    async def run(self, number: int) -> None:
        """Run trees for ever."""
        for count in range(1_000_000):
            url = self.url
            store = RemoteStore(url)
            await store.start(member(f"client{number}", groups=()), Mailbox())
            try:
                while url == self.url:
                    await self._tree(store, f"t{number}.{count}.{self.done}")
            except errors.ResonateError:
                await asyncio.sleep(0.01)  # it was killed; the next tree has an id of its own
            finally:
                await store.close()

    async def _tree(self, store: RemoteStore, root: str) -> None:
        for chain in steps_of(root):
            await store.submit(chain, timeout=3)
        async with self._progress:
            self.done += 1
            self._progress.notify_all()

    async def go_on(self, trees: int = 30) -> None:
        """Return when so many more are done."""
        wanted = self.done + trees
        async with asyncio.timeout(60), self._progress:
            await self._progress.wait_for(lambda: self.done >= wanted)


async def test_no_check_of_a_live_database_finds_anything(postgres_server: Server) -> None:
    url = postgres_server.create_database()
    trees = Trees()
    checks = []
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(started_at(url))
        trees.url = first.url
        workers = [asyncio.create_task(trees.run(number)) for number in range(AT_ONCE)]
        for _ in range(KILLS):
            await trees.go_on()
            checking = asyncio.create_task(run("check", database=url))
            second = await stack.enter_async_context(started_at(url))
            await first.kill()
            trees.url = second.url
            first = second
            checks.append(await checking)
            await trees.go_on()
        checks.append(await run("check", database=url))
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    checks.append(await run("check", database=url))

    for ended in checks:
        assert ended.code == 0, ended.out + ended.err
    assert trees.done >= 2 * KILLS * 30


async def test_a_check_takes_no_lock_that_a_store_could_meet(postgres_url: str) -> None:
    """It holds what any reader holds, and sees nothing of what is written meanwhile."""
    storage = PostgresStorage(postgres_url)
    await storage.open()
    await save(storage, promises_created=[promise("before")])

    async with PostgresArchive(postgres_url).snapshot() as snapshot:
        audit = Audit(snapshot, now_ms=snapshot.now_ms, profile=DEFAULT_PROFILE)
        await audit.run()
        locks = query(
            postgres_url,
            "SELECT DISTINCT mode FROM pg_locks JOIN pg_stat_activity USING (pid)"
            " WHERE backend_xmin IS NOT NULL AND locktype = 'relation'"
            " AND pid <> pg_backend_pid() AND datname = current_database()",
        )
        await save(storage, promises_created=[promise("meanwhile")])
        seen = [p.id async for c in snapshot.promises(payloads=False) for p in c.records]

    await storage.close()
    assert locks == [("AccessShareLock",)]
    assert seen == ["before"]
    assert audit.broken() == []


CREATED = (
    "INSERT INTO promises (id, state, tags, timeout_at_ms, created_at_ms, armed, armed_at_ms,"
    " counted_bytes, origin) VALUES"
)
PLANTED = {
    "I3": f"{CREATED} ('x', 'resolved', '{{}}', {FAR_MS}, 1, false, NULL, 64, 'x')",
    "D1": f"{CREATED} ('x', 'odd', '{{}}', {FAR_MS}, 1, false, NULL, 64, 'x')",
    "D2": f"{CREATED} ('x', 'pending', '{{}}', {FAR_MS}, 1, false, NULL, 64, 'y')",
    "D3": "SET session_replication_role = replica; INSERT INTO resumes VALUES ('nobody', 'x')",
    "H8": "SET session_replication_role = replica; INSERT INTO listeners VALUES ('x', 'http://l')",
}


@pytest.mark.parametrize("rule", sorted(PLANTED))
async def test_what_was_planted_into_a_live_database_is_found(
    postgres_server: Server, rule: str
) -> None:
    url = postgres_server.create_database()
    trees = Trees()
    async with started_at(url) as store:
        trees.url = store.url
        workers = [asyncio.create_task(trees.run(number)) for number in range(4)]
        await trees.go_on()
        query(url, PLANTED[rule])
        ended = await run("check", database=url)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    *lines, _ = ended.out.splitlines()
    assert ended.code == 1, ended.out + ended.err
    assert [line.split(" ")[0] for line in lines] == [rule], ended.out
