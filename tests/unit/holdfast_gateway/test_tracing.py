"""The trace of a request: the caller's, or a new one."""

import re

import pytest

from holdfast_gateway.tracing import take_trace_id

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
    assert take_trace_id(parent(value)) == TRACE.decode()


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
    taken = take_trace_id(parent(value))

    assert re.fullmatch("[0-9a-f]{32}", taken)
    assert taken.encode() != TRACE
    assert taken != take_trace_id(parent(value))


def test_two_parents_are_none() -> None:
    twice = parent(b"00-" + TRACE + b"-" + SPAN + b"-01") * 2

    assert take_trace_id(twice).encode() != TRACE
