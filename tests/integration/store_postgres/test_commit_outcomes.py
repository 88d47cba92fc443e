"""The answer to a commit is lost: the storage finds out how it ended, and never guesses."""

import asyncio
from collections.abc import Iterator

import pytest

from holdfast.core.records import Preload
from holdfast_store.storage import CommitOutcomeUnknown, TransactionAborted
from tests.integration.kill.processes import until
from tests.integration.postgres import Server, query
from tests.integration.store_db.records import promise, save, stored, targeted, task
from tests.integration.store_postgres.conftest import Wired
from tests.integration.store_postgres.cutting import Cut


async def test_a_commit_whose_answer_was_lost_is_a_commit(wired: Wired) -> None:
    await save(
        wired.storage,
        promises_created=[targeted("t"), promise("t.1", parent="t")],
        tasks_created=[task("t")],
    )
    wired.cutter.cut_next_commit(Cut.BEFORE_ANSWER)

    preloads = await save(wired.storage, promises_created=[promise("p")], preload_of=["t"])

    assert wired.cutter.cuts == 1
    assert preloads == {"t": Preload(promises=(promise("t.1", parent="t"),), complete=True)}
    assert (await stored(wired.storage, "p")).promise("p") == promise("p")


async def test_a_commit_that_never_arrived_is_to_be_repeated(wired: Wired) -> None:
    wired.cutter.cut_next_commit(Cut.BEFORE_SERVER)

    with pytest.raises(TransactionAborted):
        await save(wired.storage, promises_created=[promise("p")])

    assert wired.cutter.cuts == 1
    assert (await stored(wired.storage, "p")).promise("p") is None
    await save(wired.storage, promises_created=[promise("p")])


async def test_the_batch_before_is_not_taken_for_the_one_in_doubt(wired: Wired) -> None:
    for number in range(3):
        await save(wired.storage, promises_created=[promise(f"before{number}")])
        wired.cutter.cut_next_commit(Cut.BEFORE_SERVER)

        with pytest.raises(TransactionAborted):
            await save(wired.storage, promises_created=[promise(f"lost{number}")])

    assert wired.cutter.cuts == 3


async def test_a_commit_that_nobody_can_be_asked_about_stays_unknown(wired: Wired) -> None:
    wired.cutter.cut_next_commit(Cut.BEFORE_ANSWER, stay_away=True)

    with pytest.raises(CommitOutcomeUnknown):
        await save(wired.storage, promises_created=[promise("p")])

    wired.cutter.come_back()
    assert query(wired.url, "SELECT id FROM promises") == [("p",)]


@pytest.fixture
def waiting_for_a_replica(postgres_server: Server) -> Iterator[Server]:
    """Let no commit be answered until a replica that does not exist has it."""
    postgres_server.set("synchronous_standby_names", "nobody")
    try:
        yield postgres_server
    finally:
        postgres_server.set("synchronous_standby_names", "")


async def test_a_commit_that_still_runs_is_waited_for(
    wired: Wired, waiting_for_a_replica: Server
) -> None:
    wired.cutter.cut_next_commit(Cut.AT_ONCE)
    saving = asyncio.create_task(save(wired.storage, promises_created=[promise("p")]))
    await asyncio.to_thread(until, lambda: _waits_in_commit(waiting_for_a_replica), "it commits")

    waiting_for_a_replica.set("synchronous_standby_names", "")
    await saving

    assert (await stored(wired.storage, "p")).promise("p") == promise("p")


async def test_a_commit_that_runs_for_too_long_stays_unknown(
    wired: Wired, waiting_for_a_replica: Server
) -> None:
    wired.cutter.cut_next_commit(Cut.AT_ONCE)

    with pytest.raises(CommitOutcomeUnknown):
        await save(wired.storage, promises_created=[promise("p")])


def _waits_in_commit(server: Server) -> bool:
    found = query(
        server.url("postgres"),
        "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query = 'COMMIT'",
    )
    return bool(found)
