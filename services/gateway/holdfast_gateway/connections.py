"""What one connection may cost: the head of a request has a size, and all of it has a time.

The server itself waits for as long as somebody sends a byte now and then, or reads none, and keeps
all of a head that never ends, or of what follows a body. The application answers a body that is too
slow; what is cut here came to none.
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
SEND_SECONDS: Final = 120.0
"""In which a client reads something of what it was sent; one that reads slowly is not cut."""

log = get_logger(__name__)


class _SkippedBody(Exception):
    """A request asks for another protocol, and has a body.

    The parser does not read that, and would take it for the next request.
    """


def _announces_a_body(name: bytes, value: bytes) -> bool:
    return name == b"transfer-encoding" or (name == b"content-length" and value.strip() != b"0")


class Connection(HttpToolsProtocol):
    """A connection with limits.

    An application may cut it, too: closing one waits for a client that may not read.
    """

    def __init__(self, *args: Any, body_seconds: float, **options: Any) -> None:  # noqa: ANN401 - theirs
        super().__init__(*args, **options)
        self._body_seconds = body_seconds
        self._idle_bytes = 0
        """What came since the last that was the beginning of a request, or of its body."""
        self._is_in_head = True
        self._is_in_request = False
        self._cut_task: asyncio.TimerHandle | None = None
        self._send_task: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # theirs
        """Wait for the first request."""
        super().connection_made(transport)
        self._cut_after(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._cut_after(None)
        self._end_send()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; refuse a head that is too large, and endless lines behind a body."""
        self._idle_bytes += len(data)
        super().data_received(data)
        is_between = self._cut_task is None and not self._is_in_request  # behind a whole request
        if is_between and self.cycle.response_complete:
            # An empty line: the server waits no more for a request, and has none.
            self._cut_after(HEAD_SECONDS)
        if self._idle_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            if self._is_in_head:
                self._refuse_head()
            else:
                log.info("connection_cut", reason="what came was no part of a request")
                self.transport.abort()

    def _refuse_head(self) -> None:
        log.info("connection_cut", reason="the head of its request is too large")
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        line = f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        self.transport.write(f"{line}content-length: 0\r\nconnection: close\r\n\r\n".encode())
        self.transport.close()

    def on_message_begin(self) -> None:
        """Wait for the head of a request."""
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {CALL: self.transport.abort}}
        self._is_in_head = self._is_in_request = True
        self._idle_bytes = 0
        self._cut_after(HEAD_SECONDS)

    def on_headers_complete(self) -> None:
        """Wait for the body, if there is one."""
        self._is_in_head, self._idle_bytes = False, 0
        self._cut_after(self._body_seconds + GRACE_SECONDS)
        is_upgrade = self.parser.should_upgrade()
        if is_upgrade and any(_announces_a_body(*header) for header in self.headers):
            raise _SkippedBody  # the server answers 400, and closes the connection
        super().on_headers_complete()
        if is_upgrade:
            self.cycle.keep_alive = False  # what came with its head is lost

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; what comes behind a body is none, and nobody has judged it."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._idle_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for nothing: the application has the turn, and then the server waits."""
        self._is_in_request, self._idle_bytes = False, 0
        self._cut_after(None)
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Wait for the client to read some of what waits for it."""
        super().pause_writing()
        self._await_send()

    def resume_writing(self) -> None:
        """Learn that it has."""
        self._end_send()
        super().resume_writing()

    def _await_send(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._send_task = self.loop.call_later(SEND_SECONDS, self._judge_send, left)

    def _end_send(self) -> None:
        if self._send_task is not None:
            self._send_task.cancel()
        self._send_task = None

    def _judge_send(self, left: int) -> None:
        if self.transport.get_write_buffer_size() < left:
            self._await_send()
            return
        log.info("connection_cut", reason="its answer was read too slowly")
        self.transport.abort()

    def _cut_after(self, seconds: float | None) -> None:
        if self._cut_task is not None:
            self._cut_task.cancel()
        self._cut_task = None if seconds is None else self.loop.call_later(seconds, self._cut)

    def _cut(self) -> None:
        if not self.transport.is_closing():
            log.info("connection_cut", reason="its request came too slowly")
            self.transport.abort()
