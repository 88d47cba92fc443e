"""The kinds that exist for tests (§6); a store without debug refuses them all."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from google.protobuf.message import Message

from holdfast.core.limits import INTEGER_MAX
from holdfast.core.requests import Refusal
from holdfast.errors import PermissionDenied
from holdfast.rpc import Admin, Calls
from holdfast.v1 import admin_pb2 as pb
from holdfast_gateway.bridge.outcomes import OK, Result
from holdfast_gateway.bridge.schedules import refused
from holdfast_gateway.bridge.snapshots import snapshot_json

DEBUG_OFF: Final = "debug_off"

Data = Mapping[str, Any]


class Debugging:
    """Carries them out."""

    def __init__(self, calls: Calls, admin: Admin) -> None:
        self._calls = calls
        self._admin = admin
        self.kinds: Final = {
            "debug.start": self._start,
            "debug.stop": self._stop,
            "debug.reset": self._reset,
            "debug.tick": self._tick,
            "debug.snap": self._snap,
        }

    async def _start(self, _: Data, at: str | None) -> Result:
        return await self._do("Start", pb.AdminDebugStartRequest(), pb.AdminDebugStartResponse, at)

    async def _stop(self, _: Data, at: str | None) -> Result:
        return await self._do("Stop", pb.AdminDebugStopRequest(), pb.AdminDebugStopResponse, at)

    async def _reset(self, _: Data, at: str | None) -> Result:
        return await self._do("Reset", pb.AdminDebugResetRequest(), pb.AdminDebugResetResponse, at)

    async def _tick(self, data: Data, at: str | None) -> Result:
        time = data.get("time")
        request = pb.AdminDebugTickRequest()
        # Without an instant the store refuses it: as not allowed first, if debug is off.
        if isinstance(time, int) and not isinstance(time, bool) and 0 <= time <= INTEGER_MAX:
            request.time_ms = time
        done = await self._do("Tick", request, pb.AdminDebugTickResponse, at)
        return Result(OK, []) if done.status == OK else done

    async def _snap(self, _: Data, __: str | None) -> Result:
        try:
            return Result(OK, snapshot_json(await self._admin.debug_snap()))
        except PermissionDenied as error:
            if error.code != DEBUG_OFF:
                raise
            return Result(HTTPStatus.FORBIDDEN, error.message)

    async def _do(
        self, name: str, request: Message, response: type[Message], at: str | None
    ) -> Result:
        answer = await self._calls.call(f"Admin/Debug{name}", request, response, at=at)
        return refused(answer) if isinstance(answer, Refusal) else Result(OK, {})
