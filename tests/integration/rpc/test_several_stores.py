"""Several stores behind one URL: who goes where, and how soon when one of them is gone."""

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import pytest

from holdfast import errors
from holdfast.core.records import PromiseState
from holdfast.core.requests import Done, PromiseCreate, PromiseGet, PromiseSettle, TaskFulfill
from holdfast.port import Answer
from holdfast.rpc import Admin, RemoteStore, connection, dialing
from holdfast.rpc import store as module
from holdfast_chassis.listen import Address
from holdfast_store.engine import EngineSettings
from tests.integration.rpc.support import (
    FAR_MS,
    Mailbox,
    Proxy,
    Served,
    join,
    member,
    serve,
    targeted,
    until,
)

NAME = "store.test"
HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


class Names:
    """A name server that knows one name."""

    def __init__(self) -> None:
        self.hosts: Sequence[str] = ()
        self.silent = asyncio.Event()
        self.silent.set()
        self.asked = 0

    async def look_up(self, host: str, _port: int) -> list[str]:
        assert host == NAME
        self.asked += 1
        await self.silent.wait()
        if not self.hosts:
            raise OSError(-2, "Name or service not known")
        return list(self.hosts)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()
    monkeypatch.setattr(dialing, "look_up", names.look_up)
    return names


@contextlib.asynccontextmanager
async def three() -> AsyncIterator[tuple[str, list[Served]]]:
    """Serve three stores on one port of three addresses, as pods do; answer the port."""
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(serve(listen=Address(HOSTS[0], 0)))
        port = first.server.address.port
        others = [
            await stack.enter_async_context(serve(listen=Address(host, port))) for host in HOSTS[1:]
        ]
        yield f"grpc://{NAME}:{port}", [first, *others]


@contextlib.asynccontextmanager
async def members(url: str, count: int) -> AsyncIterator[list[tuple[RemoteStore, Mailbox]]]:
    """Join several members."""
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(join(url, member(f"p{n}"))) for n in range(count)]


def seats(stores: Sequence[Served]) -> list[int]:
    """How many members each store has."""
    return [len(served.engine.members()) for served in stores]


def connections(joined: Sequence[tuple[RemoteStore, Mailbox]]) -> int:
    """How often members were welcomed."""
    return sum(mailbox.connections for _, mailbox in joined)


def create(promise_id: str) -> PromiseCreate:
    return PromiseCreate(id=promise_id, timeout_at_ms=FAR_MS)


# Who goes where


async def test_members_spread_over_the_addresses_of_one_name(names: Names) -> None:
    names.hosts = HOSTS
    async with three() as (url, stores), members(url, 60):
        found = seats(stores)

    assert sum(found) == 60
    assert min(found) >= 5, "20 on average, with a deviation of 4"


async def test_members_of_a_store_that_stops_spread_over_all_others(names: Names) -> None:
    """Those of one store do not all follow each other to the next one."""
    names.hosts = HOSTS
    async with three() as (url, stores), members(url, 60) as joined:
        leavers = seats(stores)[0]
        await until(stores[0].server.stop(grace_s=10))
        # A member may hear only later than its store that their stream has ended.
        async with asyncio.timeout(20):
            while connections(joined) < 60 + leavers:  # noqa: ASYNC110 - nobody tells of all
                await asyncio.sleep(0.05)
        found = seats(stores)

    assert (found[0], sum(found)) == (0, 60)
    assert min(found[1:]) >= 15, f"of {leavers} each store gets half, more or less"
    reconnects = Counter(mailbox.connections - 1 for _, mailbox in joined)
    assert reconnects == {0: 60 - leavers, 1: leavers}, "one reconnect for each, and no more"


