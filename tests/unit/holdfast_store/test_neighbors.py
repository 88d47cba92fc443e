"""Two engines on one storage, with and without messages between them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from holdfast.core.ids import HTTP_GROUP
from holdfast.core.membership import Member, TaskOffer, TaskPush
from holdfast.core.records import Promise, PromiseState
from holdfast.core.requests import (
    Done,
    PromiseCreate,
    PromiseRegisterListener,
    PromiseSettle,
    Request,
    TaskFulfill,
)
from holdfast_store import deliveries as deliveries_module
from holdfast_store import replicas
from holdfast_store import statistics as statistics_module
from holdfast_store.engine import Engine
from holdfast_store.loops import neighbors as module
from holdfast_store.loops.neighbors import Neighbors
from holdfast_store.memory.storage import MemoryStorage
from holdfast_store.replicas import Share
from holdfast_store.wakeups import EVERYTHING, Hear, News

NEVER_S = 3_600.0
FAR_MS = 2**52


@dataclass
class Inbox:
    tasks: "asyncio.Queue[TaskPush]" = field(default_factory=asyncio.Queue)
    settled: "asyncio.Queue[Promise]" = field(default_factory=asyncio.Queue)

    def push_task(self, push: TaskPush) -> None:
        self.tasks.put_nowait(push)

    def push_offer(self, offer: TaskOffer) -> None: ...

    def push_settled(self, promise: Promise) -> None:
        self.settled.put_nowait(promise)

    def replaced(self) -> None: ...


@dataclass
class RelayInbox(Inbox):
    unblocks: "asyncio.Queue[tuple[str, Promise]]" = field(default_factory=asyncio.Queue)

    def push_unblock(self, address: str, promise: Promise) -> None:
        self.unblocks.put_nowait((address, promise))


class Air:
    """What messages and numbers travel through; it may lose messages."""

    def __init__(self) -> None:
        self.loses = False
        self.told: list[News] = []
        self.ways: list[Way] = []
        self.numbers: dict[int, str] = {}


class Way:
    """One store's end."""

    def __init__(self, air: Air) -> None:
        self.air = air
        self.is_up = False
        self.hear: Hear | None = None
        air.ways.append(self)

    # Wakeups

    def tell(self, news: News) -> None:
        self.air.told.append(news)
        if self.air.loses:
            return
        for other in self.air.ways:
            if other is not self and other.hear is not None:
                asyncio.get_running_loop().call_soon(other.hear, news)

    async def run(self, hear: Hear) -> None:
        self.hear, self.is_up = hear, True
        hear(EVERYTHING)
        await asyncio.Event().wait()

    # Shared storage

    def wakeups(self) -> "Way":
        return self

    async def exchange(self, groups: str) -> Sequence[str]:
        self.air.numbers[id(self)] = groups
        return [told for key, told in self.air.numbers.items() if key != id(self)]

    async def depart(self) -> None:
        del self.air.numbers[id(self)]


@asynccontextmanager
async def stores(air: Air, count: int = 2) -> AsyncIterator[list[Engine]]:
    """Run engines on one storage, in touch with each other."""
    storage = MemoryStorage()
    engines = [Engine(storage) for _ in range(count)]
    neighbors = [Neighbors(engine, storage, Way(air), slow_poll_s=NEVER_S) for engine in engines]
    async with asyncio.TaskGroup() as group, asyncio.timeout(20):
        for engine in engines:
            await engine.start()
        loops = [group.create_task(each.run()) for each in neighbors]
        await until(lambda: all(each.status().stores == count - 1 for each in neighbors))
        await until(lambda: not any(each.status().is_settling for each in neighbors))
        yield engines
        for loop in loops:
            loop.cancel()
        for engine in engines:
            await engine.stop()
    assert not air.numbers, "they took leave"


async def until(look: Callable[[], object]) -> None:
    while True:
        if look():
            return
        await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLING_S", 0.02)
    monkeypatch.setattr(module, "OFTEN_S", 0.01)
    monkeypatch.setattr(module, "LOOK_PAUSE_S", 0.001)
    monkeypatch.setattr(module, "EXCHANGE_S_MIN", 0.01)
    monkeypatch.setattr(module, "EXCHANGE_S_MAX", 0.02)
    monkeypatch.setattr(statistics_module, "REFRESH_S", 0.01)
    monkeypatch.setattr(deliveries_module, "NAMED_PAUSE_S", 0.05)


