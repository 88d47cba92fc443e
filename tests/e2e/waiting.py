"""Waiting for what others do, with an end."""

import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")

PAUSE_S = 0.2


class NeverCame(AssertionError):
    """What was waited for did not come in time."""


def until(
    probe: Callable[[], _T | None], what: str, *, seconds: float = 120, pause_s: float = PAUSE_S
) -> _T:
    """Return the first answer that counts as true; raise NeverCame with the last other one."""
    deadline = time.monotonic() + seconds
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise NeverCame(f"after {seconds:g} s still not: {what}; the last answer: {answer!r}")
        time.sleep(pause_s)
