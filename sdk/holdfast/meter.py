"""What a process tells whoever counts: how its tasks and the bodies of its steps ended.

Labels of metrics must come from a closed set, so that nothing here names a promise: functions go by
the names that they are registered under, all others by one name.
"""

from typing import Final, Literal, Protocol

from holdfast.registry import Function, Registry

OTHER: Final = "other"
"""The name of every function that is not registered in this process."""

TaskEnd = Literal[
    "resolved",
    "rejected",
    "suspended",
    "released",
    "halted",
    "unknown_function",
    "lost",
    "abandoned",
]
"""How a process came to hold a task no more.

The promise was resolved or rejected; the task was suspended until something it awaits is settled;
it was released to any process, halted for a person, or released because its function is not
registered here; its lease had been lost to somebody else, or it was left to run out.
"""

StepEnd = Literal["succeeded", "failed", "canceled"]
"""How one attempt at a step ended; canceled when its run had ended before it."""


class Meter(Protocol):
    """Receives counts on the event loop; must return at once and never raise."""

    def task_ended(self, *, func: str, outcome: TaskEnd) -> None:
        """Count a task that this process held until now."""

    def step_ended(self, *, func: str, outcome: StepEnd, seconds: float) -> None:
        """Count an attempt at a step, which took so long."""


class NullMeter:
    """Counts nothing."""

    def task_ended(self, *, func: str, outcome: TaskEnd) -> None:
        """Ignore."""

    def step_ended(self, *, func: str, outcome: StepEnd, seconds: float) -> None:
        """Ignore."""


def counted_name(registry: Registry, function: Function) -> str:
    """Answer the name under which a function is counted."""
    registered = registry.find(function.name, function.version) is function
    return function.name if registered else OTHER
