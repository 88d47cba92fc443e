"""Points of a run at which a test may want the process to die.

The runtime reports each point to an observer, if it was given one; nothing in it branches on that.
`KillAt` is the observer of kill tests. A worker's `__main__` decides whether to wire it.
"""

import os
import re
import signal
from collections.abc import Mapping
from typing import Final, Protocol

POINTS: Final = (
    "before_step_body",
    "after_step_body",
    "before_write",
    "after_write",
    "before_fulfill",
    "after_fulfill",
    "before_suspend",
    "after_suspend",
)

ENVIRONMENT_VARIABLE: Final = "HOLDFAST_CRASH_AT"


class Observer(Protocol):
    """Learns where a run is. Called on the event loop, before or after the fact that it names."""

    def reached(self, point: str, task_id: str, step_id: str) -> None:
        """Take note; `step_id` is the id of the child, or of the task itself."""


class KillAt:
    """Kills its own process, as a power failure would, at the nth visit of a point.

    `pattern` is a regular expression that must match all of `point:step_id`.
    """

    def __init__(self, pattern: str, *, occurrence: int = 1) -> None:
        self._pattern = re.compile(pattern)
        self._left = occurrence

    def reached(self, point: str, task_id: str, step_id: str) -> None:  # noqa: ARG002 - the port's
        """Die if it is time."""
        if self._pattern.fullmatch(f"{point}:{step_id}"):
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "KillAt | None":
        """Read `HOLDFAST_CRASH_AT`: a pattern, or `pattern#n`; `None` if it is not set.

        >>> KillAt.from_environment({"HOLDFAST_CRASH_AT": "before_write:order/1[.]1#2"})
        """
        text = environment.get(ENVIRONMENT_VARIABLE)
        if not text:
            return None
        pattern, mark, number = text.rpartition("#")
        if not mark or not number.isdigit():
            return cls(text)
        return cls(pattern, occurrence=int(number))
