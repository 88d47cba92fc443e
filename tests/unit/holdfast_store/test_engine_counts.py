"""What the engine tells whoever counts about operations that never reach a batch."""

import asyncio
from collections import Counter

from holdfast.core.profile import DEFAULT_PROFILE
from holdfast.core.requests import PromiseCreate, PromiseGet
from holdfast_store.engine import Engine, EngineSettings
from holdfast_store.memory.storage import MemoryStorage
from holdfast_store.observer import NullObserver


class Counting(NullObserver):
    """Remembers which operations were answered, and how."""

    def __init__(self) -> None:
        self.answered: Counter[tuple[str, int]] = Counter()

    def operation_answered(self, *, kind: str, status: int) -> None:
        self.answered[kind, status] += 1


async def counted(*chains: tuple[PromiseGet | PromiseCreate, ...], **settings: int) -> Counting:
    """Send chains at the same time to an engine that is stopped afterwards."""
    observer, storage = Counting(), MemoryStorage()
    await storage.open()
    engine = Engine(
        storage,
        clock=lambda: 1_000,
        profile=DEFAULT_PROFILE,
        settings=EngineSettings(**settings),
        observer=observer,
    )
    await engine.start()
    await asyncio.gather(*(engine.apply(*chain) for chain in chains))
    await engine.stop()
    await storage.close()
    return observer


async def test_refusals_of_a_full_queue_are_counted() -> None:
    """An overload that no metric shows cannot be alerted on."""
    reads = [(PromiseGet(id=f"p{n}"),) for n in range(5)]

    observer = await counted(*reads, queue_operations_max=2)

    assert observer.answered == {("PromiseGet", 404): 2, ("PromiseGet", 429): 3}


async def test_an_operation_with_a_bad_field_is_counted() -> None:
    observer = await counted((PromiseCreate(id="", timeout_at_ms=2_000),))

    assert observer.answered == {("PromiseCreate", 400): 1}


async def test_an_operation_behind_a_refused_one_is_not_counted() -> None:
    observer = await counted((PromiseGet(id="absent"), PromiseCreate(id="", timeout_at_ms=2_000)))

    assert observer.answered[("PromiseGet", 404)] == 1
    assert not observer.answered[("PromiseCreate", 400)]
