"""What orders have left behind, and whether each was processed exactly once.

Two kinds of evidence are counted. The rows of the application database are the effects: one
reservation and one charge for each order. The journals are the work: a line for each time that the
body of a step was entered. The journals have no keys, so that work that was done twice shows there
even where the database would hide it.

A body that a kill interrupted runs again: its process died before the result was stored, and nobody
can know how far it had come. Such a repetition is legal when a kill lies between its two entries,
either of the pod that entered first, or of a store or the database that was to keep the result. Any
other repetition is a doubled step.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from tests.e2e.client import TOTAL
from tests.e2e.commands import CommandFailed
from tests.e2e.deployment import Deployment
from tests.e2e.killing import Kill
from tests.e2e.waiting import until

STEPS: Final = {
    "validateOrder",
    "reserveInventory",
    "chargePayment",
    "db.recordCharge",
    "sendConfirmation",
}

KEEPERS: Final = {"store", "database"}
"""Whose death may lose a result that was on its way to be kept."""

# Runs in a db pod, which knows where its database is, and has the journals of all pods on /journal.
READ: Final = """
import json, os, pathlib, sqlite3
entries = [
    {**json.loads(line), "pod": file.stem}
    for file in pathlib.Path("/journal").glob("*.jsonl")
    for line in file.read_text().splitlines()
]
url = os.environ["HOLDFAST_DB_DATABASE_URL"]
if url.startswith("sqlite:///"):
    file = url.removeprefix("sqlite:///")
    books = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30)
else:
    import psycopg
    books = psycopg.connect(url)
print(json.dumps({
    "entries": entries,
    "charges": books.execute("SELECT order_id, total_cents FROM charges").fetchall(),
    "reservations": books.execute("SELECT order_id, items FROM reservations").fetchall(),
}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """The body of a step was entered."""

    step: str
    promise_id: str
    origin: str
    attempt: int
    pod: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that all orders so far have left behind."""

    entries: tuple[Entry, ...]
    charges: tuple[tuple[str, int], ...]
    reservations: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a set of orders stands; the first two have to be empty."""

    lost: dict[str, str]
    doubled: dict[str, str]
    repeated: tuple[str, ...]
    bodies: int

    def __str__(self) -> str:
        return (
            f"lost {len(self.lost)}, doubled {len(self.doubled)},"
            f" repeated because of a kill {len(self.repeated)} of {self.bodies} step bodies"
        )


def collect(deployment: Deployment) -> Evidence:
    """Read journals and books in a pod of the db group."""

    def attempt() -> str | None:
        pod = deployment.ready_pod("worker", group="db")
        try:
            return deployment.execute(pod.name, "python", "-c", READ)
        except CommandFailed:  # the pod may have gone meanwhile
            return None

    found = json.loads(until(attempt, "a db pod can read the books", seconds=60))
    return Evidence(
        entries=tuple(
            Entry(
                step=entry["step"],
                promise_id=entry["id"],
                origin=entry["origin"],
                attempt=entry["attempt"],
                pod=entry["pod"],
                at_ms=entry["at_ms"],
            )
            for entry in found["entries"]
        ),
        charges=tuple((order_id, total) for order_id, total in found["charges"]),
        reservations=tuple((order_id, items) for order_id, items in found["reservations"]),
    )


def judge(evidence: Evidence, order_ids: Collection[str], kills: Sequence[Kill]) -> Verdict:
    """Decide about orders that were acknowledged, with the kills that happened meanwhile."""
    by_origin: dict[str, list[Entry]] = {f"order/{order_id}": [] for order_id in order_ids}
    for entry in evidence.entries:
        if entry.origin in by_origin:
            by_origin[entry.origin].append(entry)
    lost: dict[str, str] = {}
    doubled: dict[str, str] = {}
    repeated: list[str] = []
    for order_id in order_ids:
        entries = by_origin[f"order/{order_id}"]
        _judge_rows(evidence, order_id, lost, doubled)
        missing = STEPS - {entry.step for entry in entries}
        if missing:
            lost[order_id] = f"never entered {sorted(missing)}"
        for first, second in _repetitions(entries):
            what = f"{order_id}: {first.step} in {first.pod}, then in {second.pod}"
            if any(_explains(kill, first, second) for kill in kills):
                repeated.append(what)
            else:
                doubled[order_id] = f"{what}, and nothing was killed between: {first} {second}"
    bodies = sum(len(entries) for entries in by_origin.values())
    return Verdict(lost=lost, doubled=doubled, repeated=tuple(repeated), bodies=bodies)


def _judge_rows(
    evidence: Evidence, order_id: str, lost: dict[str, str], doubled: dict[str, str]
) -> None:
    charges = [total for order, total in evidence.charges if order == order_id]
    reservations = [items for order, items in evidence.reservations if order == order_id]
    if len(charges) > 1 or len(reservations) > 1:
        doubled[order_id] = f"charges {charges}, reservations {reservations}"
    elif charges != [TOTAL] or reservations != [2]:
        lost[order_id] = f"charges {charges}, reservations {reservations}"


def _repetitions(entries: Iterable[Entry]) -> list[tuple[Entry, Entry]]:
    by_promise: dict[str, list[Entry]] = {}
    for entry in sorted(entries, key=lambda e: e.at_ms):
        by_promise.setdefault(entry.promise_id, []).append(entry)
    return [pair for same in by_promise.values() for pair in pairwise(same)]


def _explains(kill: Kill, first: Entry, second: Entry) -> bool:
    """Tell whether a kill lies between two entries of the same step, and concerns the first."""
    return (
        (kill.pod == first.pod or kill.what in KEEPERS)
        and first.at_ms <= kill.to_ms
        and kill.from_ms <= second.at_ms
    )
