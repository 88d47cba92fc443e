"""The trace that a request belongs to: the caller's, as W3C Trace Context says, or a new one.

Its id is in every line that is logged for the request and in every refusal, and goes with what the
request begins, so that what happened here is found among what the caller recorded, and what happens
in workers is found from here. No spans are recorded or sent anywhere.
"""

import secrets
from collections.abc import Iterable, Mapping
from typing import Any, Final

from holdfast.tracing import HEADER, read_traceparent

_HEADER: Final = HEADER.encode()
_SCOPE_KEY: Final = "holdfast.trace_id"


def find_traceparent(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the caller's trace, or None when there is none or it is malformed.

    A parent that comes twice is malformed: nobody could tell which is meant.
    """
    parents = [value for name, value in headers if name == _HEADER]
    return read_traceparent(parents[0].decode("latin-1")) if len(parents) == 1 else None


def take_traceparent(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the caller's trace, or a new one, of which nobody has recorded anything."""
    return find_traceparent(headers) or f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"


def put_trace_id(scope: Any, trace_id: str) -> None:  # noqa: ANN401 - ASGI scopes are dicts of all sorts
    """Keep the id of a request's trace in its scope."""
    scope[_SCOPE_KEY] = trace_id


def trace_id_of(scope: Mapping[str, Any]) -> str:
    """Return the id of the trace of a scope."""
    trace_id: str = scope[_SCOPE_KEY]
    return trace_id
