"""A store behind real gRPC in this process, its clients, and a proxy that breaks connections."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import grpc
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from holdfast.core.membership import Member, TaskOffer, TaskPush
from holdfast.core.profile import DEFAULT_PROFILE, Profile
from holdfast.core.records import Promise
from holdfast.core.requests import PromiseCreate
from holdfast.rpc import RemoteStore
from holdfast.v1 import workers_pb2 as pb
from holdfast_chassis.listen import Address
from holdfast_store.engine import Engine, EngineSettings
from holdfast_store.loops.timers import Timers
from holdfast_store.memory.storage import MemoryStorage
from holdfast_store.metrics import Metrics
from holdfast_store.rpc.guard import Guard
from holdfast_store.rpc.server import RpcServer, ServerLimits
from holdfast_store.rpc.stream import StreamLimits

FAR_MS = 2**50
"""A deadline that no test reaches."""

LOOPBACK = Address("127.0.0.1", 0)


@dataclass
class Served:
    """A running store."""

    engine: Engine
    server: RpcServer
    metrics: Metrics

    @property
    def target(self) -> str:
        """Where gRPC is served."""
        return str(self.server.address)

    @property
    def url(self) -> str:
        """The same for the library."""
        return f"grpc://{self.target}"

    def channel(self) -> grpc.aio.Channel:
        """Open a plain gRPC client's channel."""
        return grpc.aio.insecure_channel(self.target)


@contextlib.asynccontextmanager
async def serve(
    *,
    listen: Address = LOOPBACK,
    engine_settings: EngineSettings | None = None,
    stream_limits: StreamLimits | None = None,
    profile: Profile = DEFAULT_PROFILE,
    members_max: int = 100,
    guard: Guard | None = None,
) -> AsyncIterator[Served]:
    """Run engine, timers and gRPC server on memory."""
    storage = MemoryStorage()
    await storage.open()
    metrics = Metrics()
    engine = Engine(storage, profile=profile, settings=engine_settings, observer=metrics)
    timers = Timers(engine, storage, observer=metrics, slow_poll_s=30)
    server = RpcServer(
        engine,
        store_version="9.9.9",
        limits=ServerLimits(
            value_bytes_max=profile.value_bytes_max,
            members_max=members_max,
            stream=stream_limits or StreamLimits(),
        ),
        stopwatch=metrics,
        guard=guard,
    )
    await engine.start()
    sweeping = asyncio.create_task(timers.run())
    await server.start(listen)
    await server.set_ready(True)
    try:
        yield Served(engine, server, metrics)
    finally:
        await server.stop(grace_s=0)
        sweeping.cancel()
        await asyncio.gather(sweeping, return_exceptions=True)
        await engine.stop(grace_s=1)
        await storage.close()


@dataclass
class Mailbox:
    """A receiver that keeps what it is told, and that a test can wait on."""

    tasks: "asyncio.Queue[TaskPush]" = field(default_factory=asyncio.Queue)
    offers: "asyncio.Queue[TaskOffer]" = field(default_factory=asyncio.Queue)
    settled: "asyncio.Queue[Promise]" = field(default_factory=asyncio.Queue)
    connected: asyncio.Event = field(default_factory=asyncio.Event)
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)
    connections: int = 0

    def on_task(self, push: TaskPush) -> None:
        self.tasks.put_nowait(push)

    def on_offer(self, offer: TaskOffer) -> None:
        self.offers.put_nowait(offer)

    def on_settled(self, promise: Promise) -> None:
        self.settled.put_nowait(promise)

    def on_connected(self) -> None:
        self.connections += 1
        self.disconnected.clear()
        self.connected.set()

    def on_disconnected(self) -> None:
        self.connected.clear()
        self.disconnected.set()


def member(pid: str = "p", **fields: Any) -> Member:
    """Describe a member; a group and two credits unless told otherwise."""
    given: dict[str, Any] = {"pid": pid, "instance": f"{pid}-1", "groups": ("g",), "credits": 2}
    return Member(**given | fields)


@contextlib.asynccontextmanager
async def join(
    url: str, who: Member | None = None, *, connected: bool = True, **options: Any
) -> AsyncIterator[tuple[RemoteStore, Mailbox]]:
    """Run a remote store of the library, connected unless told otherwise."""
    store, mailbox = RemoteStore(url, **options), Mailbox()
    await store.start(member() if who is None else who, mailbox)
    try:
        if connected:
            await mailbox.connected.wait()
        yield store, mailbox
    finally:
        await store.close()


