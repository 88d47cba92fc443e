"""The outermost layer of the gateway: ids of requests and traces, metrics, a line per request.

It also hands paths on undecoded. An id may hold a slash; decoding `job%2F1` before routing would
make it indistinguishable from a path with one more segment. Handlers decode what they take.
"""

import time
from typing import Any, Final

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from holdfast.tracing import continued, id_of
from holdfast_chassis.logs import get_logger, log_keys
from holdfast_gateway import metrics
from holdfast_gateway.events import MEDIA_TYPE
from holdfast_gateway.guarding import QUIET
from holdfast_gateway.request_id import (
    HEADER,
    put_request_id,
    request_id_of,
    take_request_id,
)
from holdfast_gateway.tracing import put_trace_id, take_traceparent

log = get_logger("holdfast_gateway.access")

_STREAM: Final = (b"content-type", MEDIA_TYPE.encode())


class Observed:
    """An ASGI application, observed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and account for its answer."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        request_id, parent = take_request_id(scope["headers"]), take_traceparent(scope["headers"])
        trace_id = id_of(parent)
        put_request_id(scope, request_id)
        put_trace_id(scope, trace_id)
        raw: Any = scope.get("raw_path")
        if raw is not None:
            scope["path"] = raw.partition(b"?")[0].decode("ascii", errors="replace")
        with continued(parent), log_keys(request_id=request_id, trace_id=trace_id):
            await self._account(scope, receive, send)

    async def _account(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        status, is_stream = 0, False

        async def send_observed(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                is_stream = _STREAM in message["headers"]
                name = (HEADER, request_id_of(scope).encode())
                message["headers"] = [*message["headers"], name]
            await send(message)

        began = time.perf_counter()
        try:
            with metrics.requests_in_flight.track_inprogress():
                await self._app(scope, receive, send_observed)
        finally:
            seconds = time.perf_counter() - began
            method = metrics.method_label(scope["method"])
            note = log.debug
            if path not in QUIET:
                note = log.info
                template = scope.get("path_template") or metrics.UNMATCHED
                metrics.requests.labels(method, template, str(status)).inc()
                if not is_stream:  # it lasts as long as somebody reads, which says nothing of us
                    metrics.request_seconds.labels(method, template).observe(seconds)
            note(
                "request_answered",
                method=scope["method"],
                path=path,
                status=status,
                duration_ms=round(seconds * 1000, 1),
            )
