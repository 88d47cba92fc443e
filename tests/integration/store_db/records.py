"""Short ways to make, save and load records in these tests."""

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.core.records import BRANCH, PARENT, TARGET, Preload, Promise, Task, TaskState
from holdfast.core.working_set import Changes, WorkingSet
from holdfast_store.storage import Loaded, Plan, Storage

DEADLINE_MS = 1_000_000
BYTES_MAX = 1_000_000


def promise(
    promise_id: str, *, branch: str | None = None, parent: str | None = None, **fields: Any
) -> Promise:
    """Make a pending promise, unless the fields say something else."""
    tags = dict(fields.pop("tags", {}))
    if branch is not None:
        tags[BRANCH] = branch
    if parent is not None:
        tags[PARENT] = parent
    defaults = {"timeout_at_ms": DEADLINE_MS, "created_at_ms": 0}
    return Promise(**(defaults | fields | {"id": promise_id, "tags": tags}))


def targeted(promise_id: str, *, group: str = "workers", **fields: Any) -> Promise:
    """Make a promise that has a task."""
    tags = {TARGET: f"poll://any@{group}"} | fields.pop("tags", {})
    return promise(promise_id, tags=tags, **({"armed": True} | fields))


def task(task_id: str, *, group: str = "workers", **fields: Any) -> Task:
    """Make a pending task, unless the fields say something else."""
    return Task(id=task_id, target=f"poll://any@{group}", **fields)


def leased(task_id: str, *, pid: str, lease_at_ms: int, **fields: Any) -> Task:
    """Make an acquired task."""
    return task(
        task_id,
        state=TaskState.ACQUIRED,
        version=1,
        pid=pid,
        ttl_ms=1_000,
        lease_at_ms=lease_at_ms,
        **fields,
    )


def queued(task_id: str, *, at_ms: int, **fields: Any) -> Task:
    """Make a pending task whose execute message waits."""
    return task(task_id, dispatch_at_ms=at_ms + 30_000, queued_at_ms=at_ms, **fields)


async def save(
    storage: Storage,
    *,
    preload_of: Sequence[str] = (),
    preload_bytes_max: int = BYTES_MAX,
    **changes: Any,
) -> Mapping[str, Preload]:
    """Commit changes as a batch of their own."""
    async with storage.transaction() as transaction:
        await transaction.load(Plan(), now_ms=0)
        return await transaction.commit(
            Changes(**changes), preload_of=preload_of, preload_bytes_max=preload_bytes_max
        )


async def save_tasks(storage: Storage, *tasks: Task) -> None:
    """Commit new tasks, each with its promise."""
    promises = [targeted(t.id, tags={TARGET: t.target}) for t in tasks]
    await save(storage, promises_created=promises, tasks_created=list(tasks))


async def load(storage: Storage, *ids: str, now_ms: int = 0, **plan: Any) -> Loaded:
    """Load in a transaction that changes nothing."""
    async with storage.transaction() as transaction:
        return await transaction.load(Plan(ids=set(ids), **plan), now_ms=now_ms)


async def stored(storage: Storage, *ids: str) -> WorkingSet:
    """Answer the rows under these ids, as they are in the database: nobody knows any process."""
    return (await load(storage, *ids, pids={"nobody"})).working_set


async def taken_for(storage: Storage, *addresses: str) -> list[tuple[str, Promise]]:
    """Take all that waits for addresses."""
    return list(await storage.take_unblocks(addresses, limit=1_000, bytes_max=BYTES_MAX))
