"""Many runs, one after the other, until the time is over or something is found."""

import itertools
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from tests.simulation.faults import CALM, RATES
from tests.simulation.world import Options, Report, simulate

STORES: Final = (1, 3, 1, 2)
"""How many stores a run has, in turn; several share the database as replicas."""

WORKERS_MAX: Final = 3
"""With one worker tasks wait for room most of the time."""

CALM_EVERY: Final = 5
"""In one world of so many nothing goes wrong: faults make stores look again, which hides some
flaws."""

FEW_RUNS: Final = 25
"""With fewer runs than this a rare fault may well be missing."""


def options_of(seed: int) -> Options:
    """Say what the world of a seed is made of."""
    return Options(
        seed=seed,
        stores=STORES[seed % len(STORES)],
        workers=1 + seed % WORKERS_MAX,
        rates=RATES if seed % CALM_EVERY else CALM,
    )


@dataclass
class Campaign:
    """What came of the runs so far."""

    seed: int
    runs: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    virtual_s: float = 0.0
    failed: Report | None = None

    def run(self, *, seconds: float) -> None:
        """Run worlds until the time is over."""
        until_s = time.monotonic() + seconds
        for options in self._options():
            report = simulate(options)
            self.runs += 1
            self.counts += report.counts
            self.virtual_s += report.virtual_s
            if report.broken:
                self.failed = report
                return
            if time.monotonic() >= until_s:
                return

    def _options(self) -> Iterator[Options]:
        return (options_of(seed) for seed in itertools.count(self.seed))

    def missing(self) -> list[str]:
        """Name faults that never happened in so many runs that they should have."""
        if self.runs < FEW_RUNS:
            return []
        return [kind for kind in RATES if not self.counts[kind]]

    def table(self) -> str:
        """Show how often everything happened."""
        faults = "\n".join(f"  {kind:<40}{self.counts[kind]:>9}" for kind in RATES)
        others = sorted(set(self.counts) - set(RATES))
        events = "\n".join(f"  {kind:<40}{self.counts[kind]:>9}" for kind in others)
        hours = self.virtual_s / 3_600
        return (
            f"{self.runs} runs, {hours:.1f} virtual hours, from --seed {self.seed}\n"
            f" faults\n{faults}\n events\n{events}"
        )

    def verdict(self) -> str:
        """Say what was found, and how to see it again."""
        if self.failed is None:
            missing = self.missing()
            return f"these faults never happened: {missing}" if missing else "nothing was found"
        seed, stores = self.failed.options.seed, self.failed.options.stores
        found = "\n  ".join(self.failed.broken)
        again = f"python -m tests.simulation --one {seed}"
        return f"found by seed {seed} with {stores} stores; again: {again}\n  {found}"

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found, and everything was tried."""
        return self.failed is None and not self.missing()
