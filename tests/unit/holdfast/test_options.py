from datetime import timedelta
from typing import Any

import pytest

from holdfast.errors import InvalidVersion
from holdfast.options import NO_OPTIONS, Options, span_ms, split_options


def test_options_are_taken_off_the_end_only() -> None:
    options = Options(timeout=1)

    assert split_options((1, options)) == ((1,), options)
    assert split_options((options, 1)) == ((options, 1), NO_OPTIONS)
    assert split_options(()) == ((), NO_OPTIONS)


def test_trailing_options_win_over_the_prefix() -> None:
    prefix = Options(timeout=1, target="a")
    _, merged = split_options((Options(target="b"),), prefix)

    assert (merged.timeout, merged.target) == (1, "b")


@pytest.mark.parametrize(
    ("span", "milliseconds"),
    [(0, 0), (1.5, 1500), (1.001, 1001), (timedelta(minutes=1), 60_000), (1e300, 2**53 - 1)],
)
def test_spans_are_seconds_or_timedeltas(span: Any, milliseconds: int) -> None:
    assert span_ms(span, field="timeout") == milliseconds


@pytest.mark.parametrize("span", [-1, timedelta(seconds=-1), float("nan")])
def test_negative_spans_are_refused_naming_the_field(span: Any) -> None:
    with pytest.raises(ValueError, match="timeout"):
        Options(timeout=span)


@pytest.mark.parametrize("span", ["1", True])
def test_other_types_are_refused(span: Any) -> None:
    with pytest.raises(TypeError, match="delay"):
        Options(delay=span)


def test_impossible_values_are_refused() -> None:
    with pytest.raises(InvalidVersion):
        Options(version=0)
    with pytest.raises(ValueError, match="on_conflict"):
        Options(on_conflict="maybe")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Options(timout=1)  # type: ignore[call-arg]


def test_the_default_timeout_is_a_day() -> None:
    assert NO_OPTIONS.timeout_ms == 24 * 3600 * 1000
