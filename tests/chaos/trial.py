"""One trial: load, kills, and the verdict, as figures for people and for files."""

import json
import os
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tests.chaos.cluster import Cluster
from tests.chaos.killer import Killer, Weights
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.verdict import SHOWN_MAX, Verdict, exits_of, judge
from tests.integration.postgres import Server

FINISH_S_MAX: Final = 120.0
"""How long what was begun may take to its end once nobody is killed any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a trial is made of."""

    stores: int
    seconds: float
    every_s: tuple[float, float]
    """Bounds of the span between two kills."""
    seed: int
    kills_min: int = 0
    """A busy machine kills slowly, and a trial without kills proves nothing."""
    weights: Weights | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a trial."""

    plan: Plan
    ledger: Ledger
    verdict: Verdict

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not self.verdict.findings

    def figures(self) -> dict[str, Any]:
        """Everything that was counted."""
        ledger, verdict = self.ledger, self.verdict
        records = ledger.records
        return {
            "stores": self.plan.stores,
            "seconds": self.plan.seconds,
            "seed": self.plan.seed,
            "kills": dict(Counter(kill.kind for kill in ledger.kills)),
            "workflows": dict(Counter(run.kind for run in ledger.runs)),
            "workflows_ended": sum(run.is_over for run in ledger.runs),
            "records": len(records),
            "records_acknowledged": sum(record.created for record in records),
            "settlements_told": sum(bool(record.told) for record in records),
            "requests_never_answered": ledger.unanswered,
            "requests_repeated": ledger.repeated,
            "bodies": verdict.bodies,
            "bodies_again": dict(verdict.again),
            "lost": len(verdict.lost),
            "doubled": len(verdict.doubled),
            "unexplained": len(verdict.unexplained),
            "undone": len(verdict.undone),
            "wrong": len(verdict.wrong),
            "check": verdict.check,
        }

    def table(self) -> str:
        """Write the figures one below the other, and the first findings in full."""
        lines = []
        for name, value in self.figures().items():
            shown = value
            if isinstance(value, dict):
                shown = ", ".join(f"{key}: {count}" for key, count in value.items()) or "none"
            lines.append(f"  {name.replace('_', ' '):<26} {shown}")
        findings = self.verdict.findings
        lines += [f"  FOUND {sentence}" for sentence in findings[:SHOWN_MAX]]
        if len(findings) > SHOWN_MAX:
            lines.append(f"  and {len(findings) - SHOWN_MAX} more")
        return "\n".join(lines)

    def line(self) -> str:
        """Write the figures as one line of JSON."""
        return json.dumps(self.figures())


def run_trial(folder: Path, server: Server, plan: Plan) -> Outcome:
    """Start everything, kill while clients work, let everything come to its end, judge."""
    ledger = Ledger()
    cluster = Cluster(folder, server, stores=plan.stores)
    load = Load(cluster.store_url, ledger, seed=plan.seed)
    killer = Killer(cluster, ledger, seed=plan.seed, weights=plan.weights)
    try:
        cluster.heal()
        load.start()
        killer.run(seconds=plan.seconds, every_s=plan.every_s, kills_min=plan.kills_min)
        cluster.heal()
        load.finish(FINISH_S_MAX)
        killer.look_at_versions()
        verdict = judge(cluster, ledger, backwards=killer.backwards)
        verdict.wrong += exits_of(killer.ended)
        if load.is_alive():
            verdict.undone.append("clients still wait for what they have begun")
    finally:
        cluster.close()
        kills = "".join(json.dumps(asdict(kill)) + "\n" for kill in ledger.kills)
        (folder / "kills.jsonl").write_text(kills)  # for whoever reads the logs beside it
    return Outcome(plan=plan, ledger=ledger, verdict=verdict)


def seed_of(given: str | None) -> int:
    """Take the seed that was named, or make one."""
    return int(given) if given else int.from_bytes(os.urandom(4))
