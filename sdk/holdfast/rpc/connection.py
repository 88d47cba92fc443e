"""One stream to a store, from its hello to its end; what is lost with it is not its business."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

import grpc

from holdfast.errors import ResonateError, ServerUnavailable
from holdfast.rpc.dialing import Line
from holdfast.rpc.errors import error_of_call
from holdfast.v1 import workers_pb2

METHOD: Final = "/holdfast.v1.Workers/Connect"
CONNECT_S_MAX: Final = 5.0
"""For the hello and the welcome."""

LEAVE_S_MAX: Final = 2.0
"""How long a store that is being left may take for the answers that are under way: the other one
gets what was not answered. Nothing new is sent meanwhile, heartbeats included."""

BEAT_S: Final = 3.0
"""A silent member says something this often: the store tells by it whether a stream that ended
was closed by its peer, so that leases may be given to others at once, or cut on the way."""

SLICE: Final = 32
"""Parts of a message that are dealt with in one turn of the event loop."""

_BEAT: Final = b""  # a message without any field


class Broken(Exception):
    """A stream ended, or could not be had, for a reason."""

    def __init__(self, error: ResonateError) -> None:
        super().__init__(error.message)
        self.error = error


class Source(Protocol):
    """Where a stream's messages come from and go to. Calls must return at once."""

    def next_message(self) -> bytes | None:
        """Take the next message to send; `None` when there is nothing to send now."""

    def may_finish(self) -> bool:
        """Whether the stream is to be closed now from this side, in good order."""

    def receive(self, message: workers_pb2.ConnectResponse) -> Iterator[None]:
        """Take a message from the store, one of its parts for each step of the iterator."""


class Connection:
    """A stream that has been welcomed."""

    def __init__(self, line: Line, source: Source) -> None:
        self.address = line.address
        self._source = source
        self._channel = line.channel
        self._call: Any = None  # a StreamStreamCall; grpc's types know no bytes for requests
        self._wake = asyncio.Event()
        self._left = asyncio.Event()
        self._spoke = False
        self._beat_due = False

    async def open(
        self, hello: bytes, metadata: tuple[tuple[str, str], ...]
    ) -> workers_pb2.ConnectResponse:
        """Introduce the member; answer the message that welcomes it, or raise `Broken`."""
        connect = self._channel.stream_stream(
            METHOD,
            request_serializer=_unchanged,
            response_deserializer=workers_pb2.ConnectResponse.FromString,
        )
        self._call = connect(metadata=metadata)
        try:
            async with asyncio.timeout(CONNECT_S_MAX):
                await _quietly(self._call.write, hello)
                message = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise self._broken(error) from error
        except TimeoutError as error:
            raise Broken(
                ServerUnavailable(
                    f"the store at {self.address} did not answer within {CONNECT_S_MAX:.0f} s"
                )
            ) from error
        if message is grpc.aio.EOF or not message.HasField("welcome"):
            raise Broken(ServerUnavailable(f"{self.address} did not welcome this process"))
        assert isinstance(message, workers_pb2.ConnectResponse)
        return message

    async def run(self) -> None:
        """Send and receive until the store ends the stream; raise `Broken` unless in good order."""
        self._wake.set()
        reader = asyncio.create_task(self._read(), name="store-reader")
        running = {
            reader,
            asyncio.create_task(self._write(), name="store-writer"),
            asyncio.create_task(self._beat(), name="store-beat"),
            asyncio.create_task(self._cut_when_left(), name="store-cut"),
        }
        waited: set[asyncio.Task[None]] = running
        try:
            while not reader.done():
                # A stream whose writer died of a defect would look alive for ever, and say nothing.
                ended, waited = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    task.result()
        except grpc.aio.AioRpcError as error:
            raise self._broken(error) from error
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _read(self) -> None:
        while (message := await self._call.read()) is not grpc.aio.EOF:
            for delivered, _ in enumerate(self._source.receive(message), start=1):
                if delivered % SLICE == 0:
                    # What the first ones cause goes out while the rest is dealt with: without
                    # a pause the store would have nothing to do until all of it is through.
                    await asyncio.sleep(0)

    def wake(self) -> None:
        """Tell that there is something to send, or that the stream may be finished."""
        self._wake.set()

    def leave(self) -> None:
        """Have the stream end soon, in good order if the store still answers."""
        self._left.set()
        self._wake.set()

    async def _cut_when_left(self) -> None:
        await self._left.wait()
        await asyncio.sleep(LEAVE_S_MAX)
        raise Broken(
            ServerUnavailable(f"the store at {self.address} did not answer what was under way")
        )

    async def close(self) -> None:
        """Cut the stream if it still runs, and the connection."""
        if self._call is not None:
            self._call.cancel()
        await self._channel.close()

    async def _write(self) -> None:
        """Send what there is. Everything that came up in one turn of the loop is one message."""
        source = self._source
        while not source.may_finish():
            await self._wake.wait()
            self._wake.clear()
            while (message := source.next_message()) is not None:
                self._spoke = True
                await _quietly(self._call.write, message)
            if self._beat_due:
                self._beat_due = False
                await _quietly(self._call.write, _BEAT)
        await _quietly(self._call.done_writing)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S / 2)
            if not self._spoke:
                self._beat_due = True
                self._wake.set()
            self._spoke = False

    def _broken(self, error: grpc.aio.AioRpcError) -> Broken:
        return Broken(error_of_call(error, where=str(self.address)))


def _unchanged(data: bytes) -> bytes:
    return data


async def _quietly(send: Callable[..., Any], *arguments: bytes) -> None:
    """Send on a stream that may have ended: the reader learns why, and it is the one to tell."""
    try:
        await send(*arguments)
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        return
