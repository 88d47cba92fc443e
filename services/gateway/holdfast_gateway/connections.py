"""What one connection may cost: the head of a request has a size, and all of it has a time.

The server itself waits for as long as somebody sends a byte now and then, and keeps all of a head
that never ends. The application answers a body that is too slow; what is cut here came to none.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from holdfast_chassis.logs import get_logger
from holdfast_gateway.streaming import ABORT, CALL

HEAD_SECONDS: Final = 10.0
HEAD_BYTES_MAX: Final = 64 * 1024
GRACE_SECONDS: Final = 5.0
"""After the time of a body: the application's own answer to it comes first."""

log = get_logger(__name__)


class Connection(HttpToolsProtocol):
    """A connection with limits.

    An application may cut it, too: closing one waits for a client that may not read.
    """

    def __init__(self, *args: Any, body_seconds: float, **options: Any) -> None:  # noqa: ANN401 - theirs
        super().__init__(*args, **options)
        self._body_seconds = body_seconds
        self._head_bytes = 0
        self._is_in_head = True
        self._cut_task: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # theirs
        """Wait for the first request."""
        super().connection_made(transport)
        self._cut_after(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._cut_after(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; refuse a head that is too large."""
        was_in_head = self._is_in_head  # if not, the first part may be the end of another request
        super().data_received(data)
        if not (was_in_head and self._is_in_head):
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            log.info("connection_cut", reason="the head of its request is too large")
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            line = f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            self.transport.write(f"{line}content-length: 0\r\nconnection: close\r\n\r\n".encode())
            self.transport.close()

    def on_message_begin(self) -> None:
        """Wait for the head of a request."""
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {CALL: self.transport.abort}}
        self._is_in_head, self._head_bytes = True, 0
        self._cut_after(HEAD_SECONDS)

    def on_headers_complete(self) -> None:
        """Wait for the body, if there is one."""
        self._is_in_head = False
        self._cut_after(self._body_seconds + GRACE_SECONDS)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Wait for nothing: the application has the turn, and then the server waits."""
        self._cut_after(None)
        super().on_message_complete()

    def _cut_after(self, seconds: float | None) -> None:
        if self._cut_task is not None:
            self._cut_task.cancel()
        self._cut_task = None if seconds is None else self.loop.call_later(seconds, self._cut)

    def _cut(self) -> None:
        if not self.transport.is_closing():
            log.info("connection_cut", reason="its request came too slowly")
            self.transport.abort()
