"""Trees that are over go as a whole; whatever may still be asked for stays."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from holdfast.core.records import (
    ORIGIN,
    Callback,
    Promise,
    PromiseState,
    Task,
    TaskState,
    Unblock,
)
from holdfast.core.working_set import Changes
from holdfast_store.loops.retention import Retention
from holdfast_store.metrics import Metrics
from holdfast_store.storage import Plan, Storage
from tests.integration.store_db.records import load, promise, save, stored, targeted, task

AGE_MS = 1_000
NOW_MS = 10_000
ENDED_MS = NOW_MS - AGE_MS - 1
"""Just old enough."""


def settled(promise_id: str, *, origin: str | None = None, **fields: Any) -> Promise:
    """Make a promise that ended long enough ago, of a tree."""
    tags = {} if origin is None else {ORIGIN: origin}
    given: dict[str, Any] = {
        "state": PromiseState.RESOLVED,
        "settled_at_ms": ENDED_MS,
        "tags": tags,
    } | fields
    return promise(promise_id, **given)


def retention(storage: Storage, *, rows_max: int = 3, metrics: Metrics | None = None) -> Retention:
    """Make a loop that is never left alone."""
    return Retention(
        storage,
        clock=lambda: NOW_MS,
        machine_clock=lambda: NOW_MS,
        observer=metrics or Metrics(),
        age_ms=AGE_MS,
        rows_max=rows_max,
        pause_ms=0,
    )


async def run(storage: Storage, *, rows_max: int = 3, metrics: Metrics | None = None) -> None:
    """Look through everything once."""
    loop = retention(storage, rows_max=rows_max, metrics=metrics)
    while await loop.tick(NOW_MS):
        pass


async def left(storage: Storage, *ids: str) -> set[str]:
    """Ids of these promises that are there."""
    return {p.id for p in (await stored(storage, *ids)).promises()}


def tree(root: str, children: int, **fields: Any) -> list[Promise]:
    """Make a root and its children."""
    return [
        settled(root, **fields),
        *(settled(f"{root}.{n:03}", origin=root) for n in range(children)),
    ]


async def test_a_tree_that_is_over_for_long_enough_is_deleted(storage: Storage) -> None:
    await save(
        storage,
        promises_created=[
            *tree("old", 2),
            settled("young", settled_at_ms=ENDED_MS + 1),
            promise("open"),
        ],
    )

    await run(storage)

    assert await left(storage, "old", "old.000", "old.001", "young", "open") == {"young", "open"}


@pytest.mark.parametrize("children", [1, 2, 3, 4, 5, 6, 7, 25])
async def test_a_tree_of_any_size_goes_in_parts_and_its_root_last(
    storage: Storage, children: int
) -> None:
    promises = tree("r", children)
    await save(storage, promises_created=promises)
    ids = [p.id for p in promises]
    loop = retention(storage)
    seen = [set(ids)]

    while await loop.tick(NOW_MS):
        now = await left(storage, *ids)
        assert now <= seen[-1]
        assert len(seen[-1] - now) <= 4  # three rows, and a root that was left alone by them
        assert "r" in now or not now, "no child outlives its root"
        seen.append(now)

    assert seen[-1] == set()


async def test_what_is_deleted_is_counted(storage: Storage) -> None:
    metrics = Metrics()
    old = ENDED_MS - 4_000
    await save(
        storage,
        promises_created=[*tree("a", 5, settled_at_ms=old), *tree("b", 0), *tree("c", 1)],
    )
    loop = retention(storage, metrics=metrics)
    lags = set()
    while await loop.tick(NOW_MS):
        lags.add(value_of(metrics, "holdfast_store_retention_lag_seconds"))

    assert value_of(metrics, "holdfast_store_retention_deleted_trees_total") == 3
    assert value_of(metrics, "holdfast_store_retention_deleted_promises_total") == 9
    assert max(lags) == pytest.approx(4.0, abs=0.01)
    assert value_of(metrics, "holdfast_store_retention_lag_seconds") == 0


def value_of(metrics: Metrics, name: str) -> float:
    [found] = [s.value for family in metrics.collect() for s in family.samples if s.name == name]
    return found


async def test_many_trees_take_few_transactions(storage: Storage) -> None:
    await save(storage, promises_created=[settled(f"p{n:03}") for n in range(100)])
    loop = retention(storage, rows_max=50)

    ticks = 1
    while await loop.tick(NOW_MS):
        ticks += 1

    assert await left(storage, *(f"p{n:03}" for n in range(100))) == set()
    assert ticks <= 10


async def keeps(storage: Storage, ids: Sequence[str], **changes: Any) -> None:
    """Assert that a tree with something that is not over stays whole."""
    await save(storage, **changes)
    before = await load(storage, *ids)

    await run(storage)

    after = await load(storage, *ids)
    assert set(ids) <= {p.id for p in after.working_set.promises()}
    assert list(after.working_set.promises()) == list(before.working_set.promises())


async def test_a_child_that_is_not_settled_keeps_the_tree(storage: Storage) -> None:
    open_ = promise("r.x", tags={ORIGIN: "r"}, armed=True)
    await keeps(storage, ["r", "r.000", "r.x"], promises_created=[*tree("r", 1), open_])


async def test_a_child_that_was_settled_lately_keeps_the_tree(storage: Storage) -> None:
    late = settled("r.x", origin="r", settled_at_ms=ENDED_MS + 1)
    await keeps(storage, ["r", "r.000", "r.x"], promises_created=[*tree("r", 5), late])


async def test_a_child_whose_deadline_makes_no_row_goes_with_the_tree(storage: Storage) -> None:
    """Nobody waited for it, so that nothing ever settled it but the way that it is read."""
    inner = promise("r.x", tags={ORIGIN: "r"}, timeout_at_ms=ENDED_MS)
    await save(storage, promises_created=[*tree("r", 1), inner])

    await run(storage)

    assert await left(storage, "r", "r.000", "r.x") == set()


async def test_a_deadline_that_nobody_has_swept_yet_keeps_the_tree(storage: Storage) -> None:
    armed = promise("r.x", tags={ORIGIN: "r"}, timeout_at_ms=ENDED_MS, armed=True)
    await keeps(storage, ["r", "r.x"], promises_created=[*tree("r", 0), armed])


async def test_a_promise_that_was_born_settled_is_as_old_as_its_birth(storage: Storage) -> None:
    born = settled("p", created_at_ms=NOW_MS - 5, settled_at_ms=5)
    await keeps(storage, ["p"], promises_created=[born])


async def test_a_task_with_something_ahead_keeps_the_tree(storage: Storage) -> None:
    ended: dict[str, Any] = {
        "state": PromiseState.RESOLVED,
        "settled_at_ms": ENDED_MS,
        "armed": False,
    }
    await keeps(
        storage,
        ["r"],
        promises_created=[targeted("r", **ended)],
        tasks_created=[task("r", dispatch_at_ms=5)],
    )


async def test_a_task_that_is_done_goes_with_its_promise(storage: Storage) -> None:
    ended: dict[str, Any] = {
        "state": PromiseState.RESOLVED,
        "settled_at_ms": ENDED_MS,
        "armed": False,
    }
    await save(
        storage,
        promises_created=[targeted("r", **ended)],
        tasks_created=[task("r", state=TaskState.FULFILLED)],
    )

    await run(storage)

    rows = await stored(storage, "r")
    assert (rows.promise("r"), rows.task("r")) == (None, None)


def waiting(task_id: str, **fields: Any) -> tuple[Promise, Task]:
    """Make a workflow that goes on."""
    return targeted(task_id), task(task_id, **fields)


async def test_a_wake_up_that_nobody_has_answered_keeps_the_tree(storage: Storage) -> None:
    """The workflow that was woken will ask for the promise when somebody runs it at last."""
    outside, woken = waiting("other", dispatch_at_ms=5, resumes=frozenset({"r.000"}))
    await keeps(
        storage,
        ["r", "r.000"],
        promises_created=[*tree("r", 1), outside],
        tasks_created=[woken],
        resumes_added=[("other", "r.000")],
    )


async def test_an_obligation_keeps_the_tree(storage: Storage) -> None:
    outside, suspended = waiting("other", state=TaskState.SUSPENDED, waiting_on=1)
    await keeps(
        storage,
        ["r", "r.000"],
        promises_created=[*tree("r", 1), outside],
        tasks_created=[suspended],
        callbacks_saved=[Callback(awaited="r.000", awaiter="other", wait_version=0)],
    )


async def test_a_listener_keeps_the_tree(storage: Storage) -> None:
    listens = [("r.000", "http://a")]
    await keeps(storage, ["r", "r.000"], promises_created=tree("r", 1), listeners_added=listens)


async def test_a_message_that_waits_keeps_the_tree(storage: Storage) -> None:
    message = Unblock(promise_id="r.000", address="http://a", enqueued_at_ms=5)
    await keeps(storage, ["r", "r.000"], promises_created=tree("r", 1), unblocks=[message])


async def test_a_tree_stays_for_as_long_as_the_promise_that_created_it(storage: Storage) -> None:
    """A workflow that runs again creates its children again, also those with trees of their own."""
    await save(storage, promises_created=[promise("flow"), settled("child", parent="flow")])

    await run(storage)
    with_creator = await left(storage, "flow", "child")
    await save(
        storage,
        promises_updated=[settled("flow")],
    )
    await run(storage)
    await run(storage)

    assert with_creator == {"flow", "child"}
    assert await left(storage, "flow", "child") == set()


async def test_a_promise_of_no_tree_that_is_there_stays(storage: Storage) -> None:
    await keeps(storage, ["lost"], promises_created=[settled("lost", origin="nowhere")])


async def test_a_deleted_id_may_be_created_anew(storage: Storage) -> None:
    await save(storage, promises_created=tree("r", 4))
    await run(storage)

    await save(storage, promises_created=[promise("r"), promise("r.000", tags={ORIGIN: "r"})])
    await run(storage)

    assert (await stored(storage, "r")).promise("r") == promise("r")
    assert await left(storage, "r", "r.000") == {"r", "r.000"}


async def test_two_that_delete_at_once_do_not_get_in_each_others_way(storage: Storage) -> None:
    metrics = Metrics()
    trees = [p for n in range(10) for p in tree(f"t{n}", n)]
    await save(storage, promises_created=trees)
    first = retention(storage, metrics=metrics)
    second = retention(storage, metrics=metrics)

    for _ in range(3):  # passes, of which the others may have held what the first one saw
        while await first.tick(NOW_MS):
            await second.tick(NOW_MS)

    assert await left(storage, *(p.id for p in trees)) == set()
    assert value_of(metrics, "holdfast_store_retention_deleted_trees_total") == 10
    assert value_of(metrics, "holdfast_store_retention_deleted_promises_total") == len(trees)


async def test_whoever_creates_a_root_that_is_deleted_never_finds_its_children(
    storage: Storage,
) -> None:
    """Its workflow would take their results for its own."""
    ids = [p.id for p in tree("r", 20)]
    await save(storage, promises_created=tree("r", 20))
    loop = retention(storage)
    seen: list[set[str]] = []

    async def create_if_absent() -> bool:
        async with storage.transaction() as transaction:
            loaded = await transaction.load(Plan(ids=set(ids)), now_ms=NOW_MS)
            seen.append({p.id for p in loaded.working_set.promises()})
            if "r" in seen[-1]:
                return False
            changes = Changes(promises_created=[promise("r")])
            await transaction.commit(changes, preload_of=(), preload_bytes_max=0)
            return True

    is_created = await create_if_absent()
    while not is_created:
        _, is_created = await asyncio.gather(loop.tick(NOW_MS), create_if_absent())

    assert all("r" in found or not found for found in seen)
    assert seen[0] == set(ids)
    assert seen[-1] == set()
    assert (await stored(storage, "r")).promise("r") == promise("r")
