"""Throw bytes at a store, at every door, and judge how each of them closes."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import grpc

from holdfast.v1 import promises_pb2, workers_pb2
from tests.fuzz.rpc.bytes_of import filled, spoiled
from tests.fuzz.rpc.doors import Door, doors

ANSWER_S: Final = 20.0
WATCHED_S: Final = 0.05
"""How long a stream of answers is listened to."""

FORBIDDEN: Final = frozenset(
    {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}
)
"""How no call may end, whatever was sent: the flaw is the caller's."""

INSTANTS: Final = ("", "0", "1000", "-1", "1.5", "soon", "1e9", "9" * 30, str(2**53), " 7 ", "0x10")

OUR_OWN_ERROR: Final = "Internal error from Core"
"""What gRPC's client says, instead of what the store said, when a stream ends during a write."""


@dataclass
class Attack:
    """One attacker with its dice."""

    channel: Any
    rng: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    flaws: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Sort the doors."""
        self.unary: Sequence[Door] = [d for d in doors() if not d.streams_in]
        (self.connect,) = [d for d in doors() if d.streams_in]

    async def run(self, *, until_s: float, rounds: int) -> None:
        """Attack until a time of the monotonic clock, and so many rounds at least."""
        done = 0
        while time.monotonic() < until_s or done < rounds:
            door = self.rng.choice(self.unary)
            data = filled(door.request, self.rng).SerializeToString()
            await self.call(door, spoiled(data, self.rng))
            if done % 10 == 0:
                await self.stream(self._messages())
            done += 1

    # Calls

    async def call(self, door: Door, data: bytes) -> None:
        """Send one request of any bytes."""
        try:
            async with asyncio.timeout(ANSWER_S):
                if door.streams_out:
                    await self._watch(door, data)
                else:
                    await self.channel.unary_unary(door.path)(data, metadata=self._metadata())
            self._ended(door, grpc.StatusCode.OK, data)
        except grpc.aio.AioRpcError as error:
            self._ended(door, error.code(), data)
        except TimeoutError:
            self.flaws.append(f"{door.name} answered nothing to {data.hex()}")

    def _metadata(self) -> Sequence[tuple[str, str]]:
        """Name an instant now and then, as tests of a store in debug mode do."""
        if self.rng.random() < 0.7:
            return ()
        return (("holdfast-debug-time", self.rng.choice(INSTANTS)),)

    async def _watch(self, door: Door, data: bytes) -> None:
        call = self.channel.unary_stream(door.path)(data)
        try:
            async with asyncio.timeout(WATCHED_S):
                while await call.read() is not grpc.aio.EOF:
                    pass
        except TimeoutError:
            call.cancel()  # it watches, as it was asked to

    def _ended(self, door: Door, code: grpc.StatusCode, data: bytes) -> None:
        self.counts[code.name] += 1
        if code in FORBIDDEN:
            self.flaws.append(f"{door.name} ended with {code.name} for {data.hex()}")

    # Streams

    def _messages(self) -> list[bytes]:
        rng = self.rng
        hello = workers_pb2.ConnectRequest(
            hello=workers_pb2.Hello(
                pid=f"f{rng.randrange(4)}",
                instance_id="i",
                groups=["w"],
                credits=rng.choice((0, 0, 3)),
                lease_ttl_ms=1_000,
            )
        )
        first = hello.SerializeToString()
        if rng.random() < 0.3:
            first = spoiled(first, rng)
        count = rng.randint(1, 6)
        asked = [filled(self.connect.request, rng) for _ in range(count)]
        for message in asked:
            if rng.random() < 0.9:
                message.ClearField("hello")  # a second one ends the stream as well
        others = [message.SerializeToString() for message in asked]
        # A message that is none ends its stream: few are spoiled, so that some get further.
        return [first, *(spoiled(each, rng) if rng.random() < 0.1 else each for each in others)]

    async def stream(self, messages: Sequence[bytes]) -> None:
        """Open a stream, send messages of any bytes, and hear how it ends."""
        call = self.channel.stream_stream(self.connect.path)()
        writer = asyncio.create_task(self._write(call, messages))
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._read(call)
                await self._stream_ended(call, messages)
        except grpc.aio.AioRpcError:
            await self._stream_ended(call, messages)
        except TimeoutError:
            self.flaws.append(f"Connect did not end for {[each.hex() for each in messages]}")
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            call.cancel()

    async def _write(self, call: Any, messages: Sequence[bytes]) -> None:
        # A write to a stream that has ended meanwhile fails or hangs: how it ended, reading tells.
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            for data in (*messages, _last_words()):
                await call.write(data)
            await call.done_writing()

    async def _read(self, call: Any) -> None:
        while (data := await call.read()) is not grpc.aio.EOF:
            response = workers_pb2.ConnectResponse.FromString(data)
            for chain in response.results:
                for result in chain.results:
                    self.counts[f"result {result.status}"] += 1
                    if result.status == 500:
                        self.flaws.append(f"an operation was answered {result}")

    async def _stream_ended(self, call: Any, messages: Sequence[bytes]) -> None:
        code = await call.code()
        if await call.details() == OUR_OWN_ERROR:
            self.counts["Connect ended while it was written to"] += 1
            return
        self.counts[f"Connect {code.name}"] += 1
        if code in FORBIDDEN:
            sent = [each.hex() for each in messages]
            self.flaws.append(f"Connect ended with {code.name} for {sent}")


def _last_words() -> bytes:
    """Ask for something that is carried out in any case, if the stream stands."""
    create = promises_pb2.PromisesCreateRequest(id="last", timeout_at_ms=2**50)
    operations = [workers_pb2.Operation(promise_create=create)]
    chain = workers_pb2.Chain(correlation_id=2**63, operations=operations)
    return workers_pb2.ConnectRequest(chains=[chain]).SerializeToString()
