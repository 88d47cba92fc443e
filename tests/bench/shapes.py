"""The workloads' shapes: what every system that is measured must do, and nothing about how.

Standard library only, as programs of peers need the same numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

CHILDREN: Final = 100
"""Children of W4, started at once."""

CRASH_WORKFLOWS, CRASH_STEPS, CRASH_STEP_S = 200, 10, 0.1
CRASH_AFTER_STEPS: Final = 800

SLEEPERS: Final = 1_000
SLEEP_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Workload:
    """A workflow that adds a fixed number to its input, so that every result is checked."""

    name: str
    adds: int
    durable_steps: int
    """Promises that one workflow has settled besides its own: steps and remote calls."""
    floor: float | None = None
    """Least ratio of workflows to echoes on SQLite, both per second and with 64 in flight."""

    @property
    def in_flight(self) -> int | None:
        """How many at a time, where the workload itself says so."""
        return 1 if self.name.startswith("w4") else None


WORKLOADS: Final[Mapping[str, Workload]] = {
    w.name: w
    for w in (
        Workload("w1", adds=0, durable_steps=1, floor=0.3),
        Workload("w2", adds=4, durable_steps=4, floor=0.15),
        Workload("w3", adds=3, durable_steps=3, floor=0.075),
        Workload("w4a", adds=CHILDREN, durable_steps=CHILDREN),
        Workload("w4b", adds=CHILDREN, durable_steps=CHILDREN),
    )
}
