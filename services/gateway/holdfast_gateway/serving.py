"""Serving an ASGI application until told to stop; signals stay with the chassis."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import uvicorn
from litestar.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from holdfast_chassis.lifecycle import StartFailed
from holdfast_chassis.listen import Address
from holdfast_gateway.streaming import ABORT, CALL

KEEP_ALIVE_SECONDS = 15
BACKLOG = 2_048


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]  # noqa: ANN202 - theirs
        """Leave the signals alone."""
        yield


class _Protocol(HttpToolsProtocol):
    """Lets an application cut its connection: closing one waits for a client that may not read."""

    def on_message_begin(self) -> None:
        """Offer that to the request."""
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {CALL: self.transport.abort}}


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, listen: Address, *, stop_seconds: float) -> AsyncIterator[Address]:
    """Serve inside the block; yield the address with the port that the system chose.

    At the end no connection is accepted any more, running requests have `stop_seconds` to finish,
    and then they are cut. Raises StartFailed when the address cannot be had.
    """
    listener = _listen(listen)
    host, port = listener.getsockname()[:2]
    config = uvicorn.Config(
        app,
        lifespan="off",
        http=_Protocol,
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(stop_seconds)),
    )
    server = _Server(config)
    # Not a TaskGroup: it would wrap what the block raises, and StartFailed must arrive as it is.
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield Address(host, port)
    finally:
        server.should_exit = True
        await task


def _listen(listen: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    try:
        return socket.create_server(
            (listen.host, listen.port), family=family, backlog=BACKLOG, reuse_port=False
        )
    except OSError as error:
        raise StartFailed(
            f"The address {listen} cannot be listened on: {error.strerror}."
        ) from error
