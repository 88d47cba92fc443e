"""The trace that a call belongs to: one id from a request to each step that it leads to.

A call made inside a trace writes it, as W3C Trace Context has it, into the headers of the promise
that it makes. Whoever runs the function of that promise is inside the trace again, after a crash
and in another process, too. Local children need no header: they run where their parent runs.

No spans are recorded or sent anywhere. A program that records some begins them below `traceparent`.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Final

from msgspec.structs import replace

from holdfast.core.records import Value

HEADER: Final = "traceparent"
"""Of HTTP requests, and of the params of promises."""

TRACE_ID: Final = "trace_id"
"""Under this name logs tell the id of a trace."""

# Versions after 00 may append fields; ff is forbidden, and so are ids of zeros only.
_PARENT: Final = re.compile(
    r"(?!ff)([0-9a-f]{2})-((?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})(-.*)?"
)
_ID: Final = slice(3, 35)

_current: Final[ContextVar[str | None]] = ContextVar("holdfast_traceparent", default=None)


def traceparent() -> str | None:
    """Return what the code that runs now is to name as its parent, or None outside a trace."""
    return _current.get()


def trace_id() -> str | None:
    """Return the id of the present trace, 32 hexadecimal digits, or None."""
    parent = _current.get()
    return None if parent is None else id_of(parent)


def id_of(parent: str) -> str:
    """Return the id of a trace, as `read_traceparent` answered it."""
    return parent[_ID]


def log_keys() -> Mapping[str, object]:
    """Return what a line of a log should tell of the present trace: `{"trace_id": ...}` or {}."""
    parent = _current.get()
    return {} if parent is None else {TRACE_ID: id_of(parent)}


def read_traceparent(text: str) -> str | None:
    """Read a header, and answer it as version 00 writes it; None if it is malformed."""
    found = _PARENT.fullmatch(text)
    if found is None or (found[1] == "00" and found[3] is not None):
        return None
    return f"00-{found[2]}"


@contextlib.contextmanager
def continued(parent: str | None) -> Iterator[None]:
    """Be inside a trace, as `read_traceparent` answered it, or outside any.

    >>> with continued(read_traceparent(request.headers["traceparent"])):
    ...     await resonate.begin_rpc("order/1", "processOrder", order)
    """
    token = _current.set(parent)
    try:
        yield
    finally:
        _current.reset(token)


def enter(param: Value) -> None:
    """Be inside the trace of a promise from here to the end of the present task."""
    text = None if param.headers is None else param.headers.get(HEADER)
    parent = None if text is None else read_traceparent(text)
    if parent != _current.get():
        _current.set(parent)


def traced(param: Value) -> Value:
    """Write the present trace into a param, unless there is none or the caller wrote one."""
    parent = _current.get()
    if parent is None or (param.headers is not None and HEADER in param.headers):
        return param
    return replace(param, headers={**(param.headers or {}), HEADER: parent})
