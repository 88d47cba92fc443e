"""A batch has a bound on what it carries, not only on how many operations it has."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from holdfast.core.records import Preload, PromiseState, Value
from holdfast.core.requests import (
    Done,
    PromiseCreate,
    PromiseGet,
    PromiseRecord,
    PromiseRegisterCallback,
    PromiseSettle,
    Request,
    TaskCreate,
    TaskFence,
    TaskFulfill,
    TaskHeartbeat,
    TaskRef,
    TaskSuspend,
)
from holdfast.core.working_set import Changes
from holdfast_store.engine import Engine, EngineSettings
from holdfast_store.memory.storage import MemoryStorage, MemoryTransaction
from holdfast_store.sizes import carried_bytes

FOUR = Value(data=b"1234", headers={"h": "t"})
CREATE = PromiseCreate(id="p", timeout_at_ms=1, param=FOUR)
AWAIT = PromiseRegisterCallback(awaited="awaited", awaiter="t")
SETTLE = PromiseSettle(id="p", state=PromiseState.RESOLVED, value=FOUR)


@pytest.mark.parametrize(
    ("request_", "size"),
    [
        (PromiseGet(id="p"), 0),
        (PromiseCreate(id="p", timeout_at_ms=1), 0),
        (CREATE, 6),
        (SETTLE, 6),
        (PromiseCreate(id="p", timeout_at_ms=1, tags={"name": "value"}), 9),
        (TaskCreate(pid="w", ttl_ms=1, action=CREATE), 6),
        (TaskFulfill(id="t", version=1, action=SETTLE), 6),
        (TaskFence(id="t", version=1, action=CREATE), 6),
        (TaskSuspend(id="t", version=1, actions=(AWAIT, AWAIT)), 14),
        (TaskHeartbeat(pid="w", tasks=(TaskRef(id="task", version=1),)), 4),
        (
            TaskFence(
                id="t",
                version=1,
                action=PromiseRecord(create=CREATE, state=PromiseState.RESOLVED, value=FOUR),
            ),
            12,
        ),
    ],
)
def test_what_an_operation_carries_is_counted(request_: Request, size: int) -> None:
    assert carried_bytes(request_) == size


class CountingStorage(MemoryStorage):
    """Notes how many promises each transaction created."""

    def __init__(self) -> None:
        super().__init__()
        self.created: list[int] = []

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[MemoryTransaction]:
        async with super().transaction():
            yield CountingTransaction(self)


class CountingTransaction(MemoryTransaction):
    def __init__(self, storage: CountingStorage) -> None:
        super().__init__(storage._rows)
        self._storage = storage

    async def commit(
        self, changes: Changes, *, preload_of: Sequence[str], preload_bytes_max: int
    ) -> Mapping[str, Preload]:
        self._storage.created.append(len(changes.promises_created))
        return await super().commit(
            changes, preload_of=preload_of, preload_bytes_max=preload_bytes_max
        )


async def test_large_payloads_make_more_batches_and_every_one_is_answered() -> None:
    storage = CountingStorage()
    engine = Engine(storage, settings=EngineSettings(batch_bytes_max=10))
    timeout_at_ms = engine.now_ms() + 60_000
    requests = [
        PromiseCreate(id=f"p{n}", timeout_at_ms=timeout_at_ms, param=Value(data=data))
        for n, data in enumerate([*[b"1234"] * 7, b"far more than any bound"])
    ]
    applying = [asyncio.ensure_future(engine.apply(request)) for request in requests]
    await asyncio.sleep(0)  # until all of them wait

    await engine.start()
    outcomes = [outcome for [outcome] in await asyncio.gather(*applying)]
    await engine.stop()

    assert all(isinstance(outcome, Done) for outcome in outcomes)
    assert storage.created == [3, 3, 2]
