"""A client that opens a thousand streams: what they take, and how more are refused."""

import asyncio
from pathlib import Path

import grpc

from holdfast.v1 import promises_pb2 as promises
from holdfast.v1 import workers_pb2 as pb
from tests.integration.faults.processes import MEBIBYTE, running
from tests.integration.rpc.support import FAR_MS, RawStream, chain, reason_of, retry_ms_of, until

STREAMS = 1_000
ALLOWED = 900


async def joined(stream: RawStream, pid: str) -> grpc.aio.AioRpcError | None:
    """Join; answer why not."""
    try:
        await stream.hello(pid)
    except grpc.aio.AioRpcError as error:
        return error
    return None


async def test_a_thousand_streams_of_one_client_take_little_and_more_are_refused(
    tmp_path: Path,
) -> None:
    async with (
        running(tmp_path, members_max=str(ALLOWED)) as store,
        store.channel() as channel,
        store.channel() as other,
    ):
        await other.channel_ready()
        memory, descriptors = store.memory(), store.descriptors()
        streams = [RawStream(channel) for _ in range(STREAMS)]
        hellos = (joined(stream, f"p{number}") for number, stream in enumerate(streams))

        errors = [error for error in await until(asyncio.gather(*hellos), 60) if error is not None]

        assert len(errors) == STREAMS - ALLOWED
        assert {error.code() for error in errors} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert {reason_of(error) for error in errors} == {"too_many_members"}
        assert {retry_ms_of(error) for error in errors} == {100}
        assert store.memory() - memory < 150 * MEBIBYTE
        assert store.descriptors() - descriptors <= 5, "they share one connection"

        # Those that are in are served, and a place that is left is free for somebody else.
        inside = next(stream for stream in streams if not stream.call.done())
        create = promises.PromisesCreateRequest(id="p", timeout_at_ms=FAR_MS)
        await inside.send(chains=[chain(1, pb.Operation(promise_create=create))])
        message = await until(inside.read())
        assert [result.results[0].status for result in message.results] == [200]
        inside.call.cancel()
        await until(_let_in(other), 30)


async def _let_in(channel: grpc.aio.Channel) -> None:
    """Ask until there is room, as the refusal says."""
    number = 0
    while (error := await joined(RawStream(channel), f"late{number}")) is not None:
        number += 1
        pause_ms = retry_ms_of(error)
        assert pause_ms is not None
        await asyncio.sleep(pause_ms / 1_000)  # the pause that the store asks for
