"""The loop of retention: it goes on after the database failed, and sleeps when it has looked."""

import asyncio
from collections.abc import Sequence

import pytest

from holdfast.core.records import Promise, PromiseState
from holdfast.core.working_set import Changes
from holdfast_store.loops import retention as retention_module
from holdfast_store.loops.retention import Retention
from holdfast_store.memory.storage import MemoryStorage
from holdfast_store.observer import NullObserver
from holdfast_store.storage import Plan, Pruned, StorageUnavailable

NOW_MS = 1_000_000


class Failing(MemoryStorage):
    """A storage whose next prunes fail."""

    fails = 2
    behind_commit = False

    async def prune(
        self, roots: Sequence[str], *, before_ms: int, behind: str, limit: int
    ) -> Pruned:
        self.fails -= 1
        if self.fails >= 0 and not self.behind_commit:
            raise StorageUnavailable("away")
        pruned = await super().prune(roots, before_ms=before_ms, behind=behind, limit=limit)
        if self.fails >= 0:
            raise StorageUnavailable("the answer was lost")
        return pruned


class Deletions(NullObserver):
    """Says when everything was looked at."""

    def __init__(self) -> None:
        self.passed = asyncio.Event()

    def retention_passed(self) -> None:
        self.passed.set()


async def filled(storage: MemoryStorage, count: int) -> None:
    """Store promises that ended long ago."""
    promises = [
        Promise(
            id=f"p{n}",
            state=PromiseState.RESOLVED,
            timeout_at_ms=NOW_MS,
            created_at_ms=0,
            settled_at_ms=1,
        )
        for n in range(count)
    ]
    async with storage.transaction() as transaction:
        await transaction.load(Plan(), now_ms=0)
        await transaction.commit(
            Changes(promises_created=promises), preload_of=(), preload_bytes_max=0
        )


@pytest.mark.parametrize("behind_commit", [False, True])
async def test_a_failure_of_the_database_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, *, behind_commit: bool
) -> None:
    monkeypatch.setattr(retention_module, "IDLE_S", 0.0)
    storage, observer = Failing(), Deletions()
    storage.behind_commit = behind_commit
    await filled(storage, 10)
    loop = Retention(
        storage,
        clock=lambda: NOW_MS,
        machine_clock=lambda: NOW_MS,
        observer=observer,
        age_ms=1_000,
        rows_max=3,
        pause_ms=0,
    )

    running = asyncio.create_task(loop.run())
    async with asyncio.timeout(5):
        await observer.passed.wait()
    running.cancel()

    found = await storage.roots(before_ms=NOW_MS, behind=(-1, ""), limit=100)
    assert found == []
    assert storage.fails < 0


@pytest.mark.parametrize("apart_ms", [-600_001, 600_001])
async def test_nothing_is_deleted_while_two_clocks_contradict_each_other(
    monkeypatch: pytest.MonkeyPatch, apart_ms: int
) -> None:
    """A clock that was set a year ahead would make everything old."""
    monkeypatch.setattr(retention_module, "IDLE_S", 0.0)
    storage, observer = MemoryStorage(), Deletions()
    await filled(storage, 1)
    machine_ms, looks = NOW_MS - apart_ms, 0
    looked_twice = asyncio.Event()

    def machine_clock() -> int:
        nonlocal looks
        looks += 1
        if looks > 2:
            looked_twice.set()
        return machine_ms

    loop = Retention(
        storage,
        clock=lambda: NOW_MS,
        machine_clock=machine_clock,
        observer=observer,
        age_ms=1_000,
        rows_max=3,
        pause_ms=0,
    )
    running = asyncio.create_task(loop.run())
    async with asyncio.timeout(5):
        await looked_twice.wait()
        doubtful = list(await storage.roots(before_ms=NOW_MS, behind=(-1, ""), limit=9))
        machine_ms = NOW_MS
        await observer.passed.wait()
    running.cancel()

    assert len(doubtful) == 1
    assert await storage.roots(before_ms=NOW_MS, behind=(-1, ""), limit=9) == []
