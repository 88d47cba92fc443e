"""More than a store can commit: it refuses clearly, and its memory has a bound."""

import asyncio
from pathlib import Path
from typing import Any

import grpc

from holdfast.v1 import common_pb2 as common
from holdfast.v1 import promises_pb2 as promises
from holdfast.v1 import workers_pb2 as pb
from tests.integration.faults.processes import MEBIBYTE, running
from tests.integration.rpc.support import (
    FAR_MS,
    RawStream,
    chain,
    reason_of,
    retry_ms_of,
    until,
)

QUEUE_BYTES = 16 * MEBIBYTE
VALUE = bytes(MEBIBYTE // 4)
STREAMS = 8
CHAINS = 200
"""Of each stream: 400 MiB in all."""
GROWTH_MAX = 180 * MEBIBYTE
"""Far above what a store takes with this bound, and far below what is sent."""


def create(name: str) -> promises.PromisesCreateRequest:
    param = common.Value(data=VALUE)
    return promises.PromisesCreateRequest(id=name, timeout_at_ms=FAR_MS, param=param)


async def flood(channel: grpc.aio.Channel, name: str, told: "asyncio.Queue[int]") -> list[int]:
    """Send without waiting; answer the status of each chain, telling each as it comes."""
    stream = RawStream(channel)
    await stream.hello(name, brief=True)

    async def send() -> None:
        for number in range(CHAINS):
            operation = pb.Operation(promise_create=create(f"{name}.{number}"))
            await stream.send(chains=[chain(number, operation)])

    sending = asyncio.create_task(send())
    statuses: list[int] = []
    while len(statuses) < CHAINS:
        for result in (await stream.read()).results:
            statuses.append(result.results[0].status)
            told.put_nowait(statuses[-1])
    await sending
    return statuses


async def test_values_that_come_faster_than_they_are_committed_are_refused_and_take_little_memory(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, queue_bytes_max=str(QUEUE_BYTES)) as store:
        before = store.memory()
        told: asyncio.Queue[int] = asyncio.Queue()
        with store.held_up():
            channels = [store.channel() for _ in range(STREAMS)]
            floods = [
                asyncio.create_task(flood(channel, f"s{number}", told))
                for number, channel in enumerate(channels)
            ]
            # What fits waits for its commit; all the rest is answered while nothing commits.
            fits = 2 * QUEUE_BYTES // len(VALUE)
            for _ in range(STREAMS * CHAINS - fits):
                assert await until(told.get(), 60) == 429
        statuses = [status for each in await until(asyncio.gather(*floods), 60) for status in each]
        grown = store.memory("VmHWM") - before
        for channel in channels:
            await channel.close()

    assert set(statuses) == {200, 429}
    assert statuses.count(200) >= QUEUE_BYTES // len(VALUE) // 2
    assert grown < GROWTH_MAX, f"grew by {grown // MEBIBYTE} MiB"


async def test_calls_that_come_faster_than_they_are_committed_are_told_when_to_come_back(
    tmp_path: Path,
) -> None:
    count = 300
    async with (
        running(tmp_path, queue_bytes_max=str(QUEUE_BYTES)) as store,
        store.channel() as channel,
    ):
        call: Any = channel.unary_unary(
            "/holdfast.v1.Promises/Create",
            request_serializer=promises.PromisesCreateRequest.SerializeToString,
        )
        with store.held_up():
            calls = [asyncio.ensure_future(call(create(f"p{number}"))) for number in range(count)]
            done, _ = await until(asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED), 60)
        answers = await until(asyncio.gather(*calls, return_exceptions=True), 60)

    refused = [each for each in answers if isinstance(each, grpc.aio.AioRpcError)]
    assert all(isinstance(each.exception(), grpc.aio.AioRpcError) for each in done)
    assert 0 < len(refused) < count
    assert {each.code() for each in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert {reason_of(each) for each in refused} == {"overloaded"}
    assert {retry_ms_of(each) for each in refused} == {100}


async def test_one_stream_with_a_full_share_leaves_room_to_another(tmp_path: Path) -> None:
    async with (
        running(tmp_path, queue_bytes_max=str(QUEUE_BYTES)) as store,
        store.channel() as greedy,
        store.channel() as modest,
    ):
        told: asyncio.Queue[int] = asyncio.Queue()
        other = RawStream(modest)
        await other.hello("modest", brief=True)
        with store.held_up():
            flooding = asyncio.create_task(flood(greedy, "greedy", told))
            assert await until(told.get(), 30) == 429
            operation = pb.Operation(promise_create=create("mine"))
            await other.send(chains=[chain(1, operation)])
        message = await until(other.read(), 30)
        await until(flooding, 60)

    assert [result.results[0].status for result in message.results] == [200]


async def test_a_member_that_reads_nothing_is_sent_away_and_takes_little_memory(
    tmp_path: Path,
) -> None:
    buffer = 8 * MEBIBYTE
    async with (
        running(tmp_path, stream_buffer_bytes_max=str(buffer)) as store,
        store.channel() as channel,
    ):
        stream = RawStream(channel)
        await stream.hello("slow")
        await stream.send(chains=[chain(0, pb.Operation(promise_create=create("p")))])
        await until(stream.read())
        before = store.memory()
        get = pb.Operation(promise_get=promises.PromisesGetRequest(id="p"))

        for number in range(2_000):  # answers of 500 MiB, of which nobody reads one
            if stream.call.done():
                break
            await stream.send(chains=[chain(number, get)])
        error = await until(stream.fails(), 60)
        grown = store.memory("VmHWM") - before

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert reason_of(error) == "slow_consumer"
    assert grown < GROWTH_MAX, f"grew by {grown // MEBIBYTE} MiB"
