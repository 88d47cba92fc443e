"""The bridge's HTTP surface (§1.1): which path is what, and what a request may cost."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from holdfast.core.ids import HTTP_GROUP, flaw_of_text
from holdfast.tracing import continued, id_of
from holdfast_chassis.authorization import Denied, Grant
from holdfast_chassis.keys import KeysUnavailable
from holdfast_chassis.logs import log_keys
from holdfast_chassis.tokens import Verifier, token_in
from holdfast_gateway.bridge.cors import Cors
from holdfast_gateway.bridge.polling import PlaceName, Polls
from holdfast_gateway.bridge.service import Service
from holdfast_gateway.bridge.streams import Stream
from holdfast_gateway.tracing import find_traceparent

Headers = tuple[tuple[bytes, bytes], ...]

_JSON: Final = (b"content-type", b"application/json")
_TEXT: Final = (b"content-type", b"text/plain; charset=utf-8")
_PLACE_PARTS: Final = 3
_OLD: Final = frozenset({"promises", "schedules", "tasks"})
_READING: Final = frozenset({"GET", "HEAD"})

OLD_API: Final = json.dumps(
    {"error": "this is not the old REST API: POST an envelope to / with the protocol 2026-04-01"}
).encode()
NOT_FOUND: Final = json.dumps({"error": "there is nothing at this path"}).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeLimits:
    """What one request may cost."""

    body_bytes_max: int
    body_seconds: float
    keep_alive_seconds: float
    send_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """An ASGI application."""

    service: Service
    polls: Polls
    verifier: Verifier | None
    cors: Cors
    limits: BridgeLimits
    not_ready: Callable[[], Mapping[str, str]]
    is_serving: Callable[[], Awaitable[bool]]
    """Whether the store says that it, and its database, are ready."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI
        """Answer a request."""
        assert scope["type"] == "http", "served without lifespan and websockets"
        method = scope["method"]
        headers = dict(scope["headers"])
        answer = _Answer(send, self.cors.headers_for(headers.get(b"origin")))
        raw = scope.get("raw_path") or scope["path"].encode()
        path = raw.partition(b"?")[0].decode("ascii", errors="replace")
        if method == "OPTIONS" and self.cors.is_preflight(headers):
            await answer(204, b"", *self.cors.preflight_for(headers[b"origin"]))
        elif path == "/":
            with _inside_trace(scope["headers"]):
                await self._post(method, receive, answer)
        elif path in {"/health", "/ready"}:
            await self._probe(path, method, answer)
        elif path[1:].partition("/")[0] in _OLD:
            await answer(410, OLD_API, _JSON)
        elif path.count("/") == _PLACE_PARTS and path.startswith("/poll/"):
            await self._poll(scope, receive, send, answer, path)
        else:
            await answer(404, NOT_FOUND, _JSON)

    async def _post(self, method: str, receive: Any, answer: "_Answer") -> None:  # noqa: ANN401
        if method != "POST":
            await answer.not_allowed("POST")
            return
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                body = await self._body(receive)
        except TimeoutError:
            await answer(408, b"the body came too slowly", _TEXT, (b"connection", b"close"))
            return
        except _TooLarge:
            text = f"the body must have at most {self.limits.body_bytes_max} bytes"
            await answer(413, text.encode(), _TEXT, (b"connection", b"close"))
            return
        except _Gone:
            return  # nobody is there to be answered, and half a request asks for nothing
        answered = await self.service.answer(body)
        await answer(answered.status, answered.body, _JSON)

    async def _body(self, receive: Any) -> bytes:  # noqa: ANN401
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Gone
            part = message.get("body", b"")
            size += len(part)
            if size > self.limits.body_bytes_max:
                raise _TooLarge
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)

    async def _probe(self, path: str, method: str, answer: "_Answer") -> None:
        if method not in _READING:
            await answer.not_allowed("GET, HEAD")
        elif path == "/ready" and (self.not_ready() or not await self.is_serving()):
            await answer(503, b"")
        else:
            await answer(200, b"")

    async def _poll(
        self,
        scope: Any,  # noqa: ANN401
        receive: Any,  # noqa: ANN401
        send: Any,  # noqa: ANN401
        answer: "_Answer",
        path: str,
    ) -> None:
        if scope["method"] != "GET":
            await answer.not_allowed("GET")
            return
        try:
            grant = await self._grant(dict(scope["headers"]).get(b"authorization"))
            place = _place(path, prefix="" if grant is None else grant.bound)
        except Denied as error:
            await answer(int(error.denial.status), error.denial.message.encode(), _TEXT)
        except KeysUnavailable as error:
            await answer(503, str(error).encode(), _TEXT)
        except ValueError as error:
            await answer(400, str(error).encode(), _TEXT)
        else:
            if not self.polls.has_room:
                text = b"as many clients as may poll do so already; try again later"
                await answer(503, text, _TEXT, (b"retry-after", b"5"))
                return
            await self._stream(place, grant, answer.headers)(scope, receive, send)

    async def _grant(self, header: bytes | None) -> Grant | None:
        """Verify the token; it need not cover anything, but bounds what is sent (§1.7)."""
        if self.verifier is None:
            return None
        token = token_in(None if header is None else header.decode("latin-1"))
        return await self.verifier.authorize(token, ())

    def _stream(self, place: PlaceName, grant: Grant | None, headers: Headers) -> Stream:
        verifier = self.verifier

        def remaining_seconds() -> float | None:
            if grant is None or verifier is None:
                return None
            return verifier.remaining_s(grant)

        return Stream(
            polls=self.polls,
            name=place,
            headers=headers,
            keep_alive_seconds=self.limits.keep_alive_seconds,
            send_seconds=self.limits.send_seconds,
            remaining_seconds=remaining_seconds,
        )


@contextlib.contextmanager
def _inside_trace(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[None]:
    """Be inside the caller's trace, if it sent one."""
    parent = find_traceparent(headers)
    if parent is None:
        yield
    else:
        with continued(parent), log_keys(trace_id=id_of(parent)):
            yield


class _TooLarge(Exception):
    """A body has more bytes than it may have."""


class _Gone(Exception):
    """The client left before its request was whole."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """Sends an answer that is known as a whole."""

    send: Any
    headers: Headers

    async def __call__(self, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
        all_headers = [*headers, *self.headers, (b"content-length", str(len(body)).encode())]
        await self.send({"type": "http.response.start", "status": status, "headers": all_headers})
        await self.send({"type": "http.response.body", "body": body})

    async def not_allowed(self, methods: str) -> None:
        await self(405, b"", (b"allow", methods.encode()))


def _place(path: str, *, prefix: str) -> PlaceName:
    """Read `/poll/{group}/{id}`; raise `ValueError` with what it must be."""
    _, _, group, name = path.split("/")
    texts = []
    for field, part in (("group", group), ("id", name)):
        try:
            text = unquote_to_bytes(part).decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"the {field} must be UTF-8 behind its percent signs") from error
        flaw = flaw_of_text(text, field=f"the {field}")
        if flaw is not None:
            raise ValueError(flaw)
        texts.append(text)
    if texts[0] == HTTP_GROUP:
        raise ValueError(f"the group {HTTP_GROUP} is for HTTP addresses, and nobody polls for them")
    return PlaceName(group=texts[0], id=texts[1], prefix=prefix)
