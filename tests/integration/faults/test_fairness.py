"""A small tree behind a large one, on the databases that a store is run on."""

from pathlib import Path

import pytest

from tests.integration.faults.processes import running
from tests.integration.rpc.test_dispatch import Worker, children, work

LARGE = 5_000


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_an_order_behind_a_large_tree_is_soon_dispatched(
    tmp_path: Path, database: str, request: pytest.FixtureRequest
) -> None:
    settings = {}
    if database == "postgres":
        settings["database_url"] = request.getfixturevalue("postgres_url")
    async with running(tmp_path, **settings) as store, store.channel() as channel:
        client = await Worker(channel, "client").join(credits=0)
        await client.create_all(children("large", LARGE))
        await client.create(work("order"))
        worker = await Worker(channel, "w").join()

        before = 0
        while (push := await worker.task()).task.id != "order":
            before += 1
            assert before < 10, "the order waits behind a large tree"
            await worker.done(push)
