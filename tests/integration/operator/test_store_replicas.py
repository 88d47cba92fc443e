"""A promise store of several processes: each knows only those who are connected to it."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from holdfast.errors import ServerUnavailable
from holdfast.rpc.admin import Admin, ConnectedMember
from holdfast_operator.control import clock_ms
from holdfast_operator.store import QueueWatch, replicas_of
from tests.integration.operator.conftest import Operated
from tests.integration.operator.fake_api import FakeApi
from tests.integration.rpc.support import Served, join, member, serve


def watch(url: str) -> QueueWatch:
    return QueueWatch(Admin, asyncio.Event(), url=url, interval_ms=100, clock_ms=clock_ms)


class Fake(Admin):
    """A replica with the members that it is given."""

    def __init__(
        self,
        members: list[ConnectedMember],
        *,
        before: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        super().__init__("grpc://127.0.0.1:1")
        self._known, self._before = members, before

    async def list_members(self) -> list[ConnectedMember]:
        if self._before is not None:
            await self._before()
        return self._known


def fake_watch(connect: Callable[[str], Admin]) -> QueueWatch:
    url = "grpc://127.0.0.1:1,127.0.0.1:2"
    return QueueWatch(connect, asyncio.Event(), url=url, interval_ms=100, clock_ms=clock_ms)


async def test_the_members_of_every_replica_are_known() -> None:
    async with serve() as one, serve() as two:
        queues = watch(f"{one.url},{two.target}")
        async with join(one.url, member("a")), join(two.url, member("b")):
            found = await queues.list_members()

    assert sorted(each.pid for each in found) == ["a", "b"]


async def test_a_replica_that_is_away_is_passed_over() -> None:
    async with serve() as one:
        queues = watch(f"grpc://127.0.0.1:1,{one.target}")
        async with join(one.url, member("a")):
            found = await queues.list_members()

    assert [each.pid for each in found] == ["a"]


async def test_all_replicas_are_asked_at_once() -> None:
    """One that hangs must not add its time to that of the others."""
    both = asyncio.Barrier(2)
    queues = fake_watch(lambda _url: Fake([], before=both.wait))

    async with asyncio.timeout(5):
        await queues.list_members()


async def test_of_two_answers_about_a_member_that_moved_the_busier_counts() -> None:
    busy = ConnectedMember(pid="a", groups=("g",), credits=1, held=2, connected_at_ms=0)
    answers = {"grpc://127.0.0.1:1": busy, "grpc://127.0.0.1:2": replace(busy, held=0)}

    assert await fake_watch(lambda url: Fake([answers[url]])).list_members() == [busy]


async def test_if_no_replica_answers_nobody_knows() -> None:
    with pytest.raises(ServerUnavailable):
        await watch("grpc://127.0.0.1:1").list_members()


async def test_a_worker_that_is_connected_to_another_replica_has_joined_its_group(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    await api.deployment(replicas=1)
    await api.worker_group(min=1, groups=["g"])

    async with (
        serve() as other,
        join(other.url, member("w-1", groups=("g",))),
        operated(store_url=f"{store.url},{other.target}"),
    ):
        await api.wait_for(lambda: api.reason() is not None)

        assert api.reason() == "Scaled"


async def test_a_name_stands_for_all_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        assert host == "stores"
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, (f"10.0.0.{n}", port)) for n in (2, 1, 2)]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)

    assert await replicas_of("grpc://stores:7") == ["grpc://10.0.0.1:7", "grpc://10.0.0.2:7"]
    assert await replicas_of("grpcs://stores:7") == [
        "grpcs://10.0.0.1:7?server=stores",
        "grpcs://10.0.0.2:7?server=stores",
    ]


async def test_a_name_that_nobody_knows_is_left_to_whoever_connects() -> None:
    assert await replicas_of("grpc://no.such.name.invalid:7") == ["grpc://no.such.name.invalid:7"]
