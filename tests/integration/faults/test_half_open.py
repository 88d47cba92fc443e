"""Connections that carry nothing any more and are not closed: both ends find out in time.

Each end pings after 10 s of silence and gives up 10 s later. The three cases run side by side, as
their waiting is all that they take.
"""

import asyncio
from pathlib import Path

import pytest

from holdfast.core.requests import Done, PromiseGet
from holdfast.rpc import Admin, RemoteStore
from tests.integration.faults.processes import Store, Valves, running
from tests.integration.rpc.support import join, member, targeted, until

NOTICED_S = 45.0
"""Twice what is promised, for a machine that has other things to do."""


async def half_opened(store: Store, name: str, *, to_store: bool, to_client: bool) -> None:
    """Stop directions under a member with a task; see both ends notice, and work go on."""
    async with Valves(store.target) as valves:
        here = member(name, groups=(name,), credits=1, lease_ttl_ms=600_000)
        async with join(f"grpc://{valves.target}", here) as (client, mailbox):
            await client.submit([targeted(f"task-{name}", group=name)])
            await until(mailbox.tasks.get())
            since_ms = await _seated_at_ms(store, name)
            for valve, is_stopped in ((valves.to_store, to_store), (valves.to_client, to_client)):
                if is_stopped:
                    valve.clear()

            await until(mailbox.disconnected.wait(), NOTICED_S)
            await until(_is_gone(store, name, since_ms), NOTICED_S)
            # A new connection comes through the same proxy: let it.
            valves.cut()
            valves.to_store.set()
            valves.to_client.set()
            await until(mailbox.connected.wait(), 30)
            answer = await until(client.submit([PromiseGet(id=f"task-{name}")]), 30)

    assert isinstance(answer.outcomes[0], Done)


async def _seated_at_ms(store: Store, pid: str) -> int:
    async with Admin(store.url) as admin:
        (at_ms,) = [m.connected_at_ms for m in await admin.list_members() if m.pid == pid]
    return at_ms


async def _is_gone(store: Store, pid: str, since_ms: int) -> None:
    """Wait until the store has given the stream up, be it that the member has a new one."""
    async with Admin(store.url) as admin:
        while await _sits(admin, pid, since_ms):  # noqa: ASYNC110 - nobody tells when one left
            await asyncio.sleep(0.1)


async def _sits(admin: Admin, pid: str, since_ms: int) -> bool:
    members = await admin.list_members()
    return any(each.pid == pid and each.connected_at_ms == since_ms for each in members)


async def test_both_ends_notice_a_connection_that_is_half_open(tmp_path: Path) -> None:
    async with running(tmp_path) as store:
        await asyncio.gather(
            half_opened(store, "deaf", to_store=False, to_client=True),
            half_opened(store, "mute", to_store=True, to_client=False),
            half_opened(store, "both", to_store=True, to_client=True),
        )


@pytest.mark.parametrize("lost", ["answer", "request"])
async def test_an_operation_whose_answer_was_lost_is_done_once(tmp_path: Path, lost: str) -> None:
    """The library sends it again on its next connection, and learns what became of it."""
    async with (
        running(tmp_path) as store,
        Valves(store.target) as valves,
        join(f"grpc://{valves.target}", member("a", groups=())) as (client, mailbox),
        join(store.url, member("b", groups=())) as (beside, _),
    ):
        (valves.to_client if lost == "answer" else valves.to_store).clear()
        asked = client.submit([targeted("p")])
        if lost == "answer":
            await until(_exists(beside, "p"), 30)
        valves.cut()
        valves.to_client.set()
        valves.to_store.set()

        answer = await until(asked, 30)
        assert mailbox.connections >= 2

    (outcome,) = answer.outcomes
    assert isinstance(outcome, Done)
    assert outcome.promise is not None
    assert outcome.promise.id == "p"
    assert answer.resent
    assert outcome.created is (lost == "request")


async def _exists(client: RemoteStore, promise_id: str) -> None:
    while True:
        answer = await client.submit([PromiseGet(id=promise_id)])
        if isinstance(answer.outcomes[0], Done):
            return
