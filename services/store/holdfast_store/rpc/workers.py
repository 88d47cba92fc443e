"""`Workers.Connect`: from the first message of a stream to its last."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError

from holdfast.core.membership import Member
from holdfast.core.requests import Refusal
from holdfast.v1 import workers_pb2
from holdfast_chassis.authorization import Grant
from holdfast_chassis.logs import get_logger
from holdfast_store.engine import Engine
from holdfast_store.members import BadMember
from holdfast_store.rpc.authorizing import bounded_member
from holdfast_store.rpc.errors import Context, abort
from holdfast_store.rpc.guard import TOKEN_EXPIRED, current_grant
from holdfast_store.rpc.requests import Malformed, member_of
from holdfast_store.rpc.standing import STOPPING
from holdfast_store.rpc.stream import MemberStream, StreamLimits
from holdfast_store.rpc.unary import Stopwatch, service

log = get_logger(__name__)

HELLO_S_MAX: Final = 10.0
"""A stream that does not introduce itself is closed; it would hold a place for nothing."""

RENEWAL_S: Final = 30.0
"""How long before its token expires a member is asked to begin another stream, with another token
if it has one by then."""


class Workers:
    """Serves the streams of all members, and knows them so that it can drain them."""

    def __init__(
        self,
        engine: Engine,
        *,
        store_version: str,
        value_bytes_max: int,
        members_max: int,
        limits: StreamLimits,
        stopwatch: Stopwatch,
        remaining_s: Callable[[Grant], float] | None = None,
    ) -> None:
        """Where tokens are asked for, `remaining_s` tells how long one still counts."""
        self._engine = engine
        self._remaining_s = remaining_s
        self._store_version = store_version
        self._value_bytes_max = value_bytes_max
        self._members_max = members_max
        self._limits = limits
        self._stopwatch = stopwatch
        self._streams: set[MemberStream] = set()
        self._draining = False
        self.are_admitted = True
        """Whether members may join: not before the database has told the time, by which
        connections have their age."""
        self._empty = asyncio.Event()
        self._empty.set()

    def handler(self) -> grpc.GenericRpcHandler:
        """Serve the service; responses are bytes already."""
        return service(
            "holdfast.v1.Workers",
            {
                "Connect": grpc.stream_stream_rpc_method_handler(
                    self.connect, workers_pb2.ConnectRequest.FromString, None
                )
            },
        )

    # Draining

    def drain(self) -> None:
        """Refuse new streams and ask the members of the others to leave."""
        self._draining = True
        for stream in self._streams:
            stream.drain()

    async def gone(self) -> None:
        """Return when no stream is left."""
        await self._empty.wait()

    def end_all(self) -> None:
        """End the streams whose members did not leave when they were asked."""
        for stream in self._streams:
            stream.end(STOPPING)

    # A stream

    async def connect(self, _requests: object, context: Context) -> None:
        """Join the sender of the stream as a member until one of both ends it."""
        message, member = await self._introduced(context)
        if self._draining:
            await abort(context, STOPPING)
        if not self.are_admitted:
            await abort(context, _STARTING)
        if len(self._streams) >= self._members_max:
            await abort(context, _too_many_members(self._members_max))
        grant = current_grant()
        if grant is not None:
            bounded = bounded_member(member, grant)
            if isinstance(bounded, Refusal):
                await abort(context, bounded)
            member = bounded
        stream = MemberStream(
            self._engine,
            limits=self._limits,
            stopwatch=self._stopwatch,
            brief=message.hello.brief,
            grant=grant,
            prefix=member.prefix,
        )
        try:
            stream.joined(self._engine.connect(member, stream))
        except BadMember as flaw:
            await abort(context, Refusal(status=400, code=flaw.code, message=flaw.message))
        self._streams.add(stream)
        self._empty.clear()
        log.info("member_joined", pid=member.pid, groups=member.groups, credits=member.credits)
        timers = self._end_with_token(stream, grant)
        try:
            await _serve(stream, message, self._welcome(), context)
        finally:
            for timer in timers:
                timer.cancel()
            self._streams.discard(stream)
            if not self._streams:
                self._empty.set()
            log.info("member_left", pid=member.pid)
        if stream.ended.done():
            refusal = stream.ended.result()
            log.warning("member_sent_away", pid=member.pid, code=refusal.code)
            # A peer that reads nothing does not get to see it, and keeps no more than this call.
            await abort(context, refusal)

    def _end_with_token(
        self, stream: MemberStream, grant: Grant | None
    ) -> list[asyncio.TimerHandle]:
        """Ask a member to come back with another token in time, and end its stream at the latest.

        One that joins with so little time left was asked already, and has no other token.
        """
        if grant is None or self._remaining_s is None:
            return []
        loop = asyncio.get_running_loop()
        left_s = self._remaining_s(grant)
        timers = [loop.call_later(left_s, stream.end, TOKEN_EXPIRED)]
        if left_s > RENEWAL_S:
            timers.append(loop.call_later(left_s - RENEWAL_S, stream.drain))
        return timers

    async def _introduced(self, context: Context) -> tuple[workers_pb2.ConnectRequest, Member]:
        message: Any = grpc.aio.EOF
        try:
            async with asyncio.timeout(HELLO_S_MAX):
                message = await context.read()
        except TimeoutError:
            pass  # refused below, like a stream that ended without a word
        except DecodeError:
            await abort(context, _NO_MESSAGE)
        if message is grpc.aio.EOF or not message.HasField("hello"):
            await abort(
                context,
                Refusal(
                    status=400,
                    code="hello_required",
                    message="the first message of a stream must hold `hello`, within"
                    f" {HELLO_S_MAX:.0f} seconds",
                ),
            )
        try:
            return message, member_of(message.hello)
        except Malformed as flaw:
            return await abort(context, flaw.refusal)

    def _welcome(self) -> bytes:
        welcome = workers_pb2.Welcome(
            store_version=self._store_version,
            now_ms=self._engine.now_ms(),
            value_bytes_max=self._value_bytes_max,
        )
        return workers_pb2.ConnectResponse(welcome=welcome).SerializeToString()


async def _serve(
    stream: MemberStream, first: workers_pb2.ConnectRequest, welcome: bytes, context: Context
) -> None:
    """Run a stream that has joined until the member leaves, is gone, or is to be sent away."""
    stream.receive(first)
    tasks: set[asyncio.Future[Any]] = set()
    peer_closed = False
    try:
        # Before anything else can end the stream. gRPC sends no status behind a first write that
        # was cancelled: the member would wait for ever for the end of a stream that is no more.
        await context.write(welcome)
        reader = asyncio.create_task(_read(stream, context), name="member-reader")
        writer = asyncio.create_task(stream.write_to(context), name="member-writer")
        tasks |= {reader, writer}
        waited = tasks | {stream.ended}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if reader.done() and not stream.ended.done():
            await reader  # raises what went wrong; at its end the writer has the last word
            await asyncio.wait(waited - {reader}, return_when=asyncio.FIRST_COMPLETED)
        if not stream.ended.done():
            await writer
            # A connection that was cut reads like one that was ended in good order.
            peer_closed = stream.peer_is_fresh
    except (asyncio.CancelledError, grpc.aio.BaseError):
        # The peer is gone, or the server closes all calls at the end of its drain.
        peer_closed = stream.peer_is_fresh
        raise
    finally:
        stream.close(peer_closed=peer_closed and not stream.draining)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(stream: MemberStream, context: Context) -> None:
    try:
        while (message := await context.read()) is not grpc.aio.EOF:
            stream.receive(message)
    except DecodeError:
        stream.end(_NO_MESSAGE)
    else:
        stream.receive_end()


_NO_MESSAGE: Final = Refusal(
    status=400, code="invalid_message", message="a message of the stream is no ConnectRequest"
)


_STARTING: Final = Refusal(
    status=503,
    code="database_unavailable",
    message="the store has started and waits for its database",
)


def _too_many_members(limit: int) -> Refusal:
    return Refusal(
        status=429, code="too_many_members", message=f"the store serves at most {limit} streams"
    )
