"""All or nothing, and one at a time."""

import asyncio
from typing import Any

import pytest

from holdfast.core.records import Callback, PromiseState, Unblock, Value
from holdfast.core.working_set import Changes
from holdfast_store.storage import BatchRejected, InsertConflict, Plan, Storage, StorageError
from tests.integration.store_db.records import (
    BYTES_MAX,
    promise,
    save,
    save_tasks,
    stored,
    taken_for,
    targeted,
    task,
)


async def test_leaving_without_a_commit_changes_nothing(storage: Storage) -> None:
    async with storage.transaction() as transaction:
        await transaction.load(Plan(ids={"p"}), now_ms=0)

    await save(storage, promises_created=[promise("p")])
    assert (await stored(storage, "p")).promise("p") is not None


async def test_an_error_inside_a_transaction_leaves_the_storage_usable(storage: Storage) -> None:
    async def fail() -> None:
        async with storage.transaction() as transaction:
            await transaction.load(Plan(ids={"p"}), now_ms=0)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()

    await save(storage, promises_created=[promise("p")])
    assert (await stored(storage, "p")).promise("p") is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"promises_created": [promise("new"), promise("old")]},
        {"promises_created": [promise("new")], "tasks_created": [task("old")]},
    ],
    ids=["promise", "task"],
)
async def test_a_row_that_exists_already_is_a_conflict_and_nothing_is_written(
    storage: Storage, changes: dict[str, Any]
) -> None:
    await save_tasks(storage, task("old"))

    with pytest.raises(InsertConflict):
        await save(storage, **changes)

    rows = await stored(storage, "old", "new")
    assert rows.promise("new") is None
    assert rows.promise("old") == targeted("old")


BAD = "\ud800"


@pytest.mark.parametrize(
    "bad",
    [
        promise(BAD),
        promise("bad", tags={BAD: "x"}),
        promise("bad", tags={"x": BAD}),
        promise("bad", param=Value(headers={"h": BAD})),
    ],
    ids=["id", "tag name", "tag", "header"],
)
async def test_text_that_cannot_be_written_rejects_the_batch_whole(
    storage: Storage, bad: object
) -> None:
    """The engine halves the batch then, so that the neighbours of the culprit go through."""
    with pytest.raises(BatchRejected):
        await save(storage, promises_created=[promise("good"), bad])

    assert (await stored(storage, "good")).promise("good") is None
    await save(storage, promises_created=[promise("good")])


async def test_everything_of_a_failed_batch_is_undone(storage: Storage) -> None:
    await save(
        storage,
        promises_created=[promise("p"), targeted("t")],
        tasks_created=[task("t")],
        listeners_added=[("p", "http://l")],
    )

    with pytest.raises(StorageError):
        await save(
            storage,
            promises_created=[promise("p")],
            promises_updated=[promise("p", state=PromiseState.RESOLVED)],
            tasks_updated=[task("t", dispatch_at_ms=1, queued_at_ms=1)],
            callbacks_saved=[Callback(awaited="p", awaiter="t")],
            listeners_cleared=["p"],
            unblocks=[Unblock(promise_id="p", address="http://l", enqueued_at_ms=1)],
        )

    rows = await stored(storage, "p", "t")
    assert rows.promise("p") == promise("p")
    assert rows.task("t") == task("t")
    assert rows.listeners("p") == ("http://l",)
    assert rows.callbacks("p") == ()
    assert await taken_for(storage, "http://l") == []
    assert await storage.queued_groups() == frozenset()


async def test_transactions_run_one_after_the_other(storage: Storage) -> None:
    """Each of them reads what the one before has written, so no increment is lost."""

    async def increment() -> None:
        async with storage.transaction() as transaction:
            loaded = await transaction.load(Plan(ids={"t"}), now_ms=0)
            found = loaded.working_set.task("t")
            assert found is not None
            await asyncio.sleep(0)
            await transaction.commit(
                Changes(tasks_updated=[task("t", version=found.version + 1)]),
                preload_of=[],
                preload_bytes_max=BYTES_MAX,
            )

    await save_tasks(storage, task("t"))

    await asyncio.gather(*(increment() for _ in range(20)))

    found = (await stored(storage, "t")).task("t")
    assert found is not None
    assert found.version == 20


async def test_a_cancelled_transaction_gives_its_place_to_the_next(storage: Storage) -> None:
    loaded = asyncio.Event()

    async def hang() -> None:
        async with storage.transaction() as transaction:
            await transaction.load(Plan(ids={"p"}), now_ms=0)
            loaded.set()
            await asyncio.Event().wait()

    hanging = asyncio.create_task(hang())
    await loaded.wait()
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging

    await save(storage, promises_created=[promise("p")])
    assert (await stored(storage, "p")).promise("p") is not None


async def test_a_commit_that_is_cancelled_is_there_whole_or_not_at_all(storage: Storage) -> None:
    changes = Changes(promises_created=[promise("a"), promise("b")])

    async def commit() -> None:
        async with storage.transaction() as transaction:
            await transaction.load(Plan(ids={"a", "b"}), now_ms=0)
            started.set()
            await transaction.commit(changes, preload_of=[], preload_bytes_max=BYTES_MAX)

    started = asyncio.Event()
    committing = asyncio.create_task(commit())
    await started.wait()
    committing.cancel()
    await asyncio.gather(committing, return_exceptions=True)

    found = {p.id for p in (await stored(storage, "a", "b")).promises()}
    assert found in (set(), {"a", "b"})
    await save(storage, promises_created=[promise("c")])


async def test_an_empty_commit_is_fine(storage: Storage) -> None:
    assert await save(storage) == {}
