"""What goes wrong, how often, and how often it did."""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

RATES: Final[Mapping[str, float]] = {
    # Of calls of the storage's port, each.
    "database away": 0.004,
    "transaction aborted": 0.01,
    "insert conflict": 0.006,
    "batch rejected": 0.001,
    "commit outcome unknown, done": 0.003,
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
