"""Serving an ASGI application until told to stop; signals stay with the chassis."""

import asyncio
import contextlib
import functools
import socket
from collections.abc import AsyncIterator

import uvicorn
from litestar.types import ASGIApp

from holdfast_chassis.lifecycle import StartFailed
from holdfast_chassis.listen import Address
from holdfast_gateway import metrics
from holdfast_gateway.connections import Connection
from holdfast_gateway.encryption import Encryption
from holdfast_gateway.listening import Door
from holdfast_gateway.settings import BODY_SECONDS, CONNECTIONS_MAX

KEEP_ALIVE_SECONDS = 15
BACKLOG = 2_048


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]  # noqa: ANN202 - theirs
        """Leave the signals alone."""
        yield


@contextlib.asynccontextmanager
async def serving(
    app: ASGIApp,
    listen: Address,
    *,
    stop_seconds: float,
    body_seconds: float = BODY_SECONDS,
    encryption: Encryption | None = None,
    name: str = metrics.REST,
    connections_max: int = CONNECTIONS_MAX,
) -> AsyncIterator[Address]:
    """Serve inside the block; yield the address with the port that the system chose.

    At the end no connection is accepted any more, running requests have `stop_seconds` to finish,
    and then they are cut. Raises StartFailed when the address cannot be had. Metrics tell
    ports apart by `name`; connections beyond so many are refused.
    """
    listener = _listen(listen)
    host, port = listener.getsockname()[:2]
    config = uvicorn.Config(
        app,
        lifespan="off",
        http=Connection,
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(stop_seconds)),
    )
    config.load()
    config.ssl = None if encryption is None else encryption.context
    server = _Server(config)
    # Not a TaskGroup: it would wrap what the block raises, and StartFailed must arrive as it is.
    task = asyncio.create_task(server.serve(sockets=[]))
    make = functools.partial(Connection, config, server.server_state, {}, body_seconds=body_seconds)
    door = Door(listener, make, name=name, most=connections_max, context=config.ssl)
    door.open()
    try:
        yield Address(host, port)
    finally:
        await door.close()
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
