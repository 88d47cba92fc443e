"""What goes wrong, how often, and how often it did."""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


class Died(BaseException):
    """The process ended at this very line; nothing in it may go on."""


RATES: Final[Mapping[str, float]] = {
    # Of statements on a file, each.
    "statement failed before": 0.001,
    "statement failed between two rows": 0.02,
    "statement failed after": 0.000_5,
    "commit failed, not done": 0.005,
    "commit failed, done": 0.005,
    "store crashed at a statement": 0.000_3,
    # Of calls of the storage's port where several stores share the database, each.
    "database away": 0.004,
    "transaction aborted": 0.01,
    "insert conflict": 0.006,
    "batch rejected": 0.002,
    "commit outcome unknown, done": 0.005,
    "commit outcome unknown, not done": 0.003,
    # Of points inside a batch, each.
    "store crashed in a batch": 0.002,
    # Of messages, each.
    "connection cut": 0.004,
    "message delayed": 0.02,
    "request lost": 0.02,
    "answer lost": 0.02,
    "request doubled": 0.03,
    "wake-up lost": 0.2,
    "wake-up doubled": 0.1,
    "wake-up delayed": 0.2,
    # Of seconds, each.
    "store crashed between two turns": 0.03,
    "store crashed, its clock was set back": 0.02,
    "store restarted in order": 0.01,
    "store stood still": 0.01,
    "worker crashed": 0.04,
    "clock set forward": 0.01,
    "clock set back": 0.01,
}
"""How likely each fault is, each time that it could happen."""

CALM: Final[Mapping[str, float]] = dict.fromkeys(RATES, 0.0)
"""Nothing goes wrong."""


@dataclass
class Faults:
    """The dice of one run. `are_on` is false while the world heals."""

    rng: random.Random
    are_on: bool = True
    rates: Mapping[str, float] = field(default_factory=lambda: RATES)
    counts: Counter[str] = field(default_factory=Counter)

    def strikes(self, kind: str) -> bool:
        """Throw the dice for a fault, and count it if it happens."""
        if not self.are_on or self.rng.random() >= self.rates[kind]:
            return False
        self.counts[kind] += 1
        return True
