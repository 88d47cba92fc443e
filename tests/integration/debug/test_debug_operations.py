"""The operations of debug mode over gRPC, on each kind of storage."""

import asyncio
from collections.abc import Callable
from typing import NoReturn

import grpc
import pytest

from holdfast.core.limits import INTEGER_MAX
from holdfast.core.profile import Profile, Search
from holdfast.core.records import PromiseState, TaskState, Value
from holdfast.core.requests import (
    Done,
    Outcome,
    PromiseCreate,
    PromiseGet,
    PromiseRegisterCallback,
    PromiseRegisterListener,
    PromiseSettle,
    Refusal,
    Request,
    TaskAcquire,
    TaskCreate,
    TaskFulfill,
    TaskSuspend,
)
from holdfast.core.search import PromisePage, PromiseSearch, TaskPage, TaskSearch
from holdfast.core.stored import StoredState
from holdfast.errors import InvalidRequest
from holdfast.rpc.calls import Calls
from holdfast.v1 import admin_pb2, promises_pb2
from holdfast.v1.admin_pb2_grpc import AdminStub
from holdfast_store.engine import EngineSettings
from holdfast_store.storage import StorageUnavailable
from tests.integration.debug.conftest import KINDS, DebugStore, serving
from tests.integration.rpc.support import join, member, reason_of
from tests.traces.store_player import StorePlayer
from tests.traces.traces import worked_traces

FAR_MS = 10**12
TARGET = {"resonate:target": "poll://any@g"}
EXTERNAL = {"resonate:external": "true"}


async def at(calls: Calls, at_ms: int, request: Request) -> Outcome:
    return await calls.operate(request, at=str(at_ms))


def targeted(promise_id: str, *, timeout_at_ms: int = FAR_MS) -> PromiseCreate:
    return PromiseCreate(id=promise_id, timeout_at_ms=timeout_at_ms, tags=TARGET)


def external(promise_id: str, *, timeout_at_ms: int = FAR_MS, data: bytes = b"") -> PromiseCreate:
    return PromiseCreate(
        id=promise_id, timeout_at_ms=timeout_at_ms, tags=EXTERNAL, param=Value(data=data)
    )


def promise_states(*outcomes: Outcome) -> list[PromiseState]:
    return [o.promise.state for o in outcomes if isinstance(o, Done) and o.promise is not None]


# Time


async def test_operations_of_different_times_that_arrive_together_keep_their_own(
    store: DebugStore,
) -> None:
    async with StorePlayer(store.url) as player:
        await at(player.calls, 1, external("p", timeout_at_ms=500))
        times = [(index * 7_919) % 1_000 + 1 for index in range(200)]

        seen = await asyncio.gather(*(at(player.calls, t, PromiseGet(id="p")) for t in times))

    expected = [PromiseState.REJECTED_TIMEDOUT if t >= 500 else PromiseState.PENDING for t in times]
    assert promise_states(*seen) == expected


async def test_searches_read_at_the_instant_of_their_caller(store: DebugStore) -> None:
    async with StorePlayer(store.url) as player:
        calls = player.calls
        await at(calls, 1, targeted("p", timeout_at_ms=500))
        pending = PromiseSearch(state=PromiseState.PENDING)
        fulfilled = TaskSearch(state=TaskState.FULFILLED)

        before = await calls.search_promises(pending, at="499")
        after = await calls.search_promises(pending, at="500")
        done_before = await calls.search_tasks(fulfilled, at="499")
        done_after = await calls.search_tasks(fulfilled, at="500")
        by_the_clock = await calls.search_promises(pending)

    assert isinstance(before, PromisePage)
    assert [p.id for p in before.promises] == ["p"]
    assert after == by_the_clock == PromisePage(promises=(), cursor=None)
    assert done_before == TaskPage(tasks=(), cursor=None)
    assert isinstance(done_after, TaskPage)
    assert [t.id for t in done_after.tasks] == ["p"]


@pytest.mark.parametrize(
    "text", ["-1", "1.5", "1e3", "soon", " ", "0x10", str(INTEGER_MAX + 1), "9" * 400]
)
@pytest.mark.parametrize("store", ["memory"], indirect=True)
async def test_a_time_that_is_none_is_refused_and_nothing_happens(
    store: DebugStore, text: str
) -> None:
    async with StorePlayer(store.url) as player:
        made = await player.calls.operate(external("p"), at=text)
        found = await player.calls.search_promises(PromiseSearch(), at=text)
        read = await at(player.calls, INTEGER_MAX, PromiseGet(id="p"))

    for refused in (made, found):
        assert isinstance(refused, Refusal)
        assert (refused.status, refused.code) == (400, "invalid_debug_time")
        assert "holdfast-debug-time must be one number of milliseconds" in refused.message
    assert isinstance(read, Refusal)
    assert read.status == 404


