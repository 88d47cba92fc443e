"""Several stores share the schedules of their database: each occurrence is fired by one of them."""

import asyncio
from collections.abc import Sequence

import pytest

from holdfast.core.records import TARGET
from holdfast.core.requests import Done, ScheduleCreate, ScheduleDelete, ScheduleGet
from holdfast.rpc import RemoteStore
from tests.integration.postgres import query
from tests.integration.replicas.stores import Store, Stores
from tests.integration.replicas.test_replicas import client, done, eventually

pytestmark = pytest.mark.timeout(120)

SECOND_MS = 1_000


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Name a schedule; the tests of a module share their database."""
    return str(request.node.name).removeprefix("test_")[:40]


def every_second(name: str) -> ScheduleCreate:
    return ScheduleCreate(
        id=name,
        cron="* * * * * *",
        promise_id="{{.id}}.{{.timestamp}}",
        promise_timeout_ms=3_600_000,
        promise_tags={TARGET: "poll://any@nobody"},
    )


def fired(stores: Stores, name: str) -> list[int]:
    """List the instants of a schedule that have a promise."""
    rows = query(stores.database_url, f"SELECT id FROM promises WHERE id LIKE '{name}.%'")
    return sorted(int(str(row[0]).rpartition(".")[2]) for row in rows)


def by_store(stores: Sequence[Store]) -> list[float]:
    return [store.metric("schedule_promises_total") for store in stores]


def are_without_gaps(instants: Sequence[int]) -> bool:
    return list(instants) == list(range(instants[0], instants[-1] + SECOND_MS, SECOND_MS))


async def ended(remote: RemoteStore, name: str) -> int:
    """Delete a schedule; answer the last instant that it fired for, as far as was seen."""
    seen = (await done(remote, ScheduleGet(id=name))).schedule
    assert seen is not None
    assert seen.last_run_at_ms is not None
    await done(remote, ScheduleDelete(id=name))
    return seen.last_run_at_ms


async def test_each_occurrence_is_fired_once(stores: Stores, name: str) -> None:
    before = by_store(stores.all)
    async with client(stores.all[0]) as one:
        assert isinstance(await done(one, every_second(name)), Done)
        await eventually(lambda: len(fired(stores, name)) >= 4, "it has fired")
        await ended(one, name)
    instants = fired(stores, name)

    def shares() -> float:
        return sum(by_store(stores.all)) - sum(before)

    assert are_without_gaps(instants)
    # A store counts what it has committed, a moment after everybody can see it.
    await eventually(lambda: shares() >= len(instants), "all are counted")
    assert shares() == len(instants)


async def test_what_a_killed_store_would_have_fired_the_others_fire(
    stores: Stores, name: str
) -> None:
    a, b, _ = stores.all
    async with client(a) as one:
        await done(one, every_second(name))
        await eventually(lambda: fired(stores, name), "it has fired")
        a.kill()
    count = len(fired(stores, name))
    await eventually(lambda: len(fired(stores, name)) >= count + 3, "the others fire")
    async with client(b) as other:
        last_ms = await ended(other, name)

    instants = fired(stores, name)
    assert are_without_gaps(instants)
    assert last_ms in instants


async def test_stores_that_were_all_away_catch_up(stores: Stores, name: str) -> None:
    async with client(stores.all[0]) as one:
        await done(one, every_second(name))
        await eventually(lambda: fired(stores, name), "it has fired")
        for store in stores.all:
            store.kill()
    before = fired(stores, name)
    await asyncio.sleep(2.5)  # that they are away for so long is what is tested

    for store in stores.all:
        store.start()
    stores.heal()
    await eventually(lambda: len(fired(stores, name)) >= len(before) + 3, "they caught up")
    async with client(stores.all[1]) as other:
        await ended(other, name)

    assert are_without_gaps(fired(stores, name))
