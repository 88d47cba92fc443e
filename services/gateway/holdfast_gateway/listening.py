"""How many connections a port may have open: what is beyond is refused as it is accepted.

A connection costs memory from its first byte on, with TLS before its first request, and a file
descriptor that everything else in the process may want. Refusing in the application, or in the
server's protocol, would come too late for both.
"""

import asyncio
import contextlib
import resource
import socket
import ssl
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from holdfast_chassis.logs import get_logger
from holdfast_chassis.seldom import Seldom
from holdfast_gateway import metrics

RETRY_SECONDS: Final = 5
READ_BYTES: Final = 64 * 1024
ACCEPTS_PER_TURN: Final = 64
"""Then the loop does other things: who comes must not keep it from those who are in."""
HANDSHAKE_SECONDS: Final = 10.0
REST_SECONDS: Final = 1.0
PARTS: Final = 3
"""Of the file descriptors each of the two ports may have one, and the rest of the process one."""

_TEXT: Final = b"as many connections are open as may be; try again later"
_STATUS: Final = HTTPStatus.SERVICE_UNAVAILABLE
_REFUSAL: Final = (
    f"HTTP/1.1 {_STATUS.value} {_STATUS.phrase}\r\nretry-after: {RETRY_SECONDS}\r\n"
    f"connection: close\r\ncontent-type: text/plain\r\ncontent-length: {len(_TEXT)}\r\n\r\n"
).encode() + _TEXT

log = get_logger(__name__)


def room_for(connections_max: int) -> int:
    """Answer how many connections each port may have, if it is to be so many.

    Lets the process have the file descriptors for them, as far as the system lets it.
    """
    wanted = PARTS * connections_max
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY != soft < wanted:
        raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):  # the system has yet another limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY != soft < wanted:
        log.warning("connections_limited", asked=connections_max, descriptors=soft)
        return soft // PARTS
    return connections_max


class Door:
    """Accepts the connections of a port as long as less than `most` are open.

    The loops' own servers accept whatever comes. With encryption, nobody learns of a connection
    that never agrees on a key.
    """

    def __init__(
        self,
        listener: socket.socket,
        make: Callable[[], asyncio.Protocol],
        *,
        name: str,
        most: int,
        context: ssl.SSLContext | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._make = make
        self._name = name
        self._most = most
        self._tls: dict[str, Any] = {}
        if context is not None:
            self._tls = {"ssl": context, "ssl_handshake_timeout": HANDSHAKE_SECONDS}
        self._seldom = Seldom()
        self._open = 0
        self._entering: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Accept from now on."""
        self._pause = None
        self._listener.setblocking(False)  # noqa: FBT003 - the socket's
        self._loop.add_reader(self._listener.fileno(), self._accept)

    async def close(self) -> None:
        """Accept nobody any more; who has not agreed on a key yet is sent away."""
        if self._pause is None:
            self._loop.remove_reader(self._listener.fileno())
        else:
            self._pause.cancel()
        self._listener.close()
        entering = list(self._entering)
        for each in entering:
            each.cancel()
        await asyncio.gather(*entering, return_exceptions=True)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                connection, _peer = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptors, no memory: not the listener's fault
                self._rest(error)
                return
            if self._open >= self._most:
                self._refuse(connection)
            else:
                self._enter(connection)

    def _rest(self, error: OSError) -> None:
        log.error("connections_not_accepted", port=self._name, reason=error.strerror)
        self._loop.remove_reader(self._listener.fileno())
        self._pause = self._loop.call_later(REST_SECONDS, self.open)

    def _enter(self, connection: socket.socket) -> None:
        self._count(1)
        accepted = _Accepted(connection, left=lambda: self._count(-1))
        entering = self._loop.create_task(self._serve(accepted), name="connection")
        self._entering.add(entering)
        entering.add_done_callback(self._entering.discard)

    async def _serve(self, connection: socket.socket) -> None:
        """Hand a connection over to the server; from the first moment on the loop closes it."""
        with contextlib.suppress(OSError):  # it left, or the two could not agree on a key
            await self._loop.connect_accepted_socket(self._make, connection, **self._tls)

    def _count(self, change: int) -> None:
        self._open += change
        metrics.connections.labels(self._name).set(self._open)

    def _refuse(self, connection: socket.socket) -> None:
        metrics.connections_refused.labels(self._name).inc()
        left_out = self._seldom.due(self._name)
        if left_out is not None:
            log.warning("connections_refused", port=self._name, open=self._open, more=left_out)
        with connection, contextlib.suppress(OSError):
            connection.settimeout(0)
            if not self._tls:
                # What is left unread makes the system reset the connection; our answer is first.
                with contextlib.suppress(OSError):
                    connection.recv(READ_BYTES)
                connection.sendall(_REFUSAL)
                connection.shutdown(socket.SHUT_WR)


class _Accepted(socket.socket):
    """A connection that tells once that it is over, whichever loop closes it, and how."""

    def __init__(self, connection: socket.socket, *, left: Callable[[], None]) -> None:
        self._left: Callable[[], None] | None = left
        super().__init__(fileno=connection.detach())
        self.setblocking(False)  # noqa: FBT003 - the socket's

    def close(self) -> None:
        """Close it, as asyncio does."""
        super().close()
        self._tell()

    def detach(self) -> int:
        """Forget it, as uvloop does when it has closed it."""
        self._tell()
        return super().detach()

    def __del__(self) -> None:
        """Tell it of one that was dropped, too: the system has it back."""
        self._tell()

    def _tell(self) -> None:
        left, self._left = self._left, None
        if left is not None:
            left()
