"""An instant in the metadata of a call is a number in decimal digits, and nothing else is."""

import pytest

from holdfast.core.limits import INTEGER_MAX
from holdfast_store.rpc.instants import parse_instant


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [("0", 0), ("1000", 1000), ("007", 7), (str(INTEGER_MAX), INTEGER_MAX)],
)
def test_digits_are_an_instant(text: str, at_ms: int) -> None:
    assert parse_instant(text) == at_ms


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "-1", "+1", "-0", "1.0", "1.5", "1e3", "1_000", " 1", "1 ", "0x10", "now"),
        *("NaN", "٣", "1,000", str(INTEGER_MAX + 1), "9" * 5_000, b"1000"),
    ],
)
def test_anything_else_is_none(text: str | bytes) -> None:
    assert parse_instant(text) is None