@pytest.fixture
def air() -> Air:
    return Air()


def member(pid: str, **fields: object) -> Member:
    defaults = {"pid": pid, "instance": f"{pid}-1", "groups": ("g",), "credits": 1}
    return Member(**(defaults | fields))  # type: ignore[arg-type]


def create(promise_id: str, target: str | None = "poll://any@g") -> PromiseCreate:
    tags = {"resonate:external": "true"} if target is None else {"resonate:target": target}
    return PromiseCreate(id=promise_id, timeout_at_ms=FAR_MS, tags=tags)


async def one(engine: Engine, request: Request) -> Done:
    (outcome,) = await engine.apply(request)
    assert isinstance(outcome, Done), outcome
    return outcome


async def settle(engine: Engine, promise_id: str) -> None:
    await one(engine, PromiseSettle(id=promise_id, state=PromiseState.RESOLVED))


async def test_a_task_that_nobody_could_take_here_is_taken_there(air: Air) -> None:
    async with stores(air) as (a, b):
        inbox = Inbox()
        b.connect(member("p"), inbox)
        await one(a, create("t"))

        assert (await inbox.tasks.get()).task.id == "t"
        assert air.told == [News(groups=frozenset({"g"}))], "told once, in one message"


async def test_a_task_that_was_told_of_waits_for_the_next_credit(air: Air) -> None:
    async with stores(air) as (a, b):
        inbox = Inbox()
        session = b.connect(member("p"), inbox)
        await one(a, create("1"))
        await inbox.tasks.get()
        await one(a, create("2"))
        await asyncio.sleep(0)

        await one(
            b,
            TaskFulfill(
                id="1", version=1, action=PromiseSettle(id="1", state=PromiseState.RESOLVED)
            ),
        )
        session.give_back(1)

        assert (await inbox.tasks.get()).task.id == "2"


async def test_what_a_member_here_takes_nobody_is_told_of(air: Air) -> None:
    async with stores(air) as (a, _):
        inbox = Inbox()
        a.connect(member("p"), inbox)
        await one(a, create("t"))
        await inbox.tasks.get()
        await one(a, create("plain", None))
        await settle(a, "plain")

        assert air.told == []


async def test_a_store_that_is_alone_tells_nobody(air: Air) -> None:
    async with stores(air, count=1) as (a,):
        await until(lambda: not a.has_neighbors)
        await one(a, create("t"))

        assert air.told == []


async def test_what_a_lost_message_told_is_found_by_a_look_at_everything(air: Air) -> None:
    async with stores(air) as (a, b):
        inbox = Inbox()
        b.connect(member("p"), inbox)
        air.loses = True
        await one(a, create("t"))
        await one(a, create("e", None))
        await one(a, PromiseRegisterListener(awaited="e", address="poll://uni@g/p"))
        await settle(a, "e")
        assert inbox.tasks.empty()

        hear = air.ways[1].hear
        assert hear is not None
        hear(EVERYTHING)

        assert (await inbox.tasks.get()).task.id == "t"
        assert (await inbox.settled.get()).id == "e"


async def test_a_look_at_everything_finds_what_waits_for_an_http_address(air: Air) -> None:
    async with stores(air) as (a, b):
        gateway = RelayInbox()
        b.connect(member("gateway", groups=(HTTP_GROUP,)), gateway)
        air.loses = True
        await one(a, create("e", None))
        await one(a, PromiseRegisterListener(awaited="e", address="https://x.test/hook"))
        await settle(a, "e")

        hear = air.ways[1].hear
        assert hear is not None
        hear(EVERYTHING)

        address, promise = await gateway.unblocks.get()
        assert (address, promise.id) == ("https://x.test/hook", "e")


async def test_while_nothing_can_be_heard_everything_is_looked_at_often(air: Air) -> None:
    async with stores(air) as (a, b):
        inbox = Inbox()
        b.connect(member("p", credits=9), inbox)
        air.loses = True
        air.ways[1].is_up = False
        hear = air.ways[1].hear
        assert hear is not None
        hear(EVERYTHING)  # the last word before the connection broke; from here on there is none
        for n in range(3):
            await one(a, create(f"t{n}"))
            assert (await inbox.tasks.get()).task.id == f"t{n}"


