"""A schedule whose row is damaged keeps no other from firing, and is told by its id."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from holdfast.core.records import TARGET
from holdfast.core.requests import Done, PromiseGet, ScheduleCreate
from holdfast_store.debugging import Debug
from holdfast_store.engine import Engine
from holdfast_store.firing import FiringRefused
from holdfast_store.memory.storage import MemoryStorage
from holdfast_store.storage import Storage

MINUTE_MS = 60_000
DAMAGES = {
    "tags cut off": "UPDATE schedules SET promise_tags = '{\"a' WHERE id = 'bad'",
    "tags of numbers": "UPDATE schedules SET promise_tags = '{\"a\": 1}' WHERE id = 'bad'",
    "headers cut off": "UPDATE schedules SET promise_param_headers = '{' WHERE id = 'bad'",
    "no cron": "UPDATE schedules SET cron = 'at tea' WHERE id = 'bad'",
    "an empty cron": "UPDATE schedules SET cron = '' WHERE id = 'bad'",
}
IN_FILES = {
    "no number": "UPDATE schedules SET promise_timeout_ms = 'soon' WHERE id = 'bad'",
    "no text": "UPDATE schedules SET promise_tags = CAST(x'ff' AS TEXT) WHERE id = 'bad'",
    "bytes": "UPDATE schedules SET cron = x'ff' WHERE id = 'bad'",
}
"""What only a file holds: a server looks at what it is given."""

Execute = Callable[[str], None]


@pytest.fixture
async def engine(storage: Storage) -> AsyncIterator[Engine]:
    engine = Engine(storage)
    await engine.start()
    for name in ("bad", "good"):
        request = ScheduleCreate(
            id=name,
            cron="* * * * *",
            promise_id="{{.id}}.{{.timestamp}}",
            promise_timeout_ms=MINUTE_MS,
            promise_tags={TARGET: "poll://any@w"},
        )
        await engine.apply(request, at_ms=0)
    yield engine
    await engine.stop()


@pytest.fixture
def execute(request: pytest.FixtureRequest, storage: Storage) -> Execute:
    """Change a database behind the store's back."""
    if isinstance(storage, MemoryStorage):
        pytest.fail("memory has no rows")
    name = request.node.callspec.params["storage"]
    place = request.getfixturevalue("sqlite_file" if name == "sqlite" else "postgres_url")

    def in_file(text: str) -> None:
        assert isinstance(place, Path)
        with closing(sqlite3.connect(place, isolation_level=None, timeout=10)) as connection:
            assert connection.execute(text).rowcount == 1

    def at_server(text: str) -> None:
        with psycopg.connect(place, autocommit=True) as connection:
            assert connection.execute(text.encode()).rowcount == 1

    return in_file if name == "sqlite" else at_server


CASES = [
    *((name, text) for text in DAMAGES.values() for name in ("sqlite", "postgres")),
    *(("sqlite", text) for text in IN_FILES.values()),
]


@pytest.mark.parametrize(("storage", "damage"), CASES, indirect=["storage"])
async def test_a_damaged_schedule_is_set_aside_and_the_others_fire(
    engine: Engine, execute: Execute, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    execute(damage)

    assert await engine.firing.fire_due(at_ms=3 * MINUTE_MS) == 3

    (fired,) = await engine.apply(PromiseGet(id="good.180000"), at_ms=3 * MINUTE_MS)
    assert isinstance(fired, Done)
    assert [each.msg for each in caplog.records if each.levelname == "ERROR"] == [
        "schedule_set_aside"
    ]
    assert await engine.firing.next_at_ms() is not None


@pytest.mark.parametrize("storage", ["sqlite"], indirect=True)
async def test_a_tick_says_which_schedule_cannot_be_fired_and_that_it_is_none_in_use(
    engine: Engine, storage: Storage, execute: Execute
) -> None:
    debug = Debug(engine, storage, snapshot=MemoryStorage().snapshot)
    execute(DAMAGES["tags cut off"])

    with pytest.raises(FiringRefused, match=r"cannot be fired: bad: the row .* is damaged"):
        await debug.tick(MINUTE_MS)

    (fired,) = await engine.apply(PromiseGet(id="good.60000"), at_ms=MINUTE_MS)
    assert isinstance(fired, Done)
    execute("DELETE FROM schedules WHERE id = 'bad'")
    await debug.tick(2 * MINUTE_MS)
