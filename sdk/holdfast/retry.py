"""How often and when a failed function runs again.

`next_delay(attempt)` takes the number of the attempt that just failed, from 1 on, and answers
seconds, or `None` to stop. Formulas, defaults and wire form are those of the official SDKs, so
that a policy means the same on every worker; the first delay of the default is 2 s.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from holdfast.core.limits import INTEGER_MAX
from holdfast.errors import DecodeError


class RetryPolicy(Protocol):
    """Decides on another attempt."""

    def next_delay(self, attempt: int) -> float | None:
        """Seconds until the next attempt, or `None` when there is none."""

    def to_wire(self) -> dict[str, object]:
        """Write the policy as it travels in the param of a remote call."""


def _check(*, delay: float, max_retries: int | None) -> None:
    if delay < 0:
        raise ValueError(f"delay must not be negative, it is {delay}")
    if max_retries is not None and max_retries < 0:
        raise ValueError(f"max_retries must not be negative, it is {max_retries}")


def _wire_retries(max_retries: int | None) -> int:
    return INTEGER_MAX if max_retries is None else max_retries


@dataclass(frozen=True, slots=True)
class Exponential:
    """`min(delay * factor ** attempt, max_delay)` seconds; `jitter` takes off up to that part."""

    type_name: ClassVar[str] = "exponential"

    delay: float = 1.0
    factor: float = 2.0
    max_delay: float = 30.0
    max_retries: int | None = None
    jitter: float = 0.0

    def __post_init__(self) -> None:
        _check(delay=self.delay, max_retries=self.max_retries)
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter must be from 0 to 1, it is {self.jitter}")

    def next_delay(self, attempt: int) -> float | None:
        """Seconds until the next attempt."""
        if self.max_retries is not None and attempt > self.max_retries:
            return None
        if attempt <= 0:
            return 0.0
        try:
            delay = min(self.delay * self.factor**attempt, self.max_delay)
        except OverflowError:
            delay = self.max_delay
        if self.jitter:
            delay *= 1 - self.jitter * random.random()  # noqa: S311 - spreads load, hides nothing
        return delay

    def to_wire(self) -> dict[str, object]:
        """Write the policy in milliseconds; jitter stays at home, the official form has none."""
        return {
            "type": self.type_name,
            "data": {
                "delay": _milliseconds(self.delay),
                "factor": self.factor,
                "maxDelay": _milliseconds(self.max_delay),
                "maxRetries": _wire_retries(self.max_retries),
            },
        }


@dataclass(frozen=True, slots=True)
class Linear:
    """`delay * attempt` seconds."""

    type_name: ClassVar[str] = "linear"

    delay: float = 1.0
    max_retries: int | None = None

    def __post_init__(self) -> None:
        _check(delay=self.delay, max_retries=self.max_retries)

    def next_delay(self, attempt: int) -> float | None:
        """Seconds until the next attempt."""
        if self.max_retries is not None and attempt > self.max_retries:
            return None
        return self.delay * max(attempt, 0)

    def to_wire(self) -> dict[str, object]:
        """Write the policy in milliseconds."""
        return {
            "type": self.type_name,
            "data": {
                "delay": _milliseconds(self.delay),
                "maxRetries": _wire_retries(self.max_retries),
            },
        }


@dataclass(frozen=True, slots=True)
class Constant:
    """`delay` seconds, always."""

    type_name: ClassVar[str] = "constant"

    delay: float = 1.0
    max_retries: int | None = None

    def __post_init__(self) -> None:
        _check(delay=self.delay, max_retries=self.max_retries)

    def next_delay(self, attempt: int) -> float | None:
        """Seconds until the next attempt."""
        if self.max_retries is not None and attempt > self.max_retries:
            return None
        return 0.0 if attempt <= 0 else self.delay

    def to_wire(self) -> dict[str, object]:
        """Write the policy in milliseconds."""
        return {
            "type": self.type_name,
            "data": {
                "delay": _milliseconds(self.delay),
                "maxRetries": _wire_retries(self.max_retries),
            },
        }


@dataclass(frozen=True, slots=True)
class Never:
    """One attempt."""

    type_name: ClassVar[str] = "never"

    def next_delay(self, attempt: int) -> float | None:
        """No next attempt."""
        return 0.0 if attempt <= 0 else None

    def to_wire(self) -> dict[str, object]:
        """Write the policy, which has no numbers."""
        return {"type": self.type_name, "data": {}}


STEP_DEFAULT: RetryPolicy = Exponential()
"""A step that fails is tried again until its deadline."""

WORKFLOW_DEFAULT: RetryPolicy = Never()
"""Its steps have been retried already; what it raises itself is meant."""


def from_wire(value: object) -> RetryPolicy:
    """Read a policy out of a param; raise `DecodeError` for one that nobody here writes."""
    if isinstance(value, Mapping):
        data = value.get("data")
        read = _READERS.get(str(value.get("type")))
        if read is not None and isinstance(data, Mapping):
            try:
                return read(data)
            except (KeyError, TypeError, ValueError) as error:
                raise DecodeError(f"retry has a bad {value['type']} policy: {error!r}") from error
    raise DecodeError(
        "retry must be an object with `type` (exponential, linear, constant or never) and `data`"
    )


def _milliseconds(seconds: float) -> float:
    milliseconds = seconds * 1000
    return int(milliseconds) if milliseconds == int(milliseconds) else milliseconds


def _retries(data: Mapping[str, object]) -> int | None:
    retries = _number(data, "maxRetries", INTEGER_MAX)
    return None if retries >= INTEGER_MAX else int(retries)


def _number(data: Mapping[str, object], name: str, default: float) -> float:
    value = data.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number")
    return value


def _read_exponential(data: Mapping[str, object]) -> RetryPolicy:
    return Exponential(
        delay=_number(data, "delay", 1000) / 1000,
        factor=_number(data, "factor", 2),
        max_delay=_number(data, "maxDelay", 30_000) / 1000,
        max_retries=_retries(data),
    )


def _read_linear(data: Mapping[str, object]) -> RetryPolicy:
    return Linear(delay=_number(data, "delay", 1000) / 1000, max_retries=_retries(data))


def _read_constant(data: Mapping[str, object]) -> RetryPolicy:
    return Constant(delay=_number(data, "delay", 1000) / 1000, max_retries=_retries(data))


def _read_never(_data: Mapping[str, object]) -> RetryPolicy:
    return Never()


_READERS: Mapping[str, Callable[[Mapping[str, object]], RetryPolicy]] = {
    "exponential": _read_exponential,
    "linear": _read_linear,
    "constant": _read_constant,
    "never": _read_never,
}


def is_retryable(error: Exception, non_retryable: tuple[type[Exception], ...]) -> bool:
    """Whether another attempt makes sense at all, whatever the policy says."""
    if isinstance(error, non_retryable):
        return False
    return getattr(error, "retryable", None) is not False
