"""Cron expressions: at which instants a schedule fires, as by Debian's cron (§5.3).

The one module that knows the library behind it, which counts like that cron: day of month and day
of week are alternatives if both are restricted, and a day field that begins with `*` is not. Where
clocks are set forward, a fixed time that does not exist that day comes at the end of the gap; where
they are set back, it comes once. What repeats within the hour goes by the time that passes.

Pure: instants go in and come out, and a time zone is data.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from holdfast.core.limits import CRON_BYTES_MAX, TIME_ZONE_BYTES_MAX

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)

_FIELDS: Final = "five fields (minute, hour, day of month, month, day of week), or six with seconds"
_FIELD_COUNTS: Final = (5, 6)
_OF_THE_MACHINE: Final = frozenset({"localtime", "posixrules", "factory"})
"""Files beside the zones, which mean something else on each machine."""


class InvalidCron(Exception):
    """An expression, or the name of a time zone, means nothing."""


def flaw_of_cron(expression: str) -> str | None:
    """Say what keeps a text from being an expression, or answer `None`."""
    if not expression.strip():
        return "must not be empty"
    if len(expression) > CRON_BYTES_MAX or not expression.isascii():
        return f"must be at most {CRON_BYTES_MAX} characters of ASCII"
    fields = expression.split()
    if len(fields) not in _FIELD_COUNTS:
        return f"must have {_FIELDS} first, it has {len(fields)}"
    flaw = _flaw_of_fields(fields)
    if flaw is None:
        return None
    # Day and month may each be right while there is no such day in that month.
    day, month = len(fields) - 3, len(fields) - 2
    alone = ([*fields[:each], "*", *fields[each + 1 :]] for each in (day, month))
    if any(_flaw_of_fields(others) is not None for others in alone):
        return f"is no cron expression: {flaw}"
    return "never occurs: there is no such day in these months"


def flaw_of_time_zone(name: str) -> str | None:
    """Say what keeps a text from being the name of a time zone, or answer `None`."""
    try:
        _zone(name)
    except InvalidCron as error:
        return str(error)
    return None


@lru_cache(maxsize=4096)
def next_after(expression: str, time_zone: str, after_ms: int) -> int | None:
    """Find the first instant strictly after another one; `None` when there is none any more.

    Raises `InvalidCron` for what means nothing: zones may be renamed while schedules are stored.
    """
    zone = _zone(time_zone)
    try:
        start = (_EPOCH + after_ms * _MILLISECOND).astimezone(zone)
        for found in _instants(expression, start):
            at_ms = (found - _EPOCH) // _MILLISECOND
            # In an hour that comes twice a fixed time is found again that was there already.
            if at_ms > after_ms:
                return at_ms
    except CronSimError as error:
        raise InvalidCron(str(error)) from error
    except OverflowError:
        return None  # the calendar ends with the year 9999
    return None


def _instants(expression: str, start: datetime) -> Iterator[datetime]:
    """Walk along what an expression names; the library minds clocks only where it has five fields.

    Left to it, a nightly run at 2:30 would be left out, or done twice, for its leading second.
    """
    simulation = CronSim(expression, start)
    _, minutes, hours, *_ = simulation.parts
    if simulation.fixup_tz is None and not minutes.startswith("*") and not hours.startswith("*"):
        simulation.fixup_tz = start.tzinfo
        simulation.dt = simulation.dt.replace(tzinfo=None)
    for found in simulation:
        is_moved = found.hour not in simulation.hours or found.minute not in simulation.minutes
        yield found.replace(second=0) if is_moved else found


def _flaw_of_fields(fields: list[str]) -> str | None:
    try:
        CronSim(" ".join(fields), _EPOCH)
    except CronSimError as error:
        return str(error)
    return None


def _zone(name: str) -> tzinfo:
    """Answer a time zone by its name; the empty one is UTC."""
    if name in {"", "UTC"}:
        return UTC
    is_name = len(name) <= TIME_ZONE_BYTES_MAX and name.isascii() and name.isprintable()
    if not is_name or name.lower() in _OF_THE_MACHINE:
        raise InvalidCron(_no_zone(name[:TIME_ZONE_BYTES_MAX]))
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        # A path out of the folder is a ValueError, a folder in it an OSError.
        raise InvalidCron(_no_zone(name)) from error


def _no_zone(name: str) -> str:
    return f"must be the IANA name of a time zone, such as Europe/Berlin, it is {name!r}"
