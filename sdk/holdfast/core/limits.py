"""Every numeric limit of the rules, with the reason for its number."""

from typing import Final

INTEGER_MAX: Final = 2**53 - 1
"""Largest instant, span and version: the largest integer that JSON readers in any language keep."""

ID_BYTES_MAX: Final = 1024
"""Ids, pids and addresses are index keys; PostgreSQL refuses index rows of about 2700 bytes."""

TAGS_MAX: Final = 64
"""Tags are copied into every record that is sent; libraries write at most eight."""

TAGS_BYTES_MAX: Final = 65_536
"""Sum over the names and texts of a promise's tags."""

VALUE_BYTES_MAX: Final = 1_048_576
"""Default for the data and headers of one payload together; a setting of the store."""

CHAIN_OPERATIONS_MAX: Final = 256
"""A chain is one transaction: longer ones would make their neighbours in the batch wait."""

AWAITED_MAX: Final = 65_536
"""Promises that one suspend may name."""

NOT_BEFORE_SPAN_MS_MAX: Final = 60_000
"""How far ahead a release may push the next dispatch."""

UNKNOWN_FUNCTION_RELEASES_MAX: Final = 10
"""Releases as unknown function after which a task is halted instead of offered again."""

PACING_MS: Final = 100
"""Shortest span between a release and the next dispatch of the same task."""

RETRY_INTERVAL_MS: Final = 30_000
"""Span after which an execute message that nobody answered is sent again."""

REASON_BYTES_MAX: Final = 1024
"""Text that says why a task was halted."""

SEARCH_LIMIT_DEFAULT: Final = 100
"""Records on a page of a listing unless its caller says otherwise."""

SEARCH_LIMIT_MAX: Final = 1_000
"""A page is one answer, and one reading that others wait behind."""

SCHEDULE_SEARCH_LIMIT_DEFAULT: Final = 10
"""The same for a listing of schedules, as the protocol has it (§5.2)."""

CRON_BYTES_MAX: Final = 256
"""Cron expressions; one that lists every minute of an hour has 169 characters."""

TIME_ZONE_BYTES_MAX: Final = 64
"""Names of time zones; the longest that is in use has about half of that."""

SEARCH_BYTES_MAX: Final = 3 * 1_048_576
"""Payloads and tags on a page, which has one record in any case: it must fit into a message, that
is 4 MiB, with what a message adds to each record."""


def saturate(value: int) -> int:
    """Bound a sum of instants and spans to the largest integer of the protocol."""
    return min(value, INTEGER_MAX)
