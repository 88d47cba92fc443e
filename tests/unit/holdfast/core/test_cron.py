"""Cron expressions mean what they mean to Debian's cron, in any time zone."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast.core.cron import InvalidCron, flaw_of_cron, flaw_of_time_zone, next_after
from holdfast.core.limits import CRON_BYTES_MAX, INTEGER_MAX

BERLIN = "Europe/Berlin"


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def local(at_ms: int, zone: str) -> str:
    return datetime.fromtimestamp(at_ms / 1000, ZoneInfo(zone or "UTC")).isoformat()


def following(expression: str, after: str, count: int, *, zone: str = "") -> list[str]:
    """List so many occurrences behind an instant, as the clocks of the zone show them."""
    found = []
    at_ms: int | None = ms(after)
    for _ in range(count):
        assert at_ms is not None
        at_ms = next_after(expression, zone, at_ms)
        assert at_ms is not None
        found.append(local(at_ms, zone))
    return found


def test_the_next_occurrence_lies_strictly_behind_the_instant() -> None:
    assert next_after("* * * * *", "", 60_000) == 120_000
    assert next_after("* * * * *", "", 59_999) == 60_000


def test_six_fields_begin_with_seconds() -> None:
    assert next_after("*/20 * * * * *", "", 60_000) == 80_000


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        # Both restricted: either will do.
        ("0 0 13 * 5", ["2026-11-06", "2026-11-13", "2026-11-20"]),
        # One of them begins with a star, and does not restrict: both must fit.
        ("0 0 */2 * 1", ["2026-11-09", "2026-11-23", "2026-12-07"]),
        ("0 0 13 * */5", ["2026-11-13", "2026-12-13", "2027-06-13"]),
        ("0 0 * * 0", ["2026-11-08", "2026-11-15", "2026-11-22"]),
        ("0 0 * * 7", ["2026-11-08", "2026-11-15", "2026-11-22"]),
        ("0 0 * * SUN", ["2026-11-08", "2026-11-15", "2026-11-22"]),
        ("0 0 1 feb *", ["2027-02-01", "2028-02-01", "2029-02-01"]),
        ("0 0 29 2 *", ["2028-02-29", "2032-02-29", "2036-02-29"]),
        ("0 0 31 2 1", ["2027-02-01", "2027-02-08", "2027-02-15"]),
    ],
)
def test_days_are_chosen_as_by_cron(expression: str, expected: list[str]) -> None:
    days = following(expression, "2026-11-02T00:00:00+00:00", 3)

    assert days == [f"{day}T00:00:00+00:00" for day in expected]


def test_a_fixed_time_that_clocks_leave_out_comes_at_the_end_of_the_gap() -> None:
    found = following("30 2 * * *", "2026-03-28T12:00:00+00:00", 2, zone=BERLIN)

    assert found == ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]


def test_a_fixed_time_that_comes_twice_is_taken_once() -> None:
    found = following("30 2 * * *", "2026-10-24T12:00:00+00:00", 2, zone=BERLIN)

    assert found == ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]


def test_a_fixed_time_is_not_found_again_between_its_two_passes() -> None:
    found = following("30 2 * * *", "2026-10-25T02:10:00+01:00", 1, zone=BERLIN)

    assert found == ["2026-10-26T02:30:00+01:00"]


def test_what_repeats_within_the_hour_goes_by_the_time_that_passes() -> None:
    found = following("*/30 * * * *", "2026-10-25T02:10:00+02:00", 4, zone=BERLIN)

    assert found == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-25T02:00:00+01:00",
        "2026-10-25T02:30:00+01:00",
        "2026-10-25T03:00:00+01:00",
    ]


@pytest.mark.parametrize(
    ("expression", "flaw"),
    [
        ("", "must not be empty"),
        (" ", "must not be empty"),
        ("* * * *", "it has 4"),
        ("* * * * * * *", "it has 7"),
        ("@daily", "it has 1"),
        ("61 * * * *", "Bad minute"),
        ("* * 0 * *", "Bad day-of-month"),
        ("* * * * 8", "Bad day-of-week"),
        ("* * * foo *", "Bad month"),
        ("*/0 * * * *", "Bad minute"),
        ("ä * * * *", "ASCII"),
        ("0 0 30 2 *", "never occurs"),
        ("0 0 0 31 4,6 *", "never occurs"),
        ("0 0 30 2 foo", "Bad"),
        (" ".join(["*" * CRON_BYTES_MAX] * 5), f"at most {CRON_BYTES_MAX}"),
    ],
)
def test_what_is_no_expression_is_named(expression: str, flaw: str) -> None:
    assert flaw in str(flaw_of_cron(expression))


@pytest.mark.parametrize("name", ["", "UTC", BERLIN, "America/Argentina/Buenos_Aires"])
def test_time_zones_have_their_iana_names(name: str) -> None:
    assert flaw_of_time_zone(name) is None


@pytest.mark.parametrize(
    "name",
    ["Nowhere", "Europe", "../UTC", "/etc/passwd", "localtime", "posixrules", "Ü", "\0", "x" * 999],
)
def test_what_is_no_time_zone_is_named(name: str) -> None:
    assert "IANA" in str(flaw_of_time_zone(name))
    with pytest.raises(InvalidCron):
        next_after("* * * * *", name, 0)


def test_an_expression_that_means_nothing_any_more_is_an_error_of_its_own() -> None:
    with pytest.raises(InvalidCron):
        next_after("often", "", 0)


def test_there_is_nothing_behind_the_end_of_the_calendar() -> None:
    assert next_after("* * * * *", "", INTEGER_MAX) is None
    assert next_after("0 0 1 1 *", "", ms("9999-06-01T00:00:00+00:00")) is None


@settings(deadline=None)  # a busy machine is slow
@given(st.text(max_size=40))
@example("L,1/2 * * * *")
@example("0 0 L * *")
@example("0 0 LW/2 * 1L")
@example("0 0 * * 1#2/2")
def test_any_text_is_an_expression_or_has_a_flaw(text: str) -> None:
    if flaw_of_cron(text) is None:
        found = next_after(text, "", 0)
        assert found is None or found > 0


FIELD = st.sampled_from(["*", "*/7", "0", "30", "5,35", "1-3", "20-40/5"])
HOURS = st.sampled_from(["*", "*/2", "0", "1", "2", "2,3", "0-4"])
ZONES = st.sampled_from(["", BERLIN, "America/Havana", "Australia/Lord_Howe", "Pacific/Apia"])
INSTANTS = st.integers(ms("2011-12-29T00:00:00+00:00"), ms("2026-12-31T00:00:00+00:00"))


@settings(deadline=None)  # a busy machine is slow
@given(FIELD, HOURS, ZONES, INSTANTS)
def test_occurrences_follow_each_other_strictly_and_depend_on_nothing_before(
    minutes: str, hours: str, zone: str, start_ms: int
) -> None:
    """Whoever asks from an instant between two occurrences finds the same second one."""
    expression = f"{minutes} {hours} * * *"
    first = next_after(expression, zone, start_ms)
    assert first is not None
    second = next_after(expression, zone, first)
    assert second is not None

    assert start_ms < first < second
    assert next_after(expression, zone, first - 1) == first
    assert next_after(expression, zone, (first + second) // 2) == second


@settings(deadline=None)  # a busy machine is slow
@given(FIELD, HOURS, INSTANTS)
def test_in_utc_an_occurrence_matches_its_fields_and_none_is_left_out(
    minutes: str, hours: str, start_ms: int
) -> None:
    found = next_after(f"{minutes} {hours} * * *", "", start_ms)
    assert found is not None

    minute_ms = start_ms - start_ms % 60_000 + 60_000
    while not _matches(minute_ms, minutes, hours):
        minute_ms += 60_000
    assert found == minute_ms


def _matches(at_ms: int, minutes: str, hours: str) -> bool:
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return at.minute in _numbers(minutes, 60) and at.hour in _numbers(hours, 24)


def _numbers(field: str, end: int) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        numbers = range(end) if span == "*" else range(int(first), int(last or first) + 1)
        found.update(numbers[:: int(step or 1)])
    return found
