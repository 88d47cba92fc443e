"""When a schedule runs next: five fields, or six with seconds first; UTC. Found by looking."""

import re
from datetime import UTC, datetime, timedelta

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

    def next_after(self, instant: int) -> int:
        """Return the first occurrence after an instant, in milliseconds."""
        moment = datetime.fromtimestamp(instant // 1000 + 1, UTC)
        last = moment + CALENDAR
        while moment <= last:
            if not self.is_day(moment):
                moment = moment.replace(hour=0, minute=0, second=0) + timedelta(days=1)
            elif moment.hour not in self.hours:
                moment = moment.replace(minute=0, second=0) + timedelta(hours=1)
            elif moment.minute not in self.minutes:
                moment = moment.replace(second=0) + timedelta(minutes=1)
            elif moment.second not in self.seconds:
                moment += timedelta(seconds=1)
            else:
                return int(moment.timestamp()) * 1000
        return malformed("the expression never occurs")

    def is_day(self, moment: datetime) -> bool:
        by_month = moment.day in self.days
        by_week = moment.isoweekday() % 7 in self.weekdays
        fits = by_month or by_week if self.either_day else by_month and by_week
        return fits and moment.month in self.months


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
