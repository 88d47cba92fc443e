"""The trace that a request belongs to: the caller's, as W3C Trace Context says, or a new one.

Its id is in every line that is logged for the request and in every refusal, so that what happened
here is found among what the caller recorded. No spans are recorded or sent anywhere.
"""

import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Any, Final

HEADER: Final = b"traceparent"
_SCOPE_KEY: Final = "holdfast.trace_id"
# Versions after 00 may append fields; ff is forbidden, and so are ids of zeros only.
_PARENT: Final = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)


def take_trace_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the id of the caller's trace, or of a new one when there is none or it is malformed.

    A parent that comes twice is malformed: nobody could tell which is meant.
    """
    [*parents] = (value for name, value in headers if name == HEADER)
    found = _PARENT.fullmatch(parents[0]) if len(parents) == 1 else None
    if found is None or (found[1] == b"00" and found[3] is not None):
        return secrets.token_hex(16)
    return found[2].decode("ascii")


def put_trace_id(scope: Any, trace_id: str) -> None:  # noqa: ANN401 - ASGI scopes are dicts of all sorts
    """Keep the id of a request's trace in its scope."""
    scope[_SCOPE_KEY] = trace_id


def trace_id_of(scope: Mapping[str, Any]) -> str:
    """Return the id of the trace of a scope."""
    trace_id: str = scope[_SCOPE_KEY]
    return trace_id
