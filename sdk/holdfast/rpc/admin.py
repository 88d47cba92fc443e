"""What operators ask a store: queues and members, over plain unary calls."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar

import grpc

from holdfast.rpc.asking import Asking
from holdfast.rpc.dialing import Dialer, Line
from holdfast.rpc.endpoints import credentials_of, parse_endpoints
from holdfast.rpc.errors import error_of_call
from holdfast.v1 import admin_pb2 as pb
from holdfast.v1.admin_pb2_grpc import AdminStub

if TYPE_CHECKING:  # the stubs know it, the generated code does not
    from holdfast.v1.admin_pb2_grpc import AdminAsyncStub

TIMEOUT_S: Final = 5.0

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """The state of one worker group's work.

    `due` tasks may be dispatched now, `running` ones are leased, `suspended` ones wait for
    promises, `halted` ones for a person. `oldest_due_age_ms` is 0 when none is due.
    """

    group: str
    due: int
    running: int
    suspended: int
    halted: int
    oldest_due_age_ms: int
    members: int
    free_credits: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectedMember:
    """A process that is connected to the store process that was asked."""

    pid: str
    groups: tuple[str, ...]
    credits: int
    held: int
    connected_at_ms: int


class Admin:
    """A client of one store's `Admin` service; an async context manager.

    Of several stores any that answers is asked, and another one when that goes away. Calls raise
    `ServerUnavailable`, `InvalidRequest`, `Unauthenticated` or `PermissionDenied`.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        self._metadata = credentials_of(token)
        self._asking = Asking(Dialer(parse_endpoints(url), metadata=self._metadata))
        self._timeout_s = timeout_s

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections; calls under way fail."""
        await self._asking.close()

    async def get_queues(self, groups: Sequence[str] = ()) -> list[Queue]:
        """Read the queues of the named groups, zeros included, or of all that have work."""
        request = pb.AdminGetQueuesRequest(groups=groups)

        async def call(stub: "AdminAsyncStub") -> list[Queue]:
            response = await stub.GetQueues(
                request, timeout=self._timeout_s, metadata=self._metadata
            )
            return [_queue(queue) for queue in response.queues]

        return await self._ask(call)

    async def list_members(self) -> list[ConnectedMember]:
        """Read who is connected."""

        async def call(stub: "AdminAsyncStub") -> list[ConnectedMember]:
            response = await stub.ListMembers(
                pb.AdminListMembersRequest(), timeout=self._timeout_s, metadata=self._metadata
            )
            return [_member(member) for member in response.members]

        return await self._ask(call)

    async def watch_queues(
        self, groups: Sequence[str] = (), *, interval_ms: int = 1_000
    ) -> AsyncGenerator[list[Queue], None]:
        """Read the queues now and whenever they changed, at most once in `interval_ms`.

        Ends only by an error: `ServerUnavailable` when the store went away. Watch again then.
        """
        request = pb.AdminWatchQueuesRequest(groups=groups, interval_ms=interval_ms)
        line = await self._asking.connect()
        call = _stub(line).WatchQueues(request, metadata=self._metadata)
        try:
            async for response in call:
                yield [_queue(queue) for queue in response.queues]
        except grpc.aio.AioRpcError as error:
            await self._asking.turn_away(line, error)
            raise error_of_call(error, where=str(line.address)) from error
        finally:
            call.cancel()

    async def _ask(self, call: "Callable[[AdminAsyncStub], Awaitable[_T]]") -> _T:
        return await self._asking.ask(lambda line: call(_stub(line)))


def _stub(line: Line) -> "AdminAsyncStub":
    return AdminStub(line.channel)


def _queue(message: pb.Queue) -> Queue:
    return Queue(
        group=message.group,
        due=message.due,
        running=message.running,
        suspended=message.suspended,
        halted=message.halted,
        oldest_due_age_ms=message.oldest_due_age_ms,
        members=message.members,
        free_credits=message.free_credits,
    )


def _member(message: pb.Member) -> ConnectedMember:
    return ConnectedMember(
        pid=message.pid,
        groups=tuple(message.groups),
        credits=message.credits,
        held=message.held,
        connected_at_ms=message.connected_at_ms,
    )
