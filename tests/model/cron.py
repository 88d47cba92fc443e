"""When a schedule runs next: five fields, or six with seconds first. Found by looking.

Where clocks are set forward or back, it goes as by Debian's cron: a fixed time that does not exist
that day comes when it would have, at the end of the gap, and one that exists twice comes once. What
goes by every minute or every hour is not at a fixed time, and goes by what the clock shows.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from tests.model.reading import malformed

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")  # both 0 and 7 are Sunday
FIELDS = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, MONTHS),
    ("day of the week", 0, 7, WEEKDAYS),
)
CALENDAR = timedelta(days=146_097)
"""After 400 years the calendar repeats itself, with its weekdays."""
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)


@lru_cache(maxsize=100_000)  # it is always the same
def next_after(expression: str, time_zone: str, instant: int) -> int:
    """Return the first occurrence after an instant, in milliseconds."""
    return Cron(expression).next_after(instant, ZoneInfo(time_zone) if time_zone else UTC)


class Cron:
    """An expression: the set of values that each field allows."""

    def __init__(self, expression: str) -> None:
        words = expression.split()
        if len(words) == 5:
            words = ["0", *words]
        if len(words) != 6:
            malformed("cron has five fields, or six with seconds first")
        sets = [read_field(word, *field) for word, field in zip(words, FIELDS, strict=True)]
        self.seconds, self.minutes, self.hours, self.days, self.months, weekdays = sets
        self.weekdays = {weekday % 7 for weekday in weekdays}
        # A day field that begins with a star restricts nothing by itself, so both must fit; two
        # that restrict the day are alternatives.
        self.either_day = not words[3].startswith("*") and not words[5].startswith("*")
        self.is_fixed = not words[1].startswith("*") and not words[2].startswith("*")

    def next_after(self, instant: int, zone: tzinfo) -> int:
        """Return the first occurrence after an instant, in milliseconds."""
        after = datetime.fromtimestamp(instant // 1000, UTC)
        found = self.fixed_times(after, zone) if self.is_fixed else self.shown_times(after, zone)
        for moment in found:
            if moment > after:
                return int(moment.timestamp()) * 1000
        return malformed("the expression never occurs")

    def shown_times(self, after: datetime, zone: tzinfo) -> Iterator[datetime]:
        """Walk along the time that passes, and look at what a clock in the zone shows."""
        moment, last = after + SECOND, after + CALENDAR
        while moment <= last:
            shown = moment.astimezone(zone)
            if not self.is_day(shown):
                midnight = shown.replace(hour=0, minute=0, second=0, fold=0) + DAY
                moment = midnight.astimezone(UTC)
                continue
            if self.is_time(shown):
                yield moment
            is_minute = shown.hour in self.hours and shown.minute in self.minutes
            moment += SECOND if is_minute else timedelta(seconds=60 - shown.second)

    def fixed_times(self, after: datetime, zone: tzinfo) -> Iterator[datetime]:
        """Walk along the calendar, and look when each time comes that the expression names."""
        today = after.astimezone(zone).replace(tzinfo=None, hour=0, minute=0, second=0)
        day, last = today - DAY, today + CALENDAR
        while day <= last:
            times = self.times_of(day) if self.is_day(day) else ()
            yield from (instant_of(time, zone) for time in times)
            day += DAY

    def times_of(self, day: datetime) -> Iterator[datetime]:
        for hour in sorted(self.hours):
            for minute in sorted(self.minutes):
                for second in sorted(self.seconds):
                    yield day.replace(hour=hour, minute=minute, second=second)

    def is_time(self, moment: datetime) -> bool:
        if moment.hour not in self.hours or moment.minute not in self.minutes:
            return False
        return moment.second in self.seconds

    def is_day(self, moment: datetime) -> bool:
        by_month = moment.day in self.days
        by_week = moment.isoweekday() % 7 in self.weekdays
        fits = by_month or by_week if self.either_day else by_month and by_week
        return fits and moment.month in self.months


def instant_of(time: datetime, zone: tzinfo) -> datetime:
    """Return when a clock shows a time first; of one that it never shows, the end of the gap."""
    instant = time.replace(tzinfo=zone).astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == time:
        return instant
    moment = time.replace(tzinfo=zone, fold=1).astimezone(UTC).replace(second=0)
    offset = moment.astimezone(zone).utcoffset()
    while moment.astimezone(zone).utcoffset() == offset:
        moment += MINUTE
    return moment


def read_field(word: str, name: str, first: int, last: int, names: tuple[str, ...]) -> set[int]:
    """Return the values of one field: a list of `*`, a value or a range, a step behind each."""
    values: set[int] = set()
    for part in word.lower().split(","):
        for position, text in enumerate(names):
            part = re.sub(rf"\b{text}\b", str(position + first), part)  # noqa: PLW2901 - reads best
        match = re.fullmatch(r"(?:(\*)|([0-9]+)(?:-([0-9]+))?)(?:/([0-9]+))?", part)
        if match is None:
            malformed(f"cannot read the {name}")
        star, low, high, step = match.groups()
        start = first if star else int(low)
        stop = last if star else int(high or low)
        if not first <= start <= stop <= last or step == "0":
            malformed(f"the {name} goes from {first} to {last}")
        values.update(range(start, stop + 1, int(step or 1)))
    return values
