"""Three real stores on one real PostgreSQL: whatever comes in at one gets to whoever is at another.

The slow poll is an hour away, so that what arrives was told.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from itertools import count
from typing import Any

import grpc
import pytest

from holdfast.core.records import PromiseState, TaskState
from holdfast.core.requests import (
    Done,
    PromiseCreate,
    PromiseGet,
    PromiseRegisterListener,
    PromiseSettle,
    Request,
    TaskFulfill,
    TaskGet,
    TaskRelease,
)
from holdfast.rpc import Admin, RemoteStore
from holdfast.v1 import workers_pb2 as pb
from tests.integration.kill.processes import until
from tests.integration.postgres import query
from tests.integration.replicas.stores import Store, Stores
from tests.integration.rpc.support import FAR_MS, RawStream, join, member, targeted
from tests.integration.rpc.support import until as soon

pytestmark = pytest.mark.timeout(180)

NUMBERS = count()
EXTERNAL = {"resonate:external": "true"}
TIMER = {"resonate:timer": "true"}


@pytest.fixture
def group() -> str:
    """Take a group that no other test knows."""
    return f"g{next(NUMBERS)}"


@contextlib.asynccontextmanager
async def client(store: Store) -> AsyncIterator[RemoteStore]:
    """Connect to one store, for operations alone."""
    who = member(f"client{next(NUMBERS)}", groups=(), credits=0)
    async with join(store.url, who) as (remote, _):
        yield remote


async def done(remote: RemoteStore, request: Request) -> Done:
    """Carry out one operation that must succeed."""
    answer = await soon(remote.submit([request]))
    [outcome] = answer.outcomes
    assert isinstance(outcome, Done), outcome
    return outcome


async def task_state(remote: RemoteStore, task_id: str) -> tuple[TaskState, int]:
    task = (await done(remote, TaskGet(id=task_id))).task
    assert task is not None
    return task.state, task.version


def finished(task_id: str, version: int = 1) -> TaskFulfill:
    settle = PromiseSettle(id=task_id, state=PromiseState.RESOLVED)
    return TaskFulfill(id=task_id, version=version, action=settle)


async def at_rest(remote: RemoteStore) -> None:
    """Return when the store has looked for what waited for this member when it joined.

    What comes now, it learns otherwise.
    """
    for _ in range(2):  # its seat is taken in one batch, and in the next one it is looked for
        await soon(remote.submit([PromiseGet(id="nothing")]))


async def eventually(look: Any, what: str) -> Any:
    return await asyncio.to_thread(until, look, what)


# Tasks


async def test_a_task_that_came_in_elsewhere_is_run_by_the_member_that_is_here(
    stores: Stores, group: str
) -> None:
    a, b, _ = stores.all
    looks = [store.metric("replicas_looks_total") for store in stores.all]
    async with client(a) as one, join(b.url, member(group, groups=(group,))) as (other, mailbox):
        await at_rest(other)
        await done(one, targeted(f"{group}.t", group))
        push = await soon(mailbox.tasks.get())

    assert push.task.id == f"{group}.t"
    assert [store.metric("replicas_looks_total") for store in stores.all] == looks, "it was told"


async def test_a_task_waits_for_a_credit_that_comes_back_elsewhere(
    stores: Stores, group: str
) -> None:
    """The store where the credit comes back has never met the task."""
    a, b, _ = stores.all
    busy = member(group, groups=(group,), credits=1)
    async with client(a) as one, join(b.url, busy) as (worker, mailbox):
        await done(one, targeted(f"{group}.1", group))
        first = await soon(mailbox.tasks.get())
        heard = b.metric("replicas_heard_total")
        await done(one, targeted(f"{group}.2", group))
        await eventually(lambda: b.metric("replicas_heard_total") > heard, "the task was told of")

        await soon(worker.submit([finished(first.task.id)], credits=1))
        second = await soon(mailbox.tasks.get())

    assert second.task.id == f"{group}.2"


async def test_a_task_for_one_process_gets_there_past_others_of_its_group(
    stores: Stores, group: str
) -> None:
    a, b, c = stores.all
    here, there = f"{group}-here", f"{group}-there"
    async with (
        join(a.url, member(here, groups=(group,), credits=10)) as (one, nearer),
        join(b.url, member(there, groups=(group,), credits=10)) as (two, named),
        join(c.url, member(f"{group}-other", groups=(group,), credits=10)) as (_, other),
    ):
        await at_rest(two)
        tags = {"resonate:target": f"poll://uni@{group}/{there}"}
        await done(one, PromiseCreate(id=f"{group}.t", timeout_at_ms=FAR_MS, tags=tags))
        push = await soon(named.tasks.get())

        assert push.task.pid == there
        assert nearer.tasks.empty()
        assert other.tasks.empty()


async def test_what_a_member_gives_up_is_taken_elsewhere(stores: Stores, group: str) -> None:
    a, b, _ = stores.all
    who = member(f"{group}-1", groups=(group,), credits=1)
    async with join(a.url, who) as (one, first):
        await done(one, targeted(f"{group}.t", group))
        await soon(first.tasks.get())
        async with join(b.url, member(f"{group}-2", groups=(group,))) as (two, second):
            await at_rest(two)
            await done(one, TaskRelease(id=f"{group}.t", version=1))
            push = await soon(second.tasks.get())

    assert push.task.version == 2


# Settled promises


async def test_a_promise_that_is_settled_elsewhere_reaches_whoever_waits(
    stores: Stores, group: str
) -> None:
    """Created at one, listened to through another by a member of the third."""
    a, b, c = stores.all
    who = member(group, groups=(group,), credits=0)
    async with client(a) as one, client(b) as two, join(c.url, who) as (_, mailbox):
        for address in (f"poll://uni@{group}/{group}", f"poll://any@{group}"):
            promise_id = f"{group}.{address}"
            await done(one, PromiseCreate(id=promise_id, timeout_at_ms=FAR_MS, tags=EXTERNAL))
            await done(two, PromiseRegisterListener(awaited=promise_id, address=address))
            await done(one, PromiseSettle(id=promise_id, state=PromiseState.RESOLVED))

            settled = await soon(mailbox.settled.get())

            assert settled.id == promise_id
            assert settled.state is PromiseState.RESOLVED


async def test_a_message_prefers_the_process_that_its_address_names_wherever_it_is(
    stores: Stores, group: str
) -> None:
    a, b, c = stores.all
    near, named = (member(f"{group}-{n}", groups=(group,), credits=0) for n in ("near", "named"))
    address = f"poll://any@{group}/{named.pid}"
    async with join(a.url, near) as (one, nearer), client(c) as other:
        async with join(b.url, named) as (_, mailbox):
            for turn in range(3):
                promise_id = f"{group}.{turn}"
                await done(one, PromiseCreate(id=promise_id, timeout_at_ms=FAR_MS, tags=EXTERNAL))
                await done(one, PromiseRegisterListener(awaited=promise_id, address=address))
                await done(one, PromiseSettle(id=promise_id, state=PromiseState.RESOLVED))
                assert (await soon(mailbox.settled.get())).id == promise_id
        assert nearer.settled.empty()

        # Now that it is nowhere, any member of the group has it.
        await done(other, PromiseCreate(id=f"{group}.x", timeout_at_ms=FAR_MS, tags=EXTERNAL))
        await done(other, PromiseRegisterListener(awaited=f"{group}.x", address=address))
        await done(other, PromiseSettle(id=f"{group}.x", state=PromiseState.RESOLVED))
        assert (await soon(nearer.settled.get())).id == f"{group}.x"


# Leases


class Streams:
    """Members by hand, whose streams break as those of killed processes do."""

    def __init__(self) -> None:
        self._channels: list[grpc.aio.Channel] = []

    async def join(self, store: Store, pid: str, group: str, **fields: Any) -> RawStream:
        channel = grpc.aio.insecure_channel(
            store.target, options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self._channels.append(channel)
        stream = RawStream(channel)
        stream.channel = channel  # type: ignore[attr-defined]
        await soon(stream.hello(pid, groups=[group], **{"credits": 1} | fields))
        return stream

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()


async def next_task(stream: RawStream) -> tuple[str, int]:
    """Read up to the next push."""
    async with asyncio.timeout(20):
        while True:
            message = await stream.read()
            for push in message.tasks:
                return push.task.id, push.task.version


async def break_off(stream: RawStream) -> None:
    await stream.channel.close()  # type: ignore[attr-defined]


@pytest.fixture
async def streams() -> AsyncIterator[Streams]:
    streams = Streams()
    yield streams
    await streams.close()


def held(*tasks: tuple[str, int]) -> pb.HeldTasks:
    held = pb.HeldTasks()
    for task_id, version in tasks:
        held.tasks.add(id=task_id, version=version)
    return held


async def lapsed(store: Store, streams: Streams, one: RemoteStore, group: str) -> None:
    """Return when the store has given back what a member lost that broke off just now.

    So it has done that of whoever broke off before.
    """
    marker = f"{group}-marker"
    stream = await streams.join(store, marker, marker)
    await done(one, targeted(f"{marker}.t", marker))
    await next_task(stream)
    await break_off(stream)
    other = await streams.join(store, f"{marker}-2", marker)
    assert await next_task(other) == (f"{marker}.t", 2)


@pytest.mark.parametrize("tells", [True, False])
async def test_who_reconnects_to_another_store_keeps_its_leases(
    stores: Stores, streams: Streams, group: str, *, tells: bool
) -> None:
    """The first store, which does not see it come back, leaves them alone."""
    a, b, _ = stores.all
    async with client(a) as one:
        first = await streams.join(a, "p", group)
        await done(one, targeted(f"{group}.t", group))
        kept = await next_task(first)
        await break_off(first)
        hello = {"held": held(kept)} if tells else {}
        await streams.join(b, "p", group, credits=0, **hello)
        waiting = await streams.join(b, "q", group, credits=5)
        await lapsed(a, streams, one, group)

        assert await task_state(one, kept[0]) == (TaskState.ACQUIRED, 1)
        await done(one, targeted(f"{group}.next", group))
        assert await next_task(waiting) == (f"{group}.next", 1), "and nobody got the other one"


async def test_what_is_not_held_any_more_is_given_back_by_the_store_that_is_joined(
    stores: Stores, streams: Streams, group: str
) -> None:
    """Its push was lost, or the lease was taken at the first store after the member had left."""
    a, b, _ = stores.all
    async with client(a) as one:
        first = await streams.join(a, "p", group, credits=2)
        for name in ("kept", "lost"):
            await done(one, targeted(f"{group}.{name}", group))
            await next_task(first)
        await break_off(first)
        second = await streams.join(b, "p", group, credits=1, held=held((f"{group}.kept", 1)))

        assert await next_task(second) == (f"{group}.lost", 2)
        await lapsed(a, streams, one, group)
        assert await task_state(one, f"{group}.kept") == (TaskState.ACQUIRED, 1)
        assert await task_state(one, f"{group}.lost") == (TaskState.ACQUIRED, 2)


async def test_who_does_not_come_back_loses_its_leases_to_a_member_elsewhere(
    stores: Stores, streams: Streams, group: str
) -> None:
    a, b, _ = stores.all
    async with client(a) as one:
        first = await streams.join(a, "p", group)
        await done(one, targeted(f"{group}.t", group))
        task_id, version = await next_task(first)
        other = await streams.join(b, "q", group)
        await break_off(first)

        assert await next_task(other) == (task_id, version + 1)


async def test_a_lease_that_a_lost_request_took_follows_whoever_asks_again(
    stores: Stores, streams: Streams, group: str
) -> None:
    """The first store carries the request out after the member has joined the second one."""
    a, b, _ = stores.all
    action = PromiseCreate(
        id=f"{group}.t", timeout_at_ms=FAR_MS, tags={"resonate:target": f"poll://any@{group}"}
    )
    async with client(a) as one:
        first = await streams.join(a, "p", group, credits=0)
        second = await streams.join(b, "p", group, credits=0, held=held())
        create = pb.Operation()
        create.task_create.pid = "p"
        create.task_create.ttl_ms = 60_000
        create.task_create.action.id = action.id
        create.task_create.action.timeout_at_ms = FAR_MS
        create.task_create.action.tags.update(action.tags)
        for stream in (first, second):
            await stream.send(chains=[pb.Chain(correlation_id=1, operations=[create])])
            while not (await soon(stream.read())).results:
                pass
        await break_off(first)
        await lapsed(a, streams, one, group)

        assert await task_state(one, action.id) == (TaskState.ACQUIRED, 1)


async def test_a_store_that_starts_takes_no_leases_from_members_of_others(
    stores: Stores, streams: Streams, group: str
) -> None:
    a, b, _ = stores.all
    async with client(a) as one:
        first = await streams.join(a, "p", group)
        await done(one, targeted(f"{group}.t", group))
        kept = await next_task(first)
        b.stop()
        stores.heal()
        other = await streams.join(b, "q", group, credits=5)
        await done(one, targeted(f"{group}.next", group))

        assert await next_task(other) == (f"{group}.next", 1)
        assert await task_state(one, kept[0]) == (TaskState.ACQUIRED, 1)


# Time


async def test_what_a_killed_store_had_armed_is_done_by_the_others(
    stores: Stores, group: str
) -> None:
    """Only the store that is killed was told of the instants, and the slow poll is far away."""
    a, b, _ = stores.all
    who = member(group, groups=(group,), credits=0)
    address = f"poll://uni@{group}/{group}"
    async with join(b.url, who) as (other, mailbox):
        async with client(a) as one:
            now_ms = int(str(query(stores.database_url, NOW)[0][0]))
            for n in range(20):
                promise_id = f"{group}.{n}"
                at_ms = now_ms + 1_500 + n
                await done(one, PromiseCreate(id=promise_id, timeout_at_ms=at_ms, tags=TIMER))
                await done(other, PromiseRegisterListener(awaited=promise_id, address=address))
            a.kill()
        fired = [await soon(mailbox.settled.get()) for _ in range(20)]

    assert {p.id for p in fired} == {f"{group}.{n}" for n in range(20)}
    assert {p.state for p in fired} == {PromiseState.RESOLVED}


NOW = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"


async def test_what_is_due_at_once_is_split_between_the_stores_and_done_once(
    stores: Stores, group: str
) -> None:
    rows = 6_000
    labels = {"kind": "promise_timeout"}
    before = [store.metric("steps_total", **labels) for store in stores.all]
    async with client(stores.all[0]) as one:
        now_ms = int(str(query(stores.database_url, NOW)[0][0]))
        creates = [
            PromiseCreate(id=f"{group}.{n}", timeout_at_ms=now_ms + 8_000, tags=EXTERNAL)
            for n in range(rows)
        ]
        for start in range(0, rows, 500):
            await asyncio.gather(*(one.submit([c]) for c in creates[start : start + 500]))

    pending = f"SELECT 1 FROM promises WHERE id LIKE '{group}.%' AND state = 'pending'"
    await eventually(lambda: not query(stores.database_url, pending), "all were settled")
    done_by = [
        store.metric("steps_total", **labels) - was
        for store, was in zip(stores.all, before, strict=True)
    ]
    assert sum(done_by) == rows
    assert sum(share > 0 for share in done_by) >= 2, done_by


# Without messages


async def test_work_arrives_without_listeners_and_they_come_back(
    stores: Stores, group: str
) -> None:
    a, b, _ = stores.all
    who = member(group, groups=(group,), credits=1_000)
    async with client(a) as one, join(b.url, who) as (_, mailbox):
        for turn in range(3):
            await eventually(stores.cut_listeners, "somebody listened, and was cut off")
            await done(one, targeted(f"{group}.{turn}", group))
            assert (await soon(mailbox.tasks.get())).task.id == f"{group}.{turn}"
        await asyncio.to_thread(stores.heal)
        told = await soon_told(one, mailbox, group, stores.all)

    assert told


async def soon_told(one: RemoteStore, mailbox: Any, group: str, stores: Sequence[Store]) -> bool:
    """Whether a task gets elsewhere by a message alone."""
    looks = [store.metric("replicas_looks_total") for store in stores]
    await done(one, targeted(f"{group}.last", group))
    push = await soon(mailbox.tasks.get())
    return push.task.id == f"{group}.last" and looks == [
        store.metric("replicas_looks_total") for store in stores
    ]


# For operators


async def test_every_store_tells_the_same_numbers(stores: Stores, group: str) -> None:
    a, b, c = stores.all
    async with (
        join(a.url, member(f"{group}-1", groups=(group,), credits=3)) as (one, mailbox),
        join(b.url, member(f"{group}-2", groups=(group,), credits=5)),
    ):
        await numbers_are(stores.all, group, members=2, free_credits=8)
        await done(one, targeted(f"{group}.t", group))
        await soon(mailbox.tasks.get())
        await numbers_are(stores.all, group, members=2, free_credits=7)
        b.kill()
        await numbers_are([a, c], group, members=1, free_credits=2)


async def numbers_are(
    stores: Sequence[Store], group: str, *, members: int, free_credits: int
) -> None:
    """Return when each of the stores tells these numbers."""
    for store in stores:
        async with Admin(store.url) as admin, asyncio.timeout(30):
            while True:
                [queue] = await admin.get_queues([group])
                if (queue.members, queue.free_credits) == (members, free_credits):
                    break
                await asyncio.sleep(0.2)
