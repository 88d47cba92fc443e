"""What can be said about a single call beside its arguments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Literal

from holdfast.core.limits import INTEGER_MAX
from holdfast.errors import InvalidVersion
from holdfast.retry import RetryPolicy

TIMEOUT_MS_DEFAULT = 24 * 60 * 60 * 1000
"""Deadline of a call that names none: a day, as in the official SDKs."""


def span_ms(span: float | timedelta, *, field: str) -> int:
    """Read seconds or a timedelta as whole milliseconds; raise `ValueError` below zero."""
    seconds = span.total_seconds() if isinstance(span, timedelta) else span
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"{field} must be seconds or a timedelta, it is {span!r}")
    if not seconds >= 0:
        raise ValueError(f"{field} must not be negative, it is {span!r}")
    # Rounded: as a binary fraction of a second, a whole number of milliseconds may lie below it.
    return round(min(seconds * 1000, INTEGER_MAX))


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of one call; `None` leaves the default.

    Passed as the last positional argument, or as a prefix: `ctx.options(timeout=5).run(fn)`.
    """

    id: str | None = None
    """Id of the child instead of the generated one (inside a workflow)."""
    tags: Mapping[str, str] | None = None
    target: str | None = None
    """Worker group, or an address, of a remote call; default: the own group."""
    timeout: float | timedelta | None = None
    """Seconds until the promise times out; default a day, inside a workflow at most its own."""
    version: int | None = None
    """Version of the function; default the highest that is registered."""
    retry_policy: RetryPolicy | None = None
    non_retryable: Sequence[type[Exception]] | None = None
    """Exceptions after which a step is not tried again."""
    delay: float | timedelta | None = None
    """Seconds before a remote call is given to a worker for the first time."""
    on_conflict: Literal["return", "raise"] | None = None
    """Of a client's call with an id that exists: `raise` if function or arguments differ."""

    def __post_init__(self) -> None:
        if self.version is not None and (isinstance(self.version, bool) or self.version < 1):
            raise InvalidVersion(f"version must be from 1 on, it is {self.version!r}")
        if self.timeout is not None:
            span_ms(self.timeout, field="timeout")
        if self.delay is not None:
            span_ms(self.delay, field="delay")
        if self.on_conflict not in (None, "return", "raise"):
            raise ValueError(f"on_conflict must be 'return' or 'raise', it is {self.on_conflict!r}")

    @property
    def timeout_ms(self) -> int:
        """The timeout as a span in milliseconds."""
        if self.timeout is None:
            return TIMEOUT_MS_DEFAULT
        return span_ms(self.timeout, field="timeout")

    def updated(self, other: "Options") -> "Options":
        """Lay what other options say over these."""
        if other is NO_OPTIONS or self is NO_OPTIONS:
            return other if self is NO_OPTIONS else self
        merged = {
            f.name: getattr(self, f.name)
            if getattr(other, f.name) is None
            else getattr(other, f.name)
            for f in fields(Options)
        }
        return Options(**merged)


NO_OPTIONS = Options()


def split_options(
    args: tuple[object, ...], base: Options = NO_OPTIONS
) -> tuple[tuple[object, ...], Options]:
    """Take options off the end of positional arguments; elsewhere they are ordinary arguments."""
    if args and isinstance(args[-1], Options):
        return args[:-1], base.updated(args[-1])
    return args, base
