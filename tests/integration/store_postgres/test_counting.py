"""Counting all open tasks takes a bounded time, and what was counted before is told meanwhile."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from holdfast.core.records import TARGET
from holdfast.core.requests import Done, PromiseCreate
from holdfast_store import statistics as statistics_module
from holdfast_store.db.postgres.connections import Bounds
from holdfast_store.db.postgres.storage import PostgresStorage
from holdfast_store.engine import Engine
from holdfast_store.storage import StorageUnavailable


@pytest.fixture
async def engine(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    """Run an engine that counts for a moment at most, with one waiting task."""
    monkeypatch.setattr(statistics_module, "REFRESH_S", 0.0)
    monkeypatch.setattr(statistics_module, "PAUSE_PER_SECOND", 0.0)
    storage = PostgresStorage(postgres_url, bounds=Bounds(count_ms=100))
    await storage.open()
    engine = Engine(storage)
    await engine.start()
    tags = {TARGET: "poll://any@w"}
    [outcome] = await engine.apply(PromiseCreate(id="t", timeout_at_ms=2**50, tags=tags))
    assert isinstance(outcome, Done)
    yield engine
    await engine.stop()
    await storage.close()


async def test_a_count_beyond_its_bound_leaves_the_last_one(
    engine: Engine, postgres_url: str
) -> None:
    """A lock on the whole table holds the count up, as a million dead rows would."""
    [before] = await engine.queues()
    with psycopg.connect(postgres_url) as connection:
        connection.execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")

        [kept] = await engine.queues()

    [after] = await engine.queues()
    assert (before.due, kept.due, after.due) == (1, 1, 1)
    assert kept.counted_age_ms > 0
    assert before.counted_age_ms == after.counted_age_ms == 0


async def test_without_an_earlier_count_the_failure_is_told(
    engine: Engine, postgres_url: str
) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")

        with pytest.raises(StorageUnavailable, match="57014"):
            await engine.queues()


async def test_a_count_runs_on_one_processor(engine: Engine, postgres_url: str) -> None:
    statements: list[str] = []
    storage = PostgresStorage(postgres_url)
    storage.on_statement = statements.append
    await storage.open()

    await storage.queue_counts(now_ms=0)

    await storage.close()
    assert any("max_parallel_workers_per_gather = 0" in text for text in statements)
