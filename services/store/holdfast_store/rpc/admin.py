"""What operators look at: queues and members; the operations of debug mode are beside it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Final
from uuid import uuid4

import grpc

from holdfast.core.ids import flaw_of_text
from holdfast.core.requests import Refusal
from holdfast.v1 import admin_pb2 as pb
from holdfast_store.debugging import Debug
from holdfast_store.engine import Engine
from holdfast_store.rpc.debugging import debug_handlers
from holdfast_store.rpc.errors import Context, abort, unavailable
from holdfast_store.rpc.standing import Standing
from holdfast_store.rpc.unary import service, unary
from holdfast_store.statistics import Queue
from holdfast_store.storage import StorageError

GROUPS_MAX: Final = 1_000
INTERVAL_MS_DEFAULT: Final = 1_000
INTERVAL_MS_MIN: Final = 100
INTERVAL_MS_MAX: Final = 60_000


class Admin:
    """Queue statistics and members, and in debug mode its operations."""

    def __init__(self, engine: Engine, standing: Standing, debug: Debug | None = None) -> None:
        self._engine = engine
        self._standing = standing
        self._debug = debug
        self._name = f"{socket.gethostname()}/{uuid4().hex[:8]}"

    def handler(self) -> grpc.GenericRpcHandler:
        """Serve the service."""
        return service(
            "holdfast.v1.Admin",
            {
                "GetQueues": unary(pb.AdminGetQueuesRequest, self.get_queues),
                "WatchQueues": self._standing.watch(pb.AdminWatchQueuesRequest, self.watch_queues),
                "ListMembers": unary(pb.AdminListMembersRequest, self.list_members),
                **debug_handlers(self._debug, self._standing),
            },
        )

    async def get_queues(
        self, request: pb.AdminGetQueuesRequest, context: Context
    ) -> pb.AdminGetQueuesResponse:
        """Answer the queues of the named groups, or of all."""
        groups = await _checked_groups(request.groups, context)
        return pb.AdminGetQueuesResponse(queues=await self._queues(groups, context))

    async def watch_queues(
        self, request: pb.AdminWatchQueuesRequest, context: Context
    ) -> AsyncIterator[pb.AdminWatchQueuesResponse]:
        """Answer the queues at once, and again whenever they differ."""
        groups = await _checked_groups(request.groups, context)
        interval_ms = request.interval_ms or INTERVAL_MS_DEFAULT
        if not INTERVAL_MS_MIN <= interval_ms <= INTERVAL_MS_MAX:
            message = (
                f"interval_ms must be from {INTERVAL_MS_MIN} to {INTERVAL_MS_MAX},"
                f" or 0 for {INTERVAL_MS_DEFAULT}; it is {interval_ms}"
            )
            await abort(context, Refusal(status=400, code="out_of_range", message=message))
        last: list[pb.Queue] | None = None
        while True:
            queues = await self._queues(groups, context)
            seen = self._engine.queues_version
            if queues != last:
                last = queues
                yield pb.AdminWatchQueuesResponse(queues=queues)
            await asyncio.sleep(interval_ms / 1000)
            await self._engine.queues_changed(since=seen)

    async def list_members(
        self,
        _request: pb.AdminListMembersRequest,
        _context: Context,
    ) -> pb.AdminListMembersResponse:
        """Answer the members of this process."""
        members = [
            pb.Member(
                pid=member.pid,
                groups=member.groups,
                credits=member.credits,
                held=member.held,
                connected_at_ms=member.connected_at_ms,
            )
            for member in self._engine.members()
        ]
        return pb.AdminListMembersResponse(members=members, store=self._name)

    async def _queues(self, groups: Sequence[str], context: Context) -> list[pb.Queue]:
        try:
            queues = await self._engine.queues(groups)
        except StorageError as error:
            await abort(context, unavailable(error))
        return [_message(queue) for queue in queues]


def _message(queue: Queue) -> pb.Queue:
    return pb.Queue(
        group=queue.group,
        due=queue.due,
        running=queue.running,
        suspended=queue.suspended,
        halted=queue.halted,
        oldest_due_age_ms=queue.oldest_due_age_ms,
        members=queue.members,
        free_credits=queue.free_credits,
        counted_age_ms=queue.counted_age_ms,
    )


async def _checked_groups(groups: Sequence[str], context: Context) -> Sequence[str]:
    if len(groups) > GROUPS_MAX:
        message = f"groups must be at most {GROUPS_MAX}, they are {len(groups)}"
        await abort(context, Refusal(status=400, code="too_many_groups", message=message))
    for group in groups:
        flaw = flaw_of_text(group, field="groups")
        if flaw is not None:
            await abort(context, Refusal(status=400, code="invalid_text", message=flaw))
    return list(groups)
