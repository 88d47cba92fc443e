"""What operators ask a store: queues and members, over plain calls; and what tests ask of one."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypedDict, TypeVar

import grpc

from holdfast.core.stored import StoredState
from holdfast.rpc.access import ANONYMOUS, Access
from holdfast.rpc.asking import Asking
from holdfast.rpc.calls import DEBUG_TIME
from holdfast.rpc.dialing import Dialer, Line
from holdfast.rpc.endpoints import parse_endpoints
from holdfast.rpc.errors import error_of_call
from holdfast.rpc.stored import stored_state_of
from holdfast.v1 import admin_pb2 as pb
from holdfast.v1.admin_pb2_grpc import AdminStub

if TYPE_CHECKING:  # the stubs know it, the generated code does not
    from holdfast.v1.admin_pb2_grpc import AdminAsyncStub

TIMEOUT_S: Final = 5.0


class _Options(TypedDict):
    timeout: float
    metadata: tuple[tuple[str, str], ...]


_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """The state of one worker group's work.

    `due` tasks may be dispatched now, `running` ones are leased, `suspended` ones wait for
    promises, `halted` ones for a person. `oldest_due_age_ms` is 0 when none is due.
    `counted_age_ms` says how long ago they were counted while that fails, and is 0 otherwise.
    """

    group: str
    due: int
    running: int
    suspended: int
    halted: int
    oldest_due_age_ms: int
    members: int
    free_credits: int
    counted_age_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectedMember:
    """A process that is connected to a store; `store` is the name of that process."""

    pid: str
    groups: tuple[str, ...]
    credits: int
    held: int
    connected_at_ms: int
    store: str = ""


class Admin:
    """A client of one store's `Admin` service; an async context manager.

    Of several stores any that answers is asked, and another one when that goes away. Calls raise
    `ServerUnavailable`, `InvalidRequest`, `Unauthenticated` or `PermissionDenied`.
    """

    def __init__(
        self, url: str, *, access: Access = ANONYMOUS, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._metadata = access.metadata
        self._asking = Asking(Dialer(parse_endpoints(url), access=access))
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
                request, timeout=self._timeout_s, metadata=self._metadata()
            )
            return [_queue(queue) for queue in response.queues]

        return await self._ask(call)

    async def list_members(self) -> list[ConnectedMember]:
        """Read who is connected to any of the stores behind the URL, in the order of pids.

        Each knows its own. One that does not answer is passed over as long as another one does. A
        process that has just moved may be named twice, by the store that it left as well.
        """

        async def call(line: Line) -> pb.AdminListMembersResponse:
            return await _stub(line).ListMembers(
                pb.AdminListMembersRequest(), timeout=self._timeout_s, metadata=self._metadata()
            )

        answers = await self._asking.ask_each(call)
        # Several addresses may lead to the same store, as those of `localhost` do.
        by_store = {answer.store or address: answer for address, answer in answers}
        members = [_member(m, answer.store) for answer in by_store.values() for m in answer.members]
        return sorted(members, key=lambda member: (member.pid, member.store))

    async def watch_queues(
        self, groups: Sequence[str] = (), *, interval_ms: int = 1_000
    ) -> AsyncGenerator[list[Queue], None]:
        """Read the queues now and whenever they changed, at most once in `interval_ms`.

        Ends only by an error: `ServerUnavailable` when the store went away. Watch again then.
        """
        request = pb.AdminWatchQueuesRequest(groups=groups, interval_ms=interval_ms)
        line = await self._asking.connect()
        call = _stub(line).WatchQueues(request, metadata=self._metadata())
        try:
            async for response in call:
                yield [_queue(queue) for queue in response.queues]
        except grpc.aio.AioRpcError as error:
            await self._asking.turn_away(line, error)
            raise error_of_call(error, where=str(line.address)) from error
        finally:
            call.cancel()

    # Debug mode: of one store, which was started with HOLDFAST_STORE_DEBUG=1

    async def debug_start(self) -> None:
        """Pause what becomes due by the clock; a store with debug on begins like that."""
        await self._ask(
            lambda stub: stub.DebugStart(pb.AdminDebugStartRequest(), **self._options())
        )

    async def debug_stop(self) -> None:
        """Let things become due by the clock until the next start."""
        await self._ask(lambda stub: stub.DebugStop(pb.AdminDebugStopRequest(), **self._options()))

    async def debug_reset(self) -> None:
        """Delete everything that is stored."""
        await self._ask(
            lambda stub: stub.DebugReset(pb.AdminDebugResetRequest(), **self._options())
        )

    async def debug_tick(self, time_ms: int | None, *, at_ms: int | None = None) -> None:
        """Run everything due at an instant; `at_ms` is the call's own time, which must be the same.

        A test may leave either out: without `time_ms` the store refuses.
        """
        request = pb.AdminDebugTickRequest(time_ms=time_ms)
        await self._ask(lambda stub: stub.DebugTick(request, **self._options(at_ms)))

    async def debug_snap(self) -> StoredState:
        """Read everything that is stored, as it is at one moment."""

        async def call(stub: "AdminAsyncStub") -> StoredState:
            parts = stub.DebugSnap(pb.AdminDebugSnapRequest(), **self._options())
            whole = pb.AdminDebugSnapResponse()
            async for part in parts:
                whole.MergeFrom(part)
            return stored_state_of(whole)

        return await self._ask(call)

    def _options(self, at_ms: int | None = None) -> "_Options":
        named = () if at_ms is None else ((DEBUG_TIME, str(at_ms)),)
        return {"timeout": self._timeout_s, "metadata": self._metadata() + named}

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
        counted_age_ms=message.counted_age_ms,
    )


def _member(message: pb.Member, store: str) -> ConnectedMember:
    return ConnectedMember(
        pid=message.pid,
        groups=tuple(message.groups),
        credits=message.credits,
        held=message.held,
        connected_at_ms=message.connected_at_ms,
        store=store,
    )