@pytest.mark.parametrize("store", ["memory"], indirect=True)
async def test_two_times_are_none(store: DebugStore) -> None:
    async with grpc.aio.insecure_channel(str(store.server.address)) as channel:
        get = channel.unary_unary(
            "/holdfast.v1.Promises/Get",
            request_serializer=promises_pb2.PromisesGetRequest.SerializeToString,
            response_deserializer=promises_pb2.PromisesGetResponse.FromString,
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await get(
                promises_pb2.PromisesGetRequest(id="p"),
                metadata=(("holdfast-debug-time", "1"), ("holdfast-debug-time", "1")),
            )

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(caught.value) == "invalid_debug_time"


# Ticks


@pytest.mark.parametrize("kind", KINDS)
async def test_a_tick_takes_as_many_transactions_as_it_needs(
    url_of: Callable[[str], str], kind: str
) -> None:
    settings = EngineSettings(due_max=3)
    async with (
        serving(url_of(kind), settings=settings) as store,
        StorePlayer(store.url) as player,
    ):
        for number in range(10):
            await at(player.calls, 1, external(f"p{number}", timeout_at_ms=100))
            dying = TaskCreate(pid="w", ttl_ms=9, action=targeted(f"d{number}", timeout_at_ms=100))
            await at(player.calls, 1, dying)
            wait = PromiseRegisterCallback(awaited=f"p{number}", awaiter=f"d{number}")
            await at(player.calls, 2, TaskSuspend(id=f"d{number}", version=1, actions=(wait,)))
            await at(player.calls, 1, TaskCreate(pid="w", ttl_ms=99, action=targeted(f"l{number}")))

        await player.admin.debug_tick(100)
        state = await player.admin.debug_snap()

    assert state.promise_timeouts.keys() == {f"l{number}" for number in range(10)}
    assert {t.state for i, t in state.tasks.items() if i[0] == "d"} == {TaskState.FULFILLED}
    assert {i for _, i, _ in state.executes} == {f"l{number}" for number in range(10)}
    assert state.task_leases == {}


@pytest.mark.parametrize("store", ["memory"], indirect=True)
async def test_a_tick_wants_one_time(store: DebugStore) -> None:
    async with StorePlayer(store.url) as player:
        tick = player.admin.debug_tick
        codes = []
        for time_ms, at_ms in ((None, None), (-1, None), (INTEGER_MAX + 1, None), (5, 6)):
            with pytest.raises(InvalidRequest) as caught:
                await tick(time_ms, at_ms=at_ms)
            codes.append(caught.value.code)
        await tick(5, at_ms=5)
        await tick(INTEGER_MAX)
        await tick(0)

    assert codes == ["out_of_range", "out_of_range", "out_of_range", "debug_time_mismatch"]


# What is stored


async def everything(calls: Calls) -> None:
    """Store something of every kind, in every state."""
    for number, action in enumerate(("suspend", "fulfill", "keep", "leave")):
        task, value = f"t.{action}", Value(data=b"in", headers={"k": "v"})
        await at(calls, 10, PromiseCreate(id=task, timeout_at_ms=FAR_MS, param=value, tags=TARGET))
        if action != "leave":
            await at(calls, 11, TaskAcquire(id=task, version=0, pid="w", ttl_ms=100 + number))
    for awaited in ("p.one", "p.two", "p.over"):
        await at(calls, 12, external(awaited, data="ü€".encode()))
    await at(calls, 12, PromiseCreate(id="p.internal", timeout_at_ms=20))
    waits = tuple(
        PromiseRegisterCallback(awaited=a, awaiter="t.suspend") for a in ("p.one", "p.two")
    )
    await at(calls, 13, TaskSuspend(id="t.suspend", version=1, actions=waits))
    for awaited in ("p.two", "p.over"):
        await at(calls, 14, PromiseRegisterCallback(awaited=awaited, awaiter="t.keep"))
        await at(calls, 14, PromiseRegisterListener(awaited=awaited, address="poll://uni@h/x"))
    settle = PromiseSettle(id="p.over", state=PromiseState.REJECTED, value=Value(data=b""))
    await at(calls, 15, settle)
    done = PromiseSettle(id="t.fulfill", state=PromiseState.RESOLVED, value=Value(data=b"out"))
    await at(calls, 16, TaskFulfill(id="t.fulfill", version=1, action=done))


async def test_the_same_operations_leave_the_same_snapshot_on_every_storage(
    url_of: Callable[[str], str],
) -> None:
    states: list[StoredState] = []
    for kind in KINDS:
        async with serving(url_of(kind)) as store, StorePlayer(store.url) as player:
            await everything(player.calls)
            schedule = next(t for t in worked_traces() if t.section == "11.10").steps[0]
            await player.handle(schedule.do, schedule.data, at=schedule.at)

            states.append(await player.admin.debug_snap())
            assert await store.debug.snap() == states[-1]

    memory, sqlite, postgres = states
    assert memory == sqlite == postgres
    assert memory.callbacks == {("p.one", "t.suspend"), ("p.two", "t.suspend"), ("p.two", "t.keep")}
    assert memory.listeners == {("p.two", "poll://uni@h/x")}
    assert memory.unblocks == {("poll://uni@h/x", "p.over")}
    assert memory.executes == {("poll://any@g", "t.leave", 0)}
    assert memory.tasks["t.keep"].resumes == {"p.over"}
    assert memory.task_leases == {"t.keep": 113}
    assert memory.task_retries == {"t.leave": 30_010}
    assert memory.promises["p.internal"].state is PromiseState.PENDING
    assert "p.internal" not in memory.promise_timeouts
    assert memory.promise_timeouts["p.one"] == FAR_MS
    assert memory.promises["t.keep"].param == Value(data=b"in", headers={"k": "v"})
    assert memory.promises["p.over"].value == Value(data=b"")
    assert memory.schedule_timeouts == {"nightly": 120_000}
    assert memory.schedules["nightly"].promise_tags == {"resonate:target": "poll://any@w1"}


async def test_a_snapshot_may_be_larger_than_a_message(store: DebugStore) -> None:
    sizes = [300_000] * 20 + [1_000_000] * 5 + [0] * 700
    async with StorePlayer(store.url) as player:
        for index, size in enumerate(sizes):
            await at(player.calls, 1, external(f"p{index:04}", data=b"x" * size))

        state = await player.admin.debug_snap()
        in_process = await store.debug.snap()
        async with grpc.aio.insecure_channel(str(store.server.address)) as channel:
            parts = AdminStub(channel).DebugSnap(admin_pb2.AdminDebugSnapRequest())
            lengths = [part.ByteSize() async for part in parts]

    assert [len(p.param.data or b"") for _, p in sorted(state.promises.items())] == sizes
    assert state == in_process
    assert len(lengths) > 5
    assert max(lengths) < 4 * 1_048_576


async def test_a_snapshot_is_of_one_moment(store: DebugStore) -> None:
    """Two promises are settled in one transaction each time: either both are, or none."""
    async with StorePlayer(store.url) as player:
        for number in range(60):
            await store.engine.apply(external(f"a{number}"), external(f"b{number}"), at_ms=1)

        async def settle_all() -> None:
            for number in range(60):
                resolved = PromiseState.RESOLVED
                pair = [PromiseSettle(id=f"{side}{number}", state=resolved) for side in "ab"]
                await store.engine.apply(*pair, at_ms=2)

        settling = asyncio.create_task(settle_all())
        snapshots = []
        while not settling.done():
            snapshots.append(await player.admin.debug_snap())
        await settling

    for state in snapshots:
        settled = {i for i, p in state.promises.items() if p.state is PromiseState.RESOLVED}
        assert {i[1:] for i in settled if i[0] == "a"} == {i[1:] for i in settled if i[0] == "b"}


# Resets


async def test_a_reset_deletes_everything(store: DebugStore) -> None:
    async with StorePlayer(store.url) as player:
        await everything(player.calls)
        schedule = next(t for t in worked_traces() if t.section == "11.10").steps[0]
        await player.handle(schedule.do, schedule.data, at=schedule.at)

        await player.admin.debug_reset()
        state = await player.admin.debug_snap()
        again = await at(player.calls, 20, external("p.over"))
        queues = await player.admin.get_queues()

    assert state == StoredState()
    assert isinstance(again, Done)
    assert again.created
    assert queues == []


async def test_a_worker_that_is_connected_goes_on_after_a_reset(store: DebugStore) -> None:
    """What it holds is gone, which it learns when it is done; then it gets what is new."""
    worker = member("w", credits=1)
    async with StorePlayer(store.url) as player, join(store.url, worker) as (client, mailbox):
        await player.calls.operate(targeted("old", timeout_at_ms=2**50))
        await player.calls.operate(targeted("waits", timeout_at_ms=2**50))
        held = await mailbox.tasks.get()

        await player.admin.debug_reset()
        done = PromiseSettle(id="old", state=PromiseState.RESOLVED)
        late = TaskFulfill(id=held.task.id, version=held.task.version, action=done)
        answer = await client.submit([late], credits=1)
        await player.calls.operate(targeted("new", timeout_at_ms=2**50))
        push = await mailbox.tasks.get()
        members = await player.admin.list_members()

    assert isinstance(answer.outcomes[0], Refusal)
    assert answer.outcomes[0].status == 404
    assert (push.task.id, push.task.version) == ("new", 1)
    assert [each.pid for each in members] == ["w"]
    assert mailbox.connections == 1


async def test_a_reset_and_writes_of_another_store_do_not_mix(postgres_url: str) -> None:
    """What one transaction creates is there as a whole or not at all."""
    async with serving(postgres_url) as one, serving(postgres_url) as other:

        async def write() -> None:
            for number in range(60):
                pair = (targeted(f"t{number}"), external(f"p{number}"))
                await other.engine.apply(*pair, at_ms=1)

        writing = asyncio.create_task(write())
        while not writing.done():
            await one.debug.reset()
            state = await one.debug.snap()
            assert state.tasks.keys() <= state.promises.keys()
            tasks = {i[1:] for i in state.promises if i[0] == "t"}
            assert tasks == {i[1:] for i in state.promises if i[0] == "p"}
        await writing
        await other.debug.reset()

        assert await one.debug.snap() == StoredState()


@pytest.mark.parametrize("store", ["memory"], indirect=True)
async def test_a_database_that_is_away_is_said_to_be(
    store: DebugStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> NoReturn:
        raise StorageUnavailable("nobody is there")

    monkeypatch.setattr(store.storage, "transaction", away)
    monkeypatch.setattr(store.storage, "reset", away)
    store.debug.snapshot = away
    async with grpc.aio.insecure_channel(str(store.server.address)) as channel:
        stub = AdminStub(channel)
        await stub.DebugStart(admin_pb2.AdminDebugStartRequest())  # pauses in any case
        for call in (
            stub.DebugTick(admin_pb2.AdminDebugTickRequest(time_ms=1)),
            stub.DebugReset(admin_pb2.AdminDebugResetRequest()),
            stub.DebugSnap(admin_pb2.AdminDebugSnapRequest()).read(),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert reason_of(caught.value) == "database_unavailable"


# Debug off


async def test_without_debug_mode_each_of_its_operations_is_refused(
    url_of: Callable[[str], str],
) -> None:
    async with (
        serving(url_of("memory"), debug=False) as store,
        grpc.aio.insecure_channel(str(store.server.address)) as channel,
    ):
        await store.engine.apply(external("p"), at_ms=1)
        stub = AdminStub(channel)
        errors = []
        for call in (
            stub.DebugStart(admin_pb2.AdminDebugStartRequest()),
            stub.DebugStop(admin_pb2.AdminDebugStopRequest()),
            stub.DebugReset(admin_pb2.AdminDebugResetRequest()),
            stub.DebugTick(admin_pb2.AdminDebugTickRequest(time_ms=FAR_MS)),
            stub.DebugSnap(admin_pb2.AdminDebugSnapRequest()).read(),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            errors.append((caught.value.code(), reason_of(caught.value)))
        state = await store.debug.snap()

    assert errors == [(grpc.StatusCode.PERMISSION_DENIED, "debug_off")] * 5
    assert state.promises["p"].state is PromiseState.PENDING


@pytest.mark.parametrize("text", ["1000", "-1", "soon"])
async def test_without_debug_mode_nobody_looks_at_a_time(
    url_of: Callable[[str], str], text: str
) -> None:
    async with (
        serving(url_of("memory"), debug=False) as store,
        StorePlayer(store.url) as player,
    ):
        made = await player.calls.operate(external("p", timeout_at_ms=2**50), at=text)
        found = await player.calls.search_promises(PromiseSearch(), at=text)

    assert isinstance(made, Done)
    assert made.promise is not None
    assert made.promise.created_at_ms > 1_600_000_000_000
    assert isinstance(found, PromisePage)
    assert [p.id for p in found.promises] == ["p"]


async def test_a_store_without_searches_answers_none(url_of: Callable[[str], str]) -> None:
    profile = Profile(search=Search.OFF)
    async with (
        serving(url_of("memory"), profile=profile) as store,
        StorePlayer(store.url) as player,
    ):
        found = [
            await player.calls.search_promises(PromiseSearch()),
            await player.calls.search_tasks(TaskSearch()),
        ]
        read = await at(player.calls, 1, PromiseGet(id="p"))

    assert [(f.status, f.code) for f in found if isinstance(f, Refusal)] == [
        (501, "search_off"),
        (501, "search_off"),
    ]
    assert isinstance(read, Refusal)
    assert read.status == 404
