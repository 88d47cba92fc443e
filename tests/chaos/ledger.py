"""What clients were told: every word of it must be true in the end."""

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Run:
    """A workflow that was asked for."""

    kind: str
    promise_id: str
    begun: bool = False
    """Whether the store has acknowledged it."""
    told: object = None
    """What a client was told of its end."""
    is_over: bool = False


@dataclass(slots=True)
class Record:
    """A promise that clients make and settle by themselves."""

    promise_id: str
    param: str
    created: bool = False
    """Whether its making was acknowledged."""
    values: list[str] = field(default_factory=list)
    """What was sent to settle it."""
    told: set[str] = field(default_factory=set)
    """The values that answers have told of."""


@dataclass(frozen=True, slots=True)
class Kill:
    """A process was killed; those of PostgreSQL have no life of their own to remember."""

    at_ms: int
    kind: str
    name: str
    os_pid: int


class Ledger:
    """Everything that was asked for, acknowledged, told and killed. Filled by two threads."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.records: list[Record] = []
        self.kills: list[Kill] = []
        self.unanswered = 0
        """Requests of which nobody knows whether they were carried out."""
        self.repeated = 0
        """Requests that were sent again because they were not answered."""
        self.wrong: list[str] = []
        """Answers that cannot be true, as sentences."""

    def killed(self, kind: str, name: str, os_pid: int) -> None:
        """Note a kill that happens now."""
        self.kills.append(Kill(now_ms(), kind, name, os_pid))


def now_ms() -> int:
    """Read the machine's clock, as journals do."""
    return time.time_ns() // 1_000_000
