"""Calls that stand until their caller has enough: watches of health, queues and activity.

A store that stops waits for calls to end by themselves, and these never would: it ends them.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2

from holdfast.core.requests import Refusal
from holdfast_store.rpc.errors import Context, abort, message_of
from holdfast_store.rpc.unary import Handler

LAST_WORD_S: Final = 0.05
"""For what a watch has to say about the stop itself, which is on its way already."""

STOPPING: Final = Refusal(
    status=503, code="store_stopping", message="the store is stopping: connect to another one"
)

Watch = Callable[[Any, Context], AsyncIterator[Message]]


class Standing:
    """Knows when standing calls must end."""

    def __init__(self) -> None:
        self._over = asyncio.Event()

    def end(self) -> None:
        """End all, and each that comes later."""
        self._over.set()

    def watch(self, request: type[Message], watch: Watch) -> Handler:
        """Serve a method with one request and answers until somebody has enough."""

        async def method(data: bytes, context: Context) -> None:
            asked = await message_of(request, data, context)
            await self.run(_told(watch(asked, context), context), context)

        return grpc.unary_stream_rpc_method_handler(method, None, _serialized)

    async def run(self, call: Awaitable[None], context: Context) -> None:
        """Run a call until it ends or the store stops."""
        running = asyncio.ensure_future(call)
        over = asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait({running, over}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({running}, timeout=LAST_WORD_S)
            if running.done():
                return await running
            await abort(context, STOPPING)
        finally:
            over.cancel()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()


async def _told(messages: AsyncIterator[Message], context: Context) -> None:
    async for message in messages:
        await context.write(message)


class EndingHealth(health.aio.HealthServicer):
    """grpc.health.v1.Health, whose watches end with the store."""

    def __init__(self, standing: Standing) -> None:
        super().__init__()
        self._standing = standing

    async def Watch(  # noqa: N802 - the contract's name
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> None:
        """Tell the state of a service, and each change of it."""
        await self._standing.run(super().Watch(request, context), context)
