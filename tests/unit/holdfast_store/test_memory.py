"""Storage in memory: what only it promises; the rest is in the suite of all storages."""

import subprocess
import sys

from holdfast.core.records import TARGET, Promise, Task, TaskState
from holdfast.core.working_set import Changes
from holdfast_store.memory.storage import MemoryStorage
from holdfast_store.storage import Plan

DATABASES = ("sqlalchemy", "alembic", "sqlite3", "holdfast_store.db")


def test_it_needs_no_database_package() -> None:
    text = f"""
import sys
from holdfast_store.storages import open_storage
open_storage("memory:")
print(*(name for name in {DATABASES} if name in sys.modules))
"""

    ran = subprocess.run([sys.executable, "-c", text], capture_output=True, check=True, text=True)

    assert ran.stdout.split() == []


async def fill(storage: MemoryStorage, count: int) -> None:
    """Store promises with leased tasks in one tree, all of them waiting for later."""
    ids = [f"root.{n:07}" for n in range(count)]
    tags = {TARGET: "poll://any@g", "resonate:branch": "root", "resonate:parent": "root"}
    async with storage.transaction() as transaction:
        await transaction.commit(
            Changes(
                promises_created=[
                    Promise(id=i, timeout_at_ms=10**9, created_at_ms=0, tags=tags, armed=True)
                    for i in ids
                ],
                tasks_created=[
                    Task(
                        id=i,
                        target="poll://any@g",
                        state=TaskState.ACQUIRED,
                        version=1,
                        pid=f"p{n % 1000}",
                        ttl_ms=1,
                        lease_at_ms=10**9,
                    )
                    for n, i in enumerate(ids)
                ],
            ),
            preload_of=[],
            preload_bytes_max=0,
        )


async def calls_of_a_batch(storage: MemoryStorage) -> int:
    """Count the function calls of a batch that uses every index."""
    plan = Plan(ids={"new", "root.0000001"}, pids={"nobody"}, due_max=10, queued={"g": 10})
    calls = 0

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        async with storage.transaction() as transaction:
            loaded = await transaction.load(plan, now_ms=0)
            task = loaded.working_set.task("root.0000001")
            assert task is not None
            await transaction.commit(
                Changes(
                    promises_created=[Promise(id="new", timeout_at_ms=5, created_at_ms=0)],
                    tasks_updated=[task],
                ),
                preload_of=["root.0000001"],
                preload_bytes_max=1_000,
            )
        await storage.next_due_at_ms()
        await storage.queued_groups()
    finally:
        sys.setprofile(None)
    return calls


async def test_the_work_of_a_batch_does_not_follow_the_number_of_promises() -> None:
    """Calls are counted, not seconds: those would depend on who else uses the machine."""
    small, large = MemoryStorage(), MemoryStorage()
    await fill(small, 100)
    await fill(large, 10_000)

    assert await calls_of_a_batch(large) <= await calls_of_a_batch(small) + 50
