"""A promise store of several processes: each knows only those who are connected to it."""

import asyncio
import socket
from typing import Any

import pytest

from holdfast.errors import ServerUnavailable
from holdfast.rpc.admin import Admin
from holdfast_operator.control import clock_ms
from holdfast_operator.store import QueueWatch, replicas_of
from tests.integration.rpc.support import join, member, serve


def watch(url: str) -> QueueWatch:
    return QueueWatch(Admin, asyncio.Event(), url=url, interval_ms=100, clock_ms=clock_ms)


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


async def test_if_no_replica_answers_nobody_knows() -> None:
    with pytest.raises(ServerUnavailable):
        await watch("grpc://127.0.0.1:1").list_members()


async def test_a_name_stands_for_all_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        assert host == "stores"
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, (f"10.0.0.{n}", port)) for n in (2, 1, 2)]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)

    assert await replicas_of("grpc://stores:7") == ["grpc://10.0.0.1:7", "grpc://10.0.0.2:7"]
    assert await replicas_of("grpcs://stores:7") == ["grpcs://stores:7"]


async def test_a_name_that_nobody_knows_is_left_to_whoever_connects() -> None:
    assert await replicas_of("grpc://no.such.name.invalid:7") == ["grpc://no.such.name.invalid:7"]
