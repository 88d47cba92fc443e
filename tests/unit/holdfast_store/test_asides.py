"""A waiting task that the database refuses to give out keeps no other from its worker."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from holdfast.core.membership import Member
from holdfast.core.records import TARGET, Preload
from holdfast.core.requests import PromiseCreate
from holdfast.core.working_set import Changes
from holdfast_store import asides as asides_module
from holdfast_store import background as background_module
from holdfast_store.asides import Asides
from holdfast_store.engine import Engine
from holdfast_store.memory.storage import MemoryStorage, MemoryTransaction
from holdfast_store.storage import BatchRejected
from tests.given import Inbox

FAR_MS = 2**50


class Refusing(MemoryStorage):
    """A database that refuses to write certain tasks down as taken."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[str] = set()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[MemoryTransaction]:
        async with super().transaction():
            yield _Transaction(self)


class _Transaction(MemoryTransaction):
    def __init__(self, storage: Refusing) -> None:
        super().__init__(storage._rows)
        self._storage = storage

    async def commit(
        self, changes: Changes, *, preload_of: Sequence[str], preload_bytes_max: int
    ) -> Mapping[str, Preload]:
        if any(task.id in self._storage.refused for task in changes.tasks_updated):
            raise BatchRejected("no")
        return await super().commit(
            changes, preload_of=preload_of, preload_bytes_max=preload_bytes_max
        )


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_module, "RETRY_PAUSE_S", 0.001)
    monkeypatch.setattr(asides_module, "PAUSE_S_MIN", 0.02)


@asynccontextmanager
async def queued(storage: Refusing, count: int) -> AsyncIterator[Engine]:
    """Run an engine with so many waiting tasks."""
    engine = Engine(storage)
    await engine.start()
    for number in range(count):
        tags = {TARGET: "poll://any@w"}
        await engine.apply(PromiseCreate(id=f"t{number}", timeout_at_ms=FAR_MS, tags=tags))
    yield engine
    await engine.stop()


def worker(credits: int) -> Member:
    return Member(pid="w", instance="i", groups=("w",), credits=credits, lease_ttl_ms=60_000)


@pytest.mark.parametrize("culprits", [{"t0"}, {"t3"}, {"t0", "t8", "t9"}])
@pytest.mark.parametrize("credits", [1, 100])
async def test_everything_but_the_culprits_is_given_out(culprits: set[str], credits: int) -> None:
    storage = Refusing()
    storage.refused = culprits
    async with queued(storage, 10) as engine:
        inbox = Inbox()
        session = engine.connect(worker(credits), inbox)

        given: set[str] = set()
        for _ in range(10 - len(culprits)):
            given |= await inbox.get(1)
            session.give_back(1)

    assert given == {f"t{number}" for number in range(10)} - culprits


async def test_a_task_that_the_database_takes_after_all_is_given_out() -> None:
    storage = Refusing()
    storage.refused = {"t0"}
    async with queued(storage, 3) as engine:
        inbox = Inbox()
        engine.connect(worker(5), inbox)
        first = await inbox.get(2)

        storage.refused = set()

        assert first == {"t1", "t2"}
        assert await inbox.get(1) == {"t0"}


def test_pauses_grow_up_to_a_bound_and_what_went_well_is_forgotten() -> None:
    asides = Asides()
    pauses = []
    for _ in range(40):
        asides.undone(["t"])
        aside = asides.refused(["w"])
        assert aside is not None
        pauses.append(aside.pause_s)
        asides.try_again("t")
    asides.committed(["w"], ["t"])
    asides.undone(["t"])
    again = asides.refused(["w"])

    assert pauses[:3] == [0.02, 0.04, 0.08]
    assert max(pauses) == asides_module.PAUSE_S_MAX
    assert again is not None
    assert again.tries == 1


def test_a_look_may_give_out_half_as_many_each_time_and_twice_as_many_when_it_went_well() -> None:
    asides = Asides()

    def most() -> int:
        return sum(asides.may_place(group="w", placed=n) for n in range(2_000))

    bounds = [most()]
    for size in (100, 50):
        asides.undone([str(n) for n in range(size)])
        assert asides.refused(["w"]) is None
        bounds.append(most())
    for _ in range(6):
        asides.committed(["w"], [])
        bounds.append(most())

    assert bounds == [1_024, 50, 25, 50, 100, 200, 400, 800, 1_024]
    assert asides.may_place(group="x", placed=1_000)


def test_a_look_that_gave_out_nothing_accuses_nobody() -> None:
    asides = Asides()
    asides.undone([])

    assert asides.refused(["w"]) is None
    assert asides.may_place(group="w", placed=500)
    assert asides.skipped == frozenset()


def test_a_database_that_refuses_everything_is_not_asked_without_end() -> None:
    asides = Asides()
    found = []
    for number in range(2 * asides_module.ASIDE_MAX):
        asides.undone([f"t{number}"])
        found.append(asides.refused(["w"]))

    assert sum(aside is not None for aside in found) == asides_module.ASIDE_MAX
    assert len(asides.skipped) == asides_module.ASIDE_MAX
