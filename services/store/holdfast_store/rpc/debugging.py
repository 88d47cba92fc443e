"""The operations of debug mode over gRPC; without debug mode each of them is refused (§6.1)."""

from collections.abc import AsyncIterator
from typing import Final

import grpc
from google.protobuf.message import Message

from holdfast.core.limits import INTEGER_MAX
from holdfast.core.requests import Refusal
from holdfast.v1 import admin_pb2 as pb
from holdfast_store.debugging import Debug
from holdfast_store.firing import FiringRefused
from holdfast_store.rpc.errors import Context, abort, unavailable
from holdfast_store.rpc.instants import METADATA_KEY, told_instant
from holdfast_store.rpc.snapshots import parts_of
from holdfast_store.rpc.standing import Standing
from holdfast_store.rpc.unary import Handler, unary
from holdfast_store.storage import StorageError

DEBUG_OFF: Final = Refusal(
    status=403,
    code="debug_off",
    message="debug operations are for stores that were started with HOLDFAST_STORE_DEBUG=1",
)


def debug_handlers(debug: Debug | None, standing: Standing) -> dict[str, Handler]:
    """Serve the debug methods of the service Admin."""
    if debug is None:
        refused: Handler = grpc.unary_unary_rpc_method_handler(_refuse)
        names = ("DebugStart", "DebugStop", "DebugReset", "DebugTick")
        return dict.fromkeys(names, refused) | {
            "DebugSnap": grpc.unary_stream_rpc_method_handler(_refuse)
        }
    service = _Debug(debug)
    return {
        "DebugStart": unary(pb.AdminDebugStartRequest, service.start),
        "DebugStop": unary(pb.AdminDebugStopRequest, service.stop),
        "DebugReset": unary(pb.AdminDebugResetRequest, service.reset),
        "DebugTick": unary(pb.AdminDebugTickRequest, service.tick),
        "DebugSnap": standing.watch(pb.AdminDebugSnapRequest, service.snap),
    }


class _Debug:
    """Debug mode."""

    def __init__(self, debug: Debug) -> None:
        self._debug = debug

    async def start(self, _request: Message, _context: Context) -> pb.AdminDebugStartResponse:
        """Pause."""
        await self._debug.start()
        return pb.AdminDebugStartResponse()

    async def stop(self, _request: Message, _context: Context) -> pb.AdminDebugStopResponse:
        """Resume."""
        self._debug.stop()
        return pb.AdminDebugStopResponse()

    async def reset(self, _request: Message, context: Context) -> pb.AdminDebugResetResponse:
        """Delete everything."""
        try:
            await self._debug.reset()
        except StorageError as error:
            await abort(context, unavailable(error))
        return pb.AdminDebugResetResponse()

    async def tick(
        self, request: pb.AdminDebugTickRequest, context: Context
    ) -> pb.AdminDebugTickResponse:
        """Do what is due."""
        time_ms = await _time_of(request, context)
        try:
            await self._debug.tick(time_ms)
        except FiringRefused as error:
            refusal = Refusal(status=500, code="schedules_set_aside", message=str(error))
            await abort(context, refusal)
        except StorageError as error:
            await abort(context, unavailable(error))
        return pb.AdminDebugTickResponse()

    async def snap(
        self, _request: Message, context: Context
    ) -> AsyncIterator[pb.AdminDebugSnapResponse]:
        """Read everything, in parts that fit into messages; at least one, of nothing."""
        try:
            async with self._debug.snapshot() as records:
                async for part in parts_of(records):
                    yield part
        except StorageError as error:
            await abort(context, unavailable(error))


async def _time_of(request: pb.AdminDebugTickRequest, context: Context) -> int:
    told_ms = await told_instant(context)
    time_ms = request.time_ms
    if not request.HasField("time_ms") or not 0 <= time_ms <= INTEGER_MAX:
        message = f"time_ms must be given, from 0 to {INTEGER_MAX}"
        await abort(context, Refusal(status=400, code="out_of_range", message=message))
    if told_ms not in (None, time_ms):
        message = f"the metadata {METADATA_KEY} must equal time_ms {time_ms}, it is {told_ms}"
        await abort(context, Refusal(status=400, code="debug_time_mismatch", message=message))
    return time_ms


async def _refuse(_request: bytes, context: Context) -> None:
    await abort(context, DEBUG_OFF)
