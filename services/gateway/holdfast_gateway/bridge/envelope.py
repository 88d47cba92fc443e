"""The envelope around every operation of the Resonate protocol: read, judged, written (§1.2-§1.4).

Pure: bytes in, bytes out. Numbers stay integers on the way: the decoder reads no integer as a
float, and a number with a fraction or an exponent is no integer.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

VERSION: Final = "2026-04-01"
DEBUG_TIME: Final = "resonate:debug_time"

UNKNOWN_KIND: Final = "unknown"
UNKNOWN_CORRELATION: Final = "0"

_Json = Mapping[str, Any]

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A request whose frame is right; nothing is known of its kind and its data yet."""

    kind: str
    correlation_id: str
    data: _Json
    token: str | None = None
    debug_time: object = msgspec.UNSET
    """As it was sent: whether it counts, and is an instant, only the store can tell."""


class BadEnvelope(Exception):
    """A body that is no envelope; what could be read of it is echoed."""

    def __init__(self, message: str, *, kind: str, correlation_id: str) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.correlation_id = correlation_id


def read_envelope(body: bytes) -> Envelope:
    """Read a request; raise `BadEnvelope` at the first of the rows 1 to 4 that it fails."""
    try:
        parsed = msgspec.json.decode(body)
    except _UNREADABLE as error:
        message = f"the body must be one JSON object in UTF-8: {_first_line(error)}"
        raise _bad(message, _salvaged(body)) from error
    flaw = _flaw_of(parsed)
    if flaw is None:
        flaw = _flaw_of_version(parsed["head"])
    if flaw is not None:
        raise _bad(flaw, parsed)
    head = parsed["head"]
    debug_time = head.get(DEBUG_TIME)
    return Envelope(
        kind=parsed["kind"],
        correlation_id=head["corrId"],
        data=parsed["data"],
        token=head.get("auth"),
        debug_time=msgspec.UNSET if debug_time is None else debug_time,
    )


def _flaw_of(parsed: object) -> str | None:
    """Name what is wrong, in the order of admission."""
    if not isinstance(parsed, dict):
        return "the body must be a JSON object"
    kind, head, data = parsed.get("kind"), parsed.get("head"), parsed.get("data")
    if not isinstance(kind, str):
        return "kind must be a string that names the operation"
    flaw = _flaw_of_head(head) if isinstance(head, dict) else "head must be an object"
    if flaw is not None:
        return flaw
    if not kind:
        return "kind must not be empty: it names the operation"
    if not isinstance(data, dict):
        return "data must be an object with the fields of the operation, {} where there are none"
    return None


def _flaw_of_version(head: _Json) -> str | None:
    version = head["version"]
    return None if version == VERSION else f"head.version must be {VERSION}: {version[:50]!r}"


def _flaw_of_head(head: _Json) -> str | None:
    for name in ("corrId", "version"):
        if not isinstance(head.get(name), str):
            return f"head.{name} must be a string"
    if not isinstance(head.get("auth"), str | None):
        return "head.auth must be a string: a bearer token"
    return None


def _bad(message: str, parsed: object) -> BadEnvelope:
    """Echo what was read as it should be."""
    whole: _Json = parsed if isinstance(parsed, dict) else {}
    head = whole.get("head")
    return BadEnvelope(
        message,
        kind=_text(whole.get("kind"), UNKNOWN_KIND),
        correlation_id=_text(
            head.get("corrId") if isinstance(head, dict) else None, UNKNOWN_CORRELATION
        ),
    )


def _salvaged(body: bytes) -> object:
    """Read a body once more, by a reader that is less strict; answer `None` if that fails too."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _text(value: object, otherwise: str) -> str:
    """Answer a value that can be sent back as text."""
    if not isinstance(value, str):
        return otherwise
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return otherwise
    return value


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


def answer_of(*, kind: str, correlation_id: str, status: int, data: object) -> dict[str, object]:
    """Make a response envelope; `data` is text unless the operation was done (§1.3)."""
    return {
        "kind": kind,
        "head": {"corrId": correlation_id, "status": status, "version": VERSION},
        "data": data,
    }


_encoder: Final = msgspec.json.Encoder()


def written(answer: Mapping[str, object]) -> bytes:
    """Write JSON on one line, as every answer and every event is."""
    return _encoder.encode(answer)