def targeted(promise_id: str, group: str = "g") -> PromiseCreate:
    """Make a request for a promise with a task."""
    return PromiseCreate(
        id=promise_id, timeout_at_ms=FAR_MS, tags={"resonate:target": f"poll://any@{group}"}
    )


class RawStream:
    """`Workers.Connect` by hand: what a client in another language would do."""

    def __init__(
        self, channel: grpc.aio.Channel, *, metadata: tuple[tuple[str, str], ...] = ()
    ) -> None:
        connect = channel.stream_stream(
            "/holdfast.v1.Workers/Connect",
            request_serializer=pb.ConnectRequest.SerializeToString,
            response_deserializer=pb.ConnectResponse.FromString,
        )
        self.call = connect(metadata=metadata)

    async def hello(self, pid: str = "raw", **fields: Any) -> pb.Welcome:
        """Introduce a member and read the welcome."""
        given: dict[str, Any] = {"pid": pid, "instance_id": f"{pid}-1", "groups": ["g"]}
        hello = pb.Hello(**given | {"lease_ttl_ms": 60_000} | fields)
        await self.send(hello=hello)
        first = await self.read()
        assert first.HasField("welcome")
        return first.welcome

    async def send(self, **fields: Any) -> None:
        """Send one message."""
        await self.call.write(pb.ConnectRequest(**fields))

    async def read(self) -> pb.ConnectResponse:
        """Read one message; fail at the end of the stream."""
        message = await self.call.read()
        assert isinstance(message, pb.ConnectResponse)
        return message

    async def fails(self) -> grpc.aio.AioRpcError:
        """Read to the end and answer the error that the store ended the stream with."""
        try:
            while await self.call.read() is not grpc.aio.EOF:
                pass
        except grpc.aio.AioRpcError as error:
            return error
        raise AssertionError("the stream ended without an error")


def chain(correlation_id: int, *operations: pb.Operation) -> pb.Chain:
    """Make a chain."""
    return pb.Chain(correlation_id=correlation_id, operations=operations)


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """Find the stable code inside an error; its domain and message are checked as well."""
    status = rich_status_of(error)
    info = ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    assert info.domain == "holdfast.dev"
    assert status.message == error.details()
    return str(info.reason)


def retry_ms_of(error: grpc.aio.AioRpcError) -> int | None:
    """Find after how long an error says to try again."""
    info = RetryInfo()
    for detail in rich_status_of(error).details:
        if detail.Unpack(info):
            return int(info.retry_delay.ToMilliseconds())
    return None


def rich_status_of(error: grpc.aio.AioRpcError) -> Any:
    """Find the rich status of an error."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            return Status.FromString(value)
    raise AssertionError(f"no rich status in {error!r}")


class Proxy:
    """A TCP proxy that can break what runs through it."""

    def __init__(self, target: str) -> None:
        self._host, _, self._port = target.rpartition(":")
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()
        self.accepting = True
        self.holds_something = asyncio.Event()

    @property
    def url(self) -> str:
        """Where the proxy listens."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"grpc://{host}:{port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self._open.set()
        self.cut()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def hold(self) -> None:
        """Let nothing through, in either direction, until `let_go`."""
        self._open.clear()

    def let_go(self) -> None:
        """Let everything through again, what was held first."""
        self._open.set()

    def cut(self) -> None:
        """Close every connection as a killed process does; what was held is lost."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.accepting:
            writer.transport.abort()
            return
        inner_reader, inner_writer = await asyncio.open_connection(self._host, int(self._port))
        self._writers |= {writer, inner_writer}
        for source, sink in ((reader, inner_writer), (inner_reader, writer)):
            pump = asyncio.create_task(self._pump(source, sink))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                if not self._open.is_set():
                    self.holds_something.set()
                    await self._open.wait()
                sink.write(data)
                await sink.drain()
        except OSError:
            pass  # cut
        finally:
            sink.close()
            self._writers.discard(sink)


async def until(condition: "asyncio.Future[Any] | Any", seconds: float = 10.0) -> Any:
    """Await something that must happen, with a bound that only a broken run reaches."""
    async with asyncio.timeout(seconds):
        return await condition


def ids(pushes: Sequence[Any]) -> list[str]:
    """Ids of tasks in a message."""
    return [push.task.id for push in pushes]
