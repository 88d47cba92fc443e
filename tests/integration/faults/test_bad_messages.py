"""Whatever comes over the network, the store answers clearly or closes, and serves the others."""

import asyncio
import contextlib
import random
from pathlib import Path
from typing import Any

import grpc
import pytest

from holdfast.v1 import common_pb2 as common
from holdfast.v1 import promises_pb2 as promises
from holdfast.v1 import tasks_pb2 as tasks
from holdfast.v1 import workers_pb2 as pb
from tests.integration.faults.processes import MEBIBYTE, running
from tests.integration.faults.test_silent_members import statuses, task_of, work
from tests.integration.rpc.support import FAR_MS, RawStream, reason_of, until

LARGE = common.Value(data=bytes(MEBIBYTE + 1))
METHODS = (
    "Promises/Get",
    "Promises/Create",
    "Promises/Settle",
    "Tasks/Create",
    "Tasks/Fence",
    "Tasks/Suspend",
    "Tasks/Heartbeat",
    "Schedules/Create",
    "Admin/GetQueues",
    "Admin/WatchQueues",
)


async def test_a_value_beyond_the_limit_is_refused_at_every_door(tmp_path: Path) -> None:
    async with running(tmp_path) as store, store.channel() as channel:
        stream = RawStream(channel)
        welcome = await stream.hello("w", credits=1)
        await stream.send(chains=[pb.Chain(correlation_id=1, operations=[work("t")])])
        version = (await task_of(stream)).task.version
        create = promises.PromisesCreateRequest(id="p", timeout_at_ms=FAR_MS, param=LARGE)
        settle = promises.PromisesSettleRequest(
            id="t", state=common.PROMISE_STATE_RESOLVED, value=LARGE
        )
        doors = (
            pb.Operation(promise_create=create),
            pb.Operation(promise_settle=settle),
            pb.Operation(task_create=tasks.TasksCreateRequest(pid="w", ttl_ms=1, action=create)),
            pb.Operation(
                task_fulfill=tasks.TasksFulfillRequest(id="t", version=version, action=settle)
            ),
        )

        refused = [await statuses(stream, door) for door in doors]
        get = promises.PromisesGetRequest(id="p")
        after = await statuses(stream, pb.Operation(promise_get=get))

    assert welcome.value_bytes_max == MEBIBYTE
    assert refused == [[400]] * len(doors)
    assert after == [404], "nothing was kept of it, and the stream stands"


async def test_a_message_beyond_the_limit_ends_its_stream_and_no_other(tmp_path: Path) -> None:
    async with running(tmp_path) as store, store.channel() as c, store.channel() as d:
        stream, other = RawStream(c), RawStream(d)
        await stream.hello("large")
        await other.hello("other")
        create = promises.PromisesCreateRequest(id="p", timeout_at_ms=FAR_MS, param=LARGE)

        operations = [pb.Operation(promise_create=create)] * 5
        await stream.send(chains=[pb.Chain(correlation_id=1, operations=operations)])
        error = await until(stream.fails())
        get = promises.PromisesGetRequest(id="p")

        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "larger than max" in str(error.details())
        assert await statuses(other, pb.Operation(promise_get=get)) == [404]


async def test_bytes_that_are_no_message_are_the_caller_s_flaw(tmp_path: Path) -> None:
    junk = b"\xff\xff\xff\xff"
    errors: dict[str, grpc.aio.AioRpcError] = {}
    async with running(tmp_path) as store, store.channel() as channel:
        of_any: Any = channel  # its types know no calls of bytes
        for method in METHODS:
            name = f"/holdfast.v1.{method}"
            call = (
                of_any.unary_stream(name)(junk).read()
                if "Watch" in method
                else of_any.unary_unary(name)(junk)
            )
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await until(call)
            errors[method] = caught.value

    assert {each.code() for each in errors.values()} == {grpc.StatusCode.INVALID_ARGUMENT}
    assert {reason_of(each) for each in errors.values()} == {"invalid_message"}


async def test_strangers_on_the_port_disturb_nobody(tmp_path: Path) -> None:
    """Browsers, scanners, and a thousand random bytes, while a member is served."""
    dice = random.Random(7)
    greetings = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + dice.randbytes(1_000),
        b"\x16\x03\x01\x02\x00\x01\x00",
        *(dice.randbytes(1_000) for _ in range(20)),
    ]
    async with running(tmp_path) as store, store.channel() as channel:
        stream = RawStream(channel)
        await stream.hello("w")
        before = store.descriptors()
        host, _, port = store.target.rpartition(":")
        for greeting in greetings:
            reader, writer = await asyncio.open_connection(host, int(port))
            with contextlib.suppress(ConnectionError):  # it may be closed before all is sent
                writer.write(greeting)
                await writer.drain()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await until(reader.read())
        get = promises.PromisesGetRequest(id="p")

        assert await statuses(stream, pb.Operation(promise_get=get)) == [404]
        async with asyncio.timeout(30):
            while store.descriptors() > before + 2:  # noqa: ASYNC110 - the kernel tells nobody
                await asyncio.sleep(0.1)
