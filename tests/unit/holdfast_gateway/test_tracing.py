"""The trace of a request: the caller's, or a new one."""

import re

import pytest

from holdfast.tracing import id_of
from holdfast_gateway.tracing import find_traceparent, take_traceparent

TRACE, SPAN = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"


def parent(value: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"x"), (b"traceparent", value)]


@pytest.mark.parametrize(
    "value",
    [
        b"00-" + TRACE + b"-" + SPAN + b"-01",
        b"00-" + TRACE + b"-" + SPAN + b"-00",
        b"01-" + TRACE + b"-" + SPAN + b"-01-what comes later",
    ],
)
def test_the_trace_of_the_caller_is_kept(value: bytes) -> None:
    kept = take_traceparent(parent(value))

    assert kept == f"00-{TRACE.decode()}-{SPAN.decode()}-{value[53:55].decode()}"
    assert id_of(kept) == TRACE.decode()


@pytest.mark.parametrize(
    "value",
    [
        b"",
        TRACE,
        b"ff-" + TRACE + b"-" + SPAN + b"-01",
        b"00-" + TRACE.upper() + b"-" + SPAN + b"-01",
        b"00-" + b"0" * 32 + b"-" + SPAN + b"-01",
        b"00-" + TRACE + b"-" + b"0" * 16 + b"-01",
        b"00-" + TRACE + b"-" + SPAN + b"-01-more",
        b"00-" + TRACE + b"-" + SPAN + b"-01\n",
    ],
)
def test_a_malformed_parent_begins_a_new_trace(value: bytes) -> None:
    taken = take_traceparent(parent(value))

    assert find_traceparent(parent(value)) is None
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", taken)
    assert id_of(taken).encode() != TRACE
    assert taken != take_traceparent(parent(value))


def test_two_parents_are_none() -> None:
    twice = parent(b"00-" + TRACE + b"-" + SPAN + b"-01") * 2

    assert find_traceparent(twice) is None
