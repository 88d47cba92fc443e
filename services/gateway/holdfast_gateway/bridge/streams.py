"""`GET /poll/{group}/{id}`: one client's stream of events, for as long as it stays (§4.5)."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from holdfast_gateway.bridge.messages import KEEP_ALIVE, event
from holdfast_gateway.bridge.polling import Line, PlaceName, Polls
from holdfast_gateway.streaming import ABORT, CALL

HEADERS: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold the events back
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """An ASGI application that sends a client its messages."""

    polls: Polls
    name: PlaceName
    headers: tuple[tuple[bytes, bytes], ...]
    keep_alive_seconds: float
    send_seconds: float
    remaining_seconds: Callable[[], float | None]
    """How long the client's token counts still; the stream ends with it."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI
        """Send until the client leaves, is too slow, or has to go."""
        line = await self.polls.join(self.name)
        leaving = asyncio.create_task(_left(receive))
        try:
            headers = [*HEADERS, *self.headers]
            # At once: to a client, the headers mean that it is connected.
            await self._put(
                send, {"type": "http.response.start", "status": 200, "headers": headers}
            )
            await self._send(line, send, leaving)
        except TimeoutError:
            abort: Any = (scope.get("extensions") or {}).get(ABORT)
            if abort is not None:
                abort[CALL]()
                await leaving  # so that the server knows it before we return
        finally:
            self.polls.leave(self.name, line)
            leaving.cancel()
            await asyncio.gather(leaving, return_exceptions=True)

    async def _send(self, line: Line, send: Any, leaving: "asyncio.Task[None]") -> None:  # noqa: ANN401
        while not line.is_over and not leaving.done():
            taken = line.take()
            if taken:
                body = b"".join(event(message) for _, message in taken)
                kinds = [kind for kind, _ in taken]
                try:
                    await self._put(send, {**_PART, "body": body})
                except TimeoutError:
                    line.dropped(kinds)
                    raise
                line.sent(kinds)
            remaining = self.remaining_seconds()
            if remaining is not None and remaining <= 0:
                break
            more = asyncio.create_task(line.news())
            try:
                done, _ = await asyncio.wait(
                    {leaving, more},
                    timeout=min(self.keep_alive_seconds, remaining or self.keep_alive_seconds),
                    return_when=asyncio.FIRST_COMPLETED,
                )
            finally:
                more.cancel()
            if not done:
                await self._put(send, {**_PART, "body": KEEP_ALIVE})
        if not leaving.done():
            await self._put(send, {**_PART, "body": b"", "more_body": False})

    async def _put(self, send: Any, message: dict[str, Any]) -> None:  # noqa: ANN401
        """Send a part; raise TimeoutError when the client does not take what was sent before."""
        async with asyncio.timeout(self.send_seconds):
            await send(message)


_PART: Final[dict[str, Any]] = {"type": "http.response.body", "more_body": True}


async def _left(receive: Any) -> None:  # noqa: ANN401
    while (await receive())["type"] != "http.disconnect":
        pass