async def test_a_store_that_comes_back_gets_its_share_in_time(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STAY_S_MAX", 0.2)
    names.hosts = HOSTS[1:]
    async with three() as (url, stores), members(url, 12) as joined:
        assert seats(stores)[0] == 0
        names.hosts = HOSTS
        async with asyncio.timeout(20):
            while seats(stores)[0] < 2:  # noqa: ASYNC110 - nobody tells of a seat
                await asyncio.sleep(0.05)
        answers = [
            await until(each.submit([create(f"x{n}")])) for n, (each, _) in enumerate(joined)
        ]

    assert all(isinstance(answer.outcomes[0], Done) for answer in answers)


async def test_who_moves_keeps_its_leases_and_loses_no_operation(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both addresses lead to one store, so that whoever moves finds its own things again."""
    monkeypatch.setattr(module, "STAY_S_MAX", 1.0)  # a stay is longer than the grace for leases
    names.hosts = HOSTS[:2]
    grace = EngineSettings(stream_grace_ms=400)  # and that is longer than a busy machine's move
    async with (
        serve(listen=Address("0.0.0.0", 0), engine_settings=grace) as served,
        join(f"grpc://{NAME}:{served.server.address.port}") as (store, mailbox),
    ):
        await store.submit([targeted("t")])
        push = await until(mailbox.tasks.get())
        asked: list[asyncio.Future[Answer]] = []
        while mailbox.connections < 3:
            asked.append(store.submit([create(f"p{len(asked)}")]))
            await asyncio.sleep(0.005)
        answers = await until(asyncio.gather(*asked))
        settle = PromiseSettle(id="t", state=PromiseState.RESOLVED)
        fulfill = TaskFulfill(id="t", version=push.task.version, action=settle)
        ended = await until(store.submit([fulfill]))

    assert all(isinstance(a.outcomes[0], Done) and a.outcomes[0].created for a in answers)
    assert not any(answer.resent for answer in answers), "it left in good order"
    assert isinstance(ended.outcomes[0], Done), "its lease stayed its own"


async def test_a_store_that_is_not_ready_is_passed_over(served: Served) -> None:
    async with serve() as other:
        await other.server.set_ready(False)
        async with members(f"grpc://{other.target},{served.target}", 8):
            assert seats([other, served]) == [0, 8]


async def test_a_store_that_is_not_ready_is_better_than_none(served: Served) -> None:
    await served.server.set_ready(False)

    async with join(f"grpc://127.0.0.1:1,{served.target}"):
        assert seats([served]) == [1]


# When one is gone


class Sinkhole(Proxy):
    """Lets the first connections hang, as the address of a machine does that is gone."""

    def __init__(self, target: str, *, swallows: int) -> None:
        super().__init__(target)
        self._left = swallows
        self.swallowed = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.swallowed < self._left:
            self.swallowed += 1
            self._writers.add(writer)
            await reader.read()
        else:
            await super()._serve(reader, writer)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serve() as served:
        yield served


@pytest.fixture
def in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have addresses tried in the order of the URL."""
    monkeypatch.setattr("random.shuffle", lambda _addresses: None)


@pytest.mark.usefixtures("in_order")
async def test_while_one_store_is_silent_the_next_one_is_tried(served: Served) -> None:
    async with (
        Sinkhole(served.target, swallows=100) as hole,
        join(f"{hole.url},{served.target}") as (store, _),
    ):
        answer = await until(store.submit([create("a")]))

    assert hole.swallowed >= 1, "it was the first; and again if the other one took its time"
    assert isinstance(answer.outcomes[0], Done)


async def test_a_silent_address_is_tried_again_by_another_connection(served: Served) -> None:
    """What stands behind a virtual address may have changed since the first one began."""
    async with Sinkhole(served.target, swallows=1) as hole, join(hole.url) as (store, _):
        answer = await until(store.submit([create("a")]))

    assert hole.swallowed == 1
    assert isinstance(answer.outcomes[0], Done)


async def test_a_search_through_silence_ends_with_a_sentence(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialing, "DIAL_S_MAX", 0.3)
    monkeypatch.setattr(dialing, "STAGGER_S", 0.1)
    async with (
        Sinkhole(served.target, swallows=100) as hole,
        join(hole.url, connected=False) as (store, _),
    ):
        with pytest.raises(errors.ServerUnavailable) as caught:
            await until(store.submit([create("a")], timeout=1.5))
        url = hole.url

    assert url in caught.value.message
    assert hole.swallowed > 2


async def test_a_name_that_nobody_knows_yet_is_looked_up_again(
    served: Served, names: Names
) -> None:
    url = f"grpc://{NAME}:{served.server.address.port}"
    async with join(url, connected=False) as (store, mailbox):
        with pytest.raises(errors.ServerUnavailable, match="cannot be looked up: Name or service"):
            await until(store.submit([create("a")], timeout=0.5))
        names.hosts = HOSTS[:1]
        await until(mailbox.connected.wait())

    assert mailbox.connections == 1


async def test_a_name_that_cannot_be_one_is_told() -> None:
    async with join(f"grpc://{'a' * 64}:1", connected=False) as (store, _):
        with pytest.raises(errors.ServerUnavailable, match="cannot be looked up"):
            await until(store.submit([create("a")], timeout=0.5))


async def test_what_breaks_in_the_search_does_not_end_it(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as a file with authorities that cannot be read for a moment."""
    dial = dialing.Dialer.dial

    async def break_once(*_: object, **__: object) -> None:
        monkeypatch.setattr(dialing.Dialer, "dial", dial)
        raise ZeroDivisionError

    monkeypatch.setattr(dialing.Dialer, "dial", break_once)
    async with join(served.url) as (store, _):
        answer = await until(store.submit([create("a")]))

    assert isinstance(answer.outcomes[0], Done)
    assert "store_not_sought" in caplog.text


async def test_without_a_name_server_the_last_addresses_are_used(
    served: Served, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialing, "LOOKUP_S_MAX", 0.5)
    names.hosts = HOSTS[:1]
    async with Proxy(served.target) as proxy:
        url = proxy.url.replace("127.0.0.1", NAME)
        async with join(url) as (store, mailbox):
            names.silent.clear()
            for breaks in (1, 2):
                proxy.cut()
                await until(mailbox.disconnected.wait())
                await until(mailbox.connected.wait())
                assert mailbox.connections == breaks + 1
            answer = await until(store.submit([create("a")]))
            names.silent.set()

    assert isinstance(answer.outcomes[0], Done)
    assert names.asked == 2, "a question that hangs is not asked again beside itself"


async def test_a_store_that_drains_and_does_not_answer_is_left_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "LEAVE_S_MAX", 0.1)
    async with (
        serve() as one,
        serve() as two,
        join(f"grpc://{one.target},{two.target}") as (store, _),
    ):
        old, new = (one, two) if one.engine.members() else (two, one)
        received = asyncio.Event()
        monkeypatch.setattr(old.engine, "submit", lambda *_, **__: received.set())
        asked = store.submit([create("a")])
        await until(received.wait())

        await until(old.server.stop(grace_s=10))
        answer = await until(asked)
        read = await new.engine.apply(PromiseGet(id="a"))

    assert answer.resent
    assert isinstance(read[0], Done)


async def test_closing_while_a_store_is_being_left_takes_everything_to_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "LEAVE_S_MAX", 0.1)
    async with (
        serve() as one,
        serve() as two,
        join(f"grpc://{one.target},{two.target}") as (store, _),
    ):
        old = one if one.engine.members() else two
        received = asyncio.Event()
        monkeypatch.setattr(old.engine, "submit", lambda *_, **__: received.set())
        sent = store.submit([create("a")])
        await until(received.wait())
        stopping = asyncio.create_task(old.server.stop(grace_s=10))
        while not store._leaving:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0)
        queued = store.submit([create("b")])

        await until(store.close())
        await until(stopping)

    assert [type(each.result().outcomes[0]) for each in (sent, queued)] == [Done, Done]


async def test_operators_turn_to_another_store_when_theirs_goes_away() -> None:
    async with (
        serve() as one,
        serve() as two,
        Admin(f"grpc://{one.target},{two.target}") as admin,
    ):
        for served in (one, two):
            await served.engine.apply(targeted("t", group=served.target))
        [first] = await admin.get_queues()
        asked, other = (one, two) if first.group == one.target else (two, one)
        await asked.server.stop(grace_s=0)
        [second] = await admin.get_queues()

    assert second.group == other.target


async def test_the_members_of_all_stores_are_listed_with_their_stores(names: Names) -> None:
    names.hosts = HOSTS
    async with three() as (url, stores), members(url, 9), Admin(url) as admin:
        found = await admin.list_members()
        here = [{m.pid for m in served.engine.members()} for served in stores]

    assert [m.pid for m in found] == [f"p{n}" for n in range(9)]
    by_store = {m.store: {each.pid for each in found if each.store == m.store} for m in found}
    assert sorted(map(sorted, by_store.values())) == sorted(sorted(pids) for pids in here if pids)


async def test_a_store_that_is_gone_or_silent_is_left_out_of_the_members(names: Names) -> None:
    """The whole patience with each store is waited for: a busy machine may need some of it."""
    async with serve(listen=Address(HOSTS[0], 0)) as served:
        port = served.server.address.port
        with contextlib.closing(socket.create_server((HOSTS[1], port))):
            names.hosts = [HOSTS[0]]
            url = f"grpc://{NAME}:{port}"
            async with join(url, member("a")), Admin(url) as admin:
                names.hosts = HOSTS  # the second never says a word, the third is not there
                assert [m.pid for m in await admin.list_members()] == ["a"]


async def test_nobody_who_could_list_members_is_an_error(names: Names) -> None:
    names.hosts = HOSTS[1:]
    async with Admin(f"grpc://{NAME}:1") as admin:
        with pytest.raises(errors.ServerUnavailable, match=r"127\.0\.0"):
            await admin.list_members()


async def test_a_store_with_two_addresses_has_its_members_once(names: Names) -> None:
    async with serve(listen=Address("0.0.0.0", 0)) as served:
        url = f"grpc://{NAME}:{served.server.address.port}"
        names.hosts = HOSTS
        async with join(url, member("a")), Admin(url) as admin:
            assert [m.pid for m in await admin.list_members()] == ["a"]