async def test_a_settled_promise_goes_to_the_member_that_the_address_names(air: Air) -> None:
    async with stores(air) as (a, b):
        near, named = Inbox(), Inbox()
        a.connect(member("near", credits=0), near)
        b.connect(member("named", credits=0), named)
        for address in ("poll://uni@g/named", "poll://any@g/named"):
            await one(a, create(address, None))
            await one(a, PromiseRegisterListener(awaited=address, address=address))
            await settle(a, address)

            assert (await named.settled.get()).id == address
        assert near.settled.empty()


async def test_a_message_to_any_member_waits_a_moment_for_the_one_it_prefers(air: Air) -> None:
    async with stores(air) as (a, b):
        near, elsewhere = Inbox(), Inbox()
        a.connect(member("near", credits=0), near)
        b.connect(member("elsewhere", credits=0), elsewhere)
        await one(a, create("e", None))
        await one(a, PromiseRegisterListener(awaited="e", address="poll://any@g/nowhere"))
        await settle(a, "e")

        await until(lambda: near.settled.qsize() + elsewhere.settled.qsize())
        await asyncio.sleep(0.1)
        assert near.settled.qsize() + elsewhere.settled.qsize() == 1, "one of them, once"


async def test_what_waits_for_a_member_is_taken_in_turns_until_nothing_is_left(
    air: Air, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries_module, "MESSAGES_MAX", 3)
    monkeypatch.setattr(deliveries_module, "ADDRESSES_MAX", 2)
    async with stores(air) as (a, b):
        for n in range(10):
            await one(a, create(f"e{n}", None))
            for address in ("poll://uni@g/p", "poll://any@g"):
                await one(a, PromiseRegisterListener(awaited=f"e{n}", address=address))
            await settle(a, f"e{n}")
        inbox = Inbox()
        b.connect(member("p", credits=0), inbox)

        seen: set[str] = set()
        while len(seen) < 10:
            seen.add((await inbox.settled.get()).id)
        assert seen == {f"e{n}" for n in range(10)}


async def test_each_store_tells_what_all_have(air: Air) -> None:
    async with stores(air, count=3) as engines:
        for n, engine in enumerate(engines):
            engine.connect(member(f"p{n}", credits=n + 1), Inbox())
        for engine in engines:
            while True:
                [queue] = await engine.queues(["g"])
                if (queue.members, queue.free_credits) == (3, 6):
                    break
                await asyncio.sleep(0.01)


def test_numbers_are_read_as_they_were_written_and_bounded() -> None:
    groups = {f"g{n:05}": Share(n, 2 * n) for n in range(replicas.GROUPS_TOLD_MAX + 5)}

    text = replicas.written(groups)

    told = replicas.read(text)
    assert len(told) == replicas.GROUPS_TOLD_MAX
    assert told["g00007"] == Share(7, 14)
    assert replicas.total([told, {"g00007": Share(1, 1)}])["g00007"] == Share(8, 15)
    assert replicas.read("nonsense") == {}
    assert replicas.read('{"g": 7}') == {}


# Leases


async def test_leases_follow_a_member_to_the_store_that_it_joins(air: Air) -> None:
    """The first store gives back what it lost, and that is nothing any more."""
    async with stores(air) as (a, b):
        first = Inbox()
        session = a.connect(member("p"), first)
        await one(a, create("t"))
        push = await first.tasks.get()
        session.close(peer_closed=True)
        second, waiting = Inbox(), Inbox()
        b.connect(member("p", credits=0, held=frozenset({("t", push.task.version)})), second)
        b.connect(member("q"), waiting)

        await lapsed(a)
        assert waiting.tasks.empty()
        assert b.has_neighbors


async def test_leases_that_follow_nobody_are_given_back(air: Air) -> None:
    async with stores(air) as (a, b):
        session = a.connect(member("p"), Inbox())
        await one(a, create("t"))
        waiting = Inbox()
        b.connect(member("q"), waiting)
        session.close(peer_closed=True)

        assert (await waiting.tasks.get()).task.version == 2


async def lapsed(engine: Engine) -> None:
    """Return when the engine has given back what a member lost that left by now."""
    session = engine.connect(member("marker", groups=("m",)), Inbox())
    await one(engine, create("m", "poll://any@m"))
    session.close(peer_closed=True)
    other = Inbox()
    engine.connect(member("marker-2", groups=("m",)), other)
    assert (await other.tasks.get()).task.version == 2
