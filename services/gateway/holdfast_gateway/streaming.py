"""Answers that go on: events are sent as they come, to whoever is fast enough to read them."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from litestar import Response
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from holdfast import Resonate
from holdfast_chassis.logs import get_logger
from holdfast_gateway.callers import caller_covers, caller_expires
from holdfast_gateway.events import KEEP_ALIVE, MEDIA_TYPE, RECONNECT, Position
from holdfast_gateway.watching import Watch, Watches

ABORT: Final = "holdfast.abort"
"""The extension of the ASGI scope by which a server lets an application cut a connection."""
CALL: Final = "call"
BATCH: Final = 64  # events; each batch has its time, so that a slow reader of many is not cut


log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Streaming:
    """What a stream needs beside its events: how often a sign of life, how long a reader may be."""

    keep_alive_seconds: float
    send_seconds: float


class EventStream(Response[bytes]):
    """The events of a workflow, from a position on."""

    def __init__(
        self,
        watches: Watches,
        resonate: Resonate,
        workflow_id: str,
        *,
        after: Position | None,
        streaming: Streaming,
    ) -> None:
        super().__init__(b"", media_type=MEDIA_TYPE)
        self._app = _Stream(watches, resonate, workflow_id, after, streaming)

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIResponse:  # noqa: ANN401 - theirs
        """Answer in place of the framework, which has no time limit for a reader."""
        return self._app  # type: ignore[return-value] # it is called and nothing else


@dataclass(frozen=True, slots=True)
class _Stream:
    watches: Watches
    resonate: Resonate
    workflow_id: str
    after: Position | None
    streaming: Streaming

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the workflow ends, the client leaves, is too slow, or its token expires."""
        leaving = asyncio.create_task(_left(receive))
        closing = asyncio.create_task(self.watches.closing.wait())
        expiring = asyncio.create_task(caller_expires())
        try:
            async with self.watches.following(self.resonate, self.workflow_id) as watch:
                await self._send(watch, send, {leaving, closing, expiring})
        except TimeoutError:
            log.info("client_cut")
            extension: Any = (scope.get("extensions") or {}).get(ABORT)
            if extension is not None:
                extension[CALL]()
                await leaving  # so that the server knows it before we return
        finally:
            leaving.cancel()
            closing.cancel()
            expiring.cancel()
            await asyncio.gather(leaving, closing, expiring, return_exceptions=True)

    async def _send(self, watch: Watch, send: Send, ends: set[asyncio.Task[Any]]) -> None:
        headers = [(b"content-type", MEDIA_TYPE.encode()), (b"cache-control", b"no-store")]
        headers.append((b"x-accel-buffering", b"no"))  # nginx would hold the events back
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._put(send, RECONNECT)
        seen = 0
        while True:
            news, has_ended = watch.told[seen:], watch.has_ended
            for first in range(0, len(news), BATCH):
                # The watch is shared, and sees children that this caller may not know of.
                told = [each for each in news[first : first + BATCH] if caller_covers(each.of)]
                if self.after is not None:
                    told = [event for event in told if not self.after.is_past(event)]
                if told:
                    await self._put(send, b"".join(event.text for event in told))
            seen += len(news)
            if has_ended:
                break
            more = asyncio.create_task(watch.news(seen))
            try:
                done, _ = await asyncio.wait(
                    {*ends, more},
                    timeout=self.streaming.keep_alive_seconds,
                    return_when=asyncio.FIRST_COMPLETED,
                )
            finally:
                more.cancel()
            if done & ends:
                break
            if not done:
                await self._put(send, KEEP_ALIVE)
        await self._put(send, b"", more=False)

    async def _put(self, send: Send, text: bytes, *, more: bool = True) -> None:
        """Send a part; raise TimeoutError when the client does not take what was sent before."""
        async with asyncio.timeout(self.streaming.send_seconds):
            await send({"type": "http.response.body", "body": text, "more_body": more})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
