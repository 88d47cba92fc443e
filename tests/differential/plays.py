"""A step of a sequence, what it is compared by, and how a disagreement is told."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tests.model.model import Answer

Json = dict[str, Any]
Picture = dict[str, Any]
"""Everything that is stored, in a form in which two stores can be compared."""


@dataclass(frozen=True)
class Step:
    """One request at one instant."""

    kind: str
    data: Json
    now: int

    def __str__(self) -> str:
        return f"@{self.now} {self.kind} {json.dumps(self.data, ensure_ascii=True)}"


class Backend(Protocol):
    """A store that is held against the model."""

    name: str
    drops_unblocks: bool
    """Whether messages for addresses that nobody has connected from are forgotten."""

    keeps_own_branches: bool
    """Whether preloads leave out what is of another branch than the task's id."""

    async def reset(self) -> None:
        """Forget everything."""

    async def handle(self, step: Step) -> Answer:
        """Carry out a step."""

    async def picture(self, now: int) -> Picture:
        """Show what is stored, as it reads at an instant."""


class Disagreement(AssertionError):
    """A store did not do what the model did."""

    def __init__(self, backend: str, steps: Sequence[Step], difference: str) -> None:
        self.backend, self.steps, self.difference = backend, tuple(steps), difference
        super().__init__()

    def __str__(self) -> str:
        trace = "\n".join(f"  {step}" for step in self.steps)
        return f"{self.backend} differs from the model after\n{trace}\n  {self.difference}"


def difference_of_answers(expected: Answer, got: Answer, *, keeps_own_branches: bool) -> str | None:
    """Compare two answers: status and records, but neither texts for people nor preloads."""
    if isinstance(expected[1], dict) and "results" in expected[1] and got[0] == 200:
        return _difference_of_chains(expected[1]["results"], got[1]["results"])
    if expected[0] != got[0]:
        return f"status {got[0]} instead of {expected[0]}: {got[1]!r} instead of {expected[1]!r}"
    if _shown(expected[1]) != _shown(got[1]):
        return f"{_shown(got[1])} instead of {_shown(expected[1])}"
    if expected[0] in {200, 300} and not keeps_own_branches:
        return _flaw_of_preload(expected[1], got[1])
    return None


def _difference_of_chains(expected: Sequence[Json], got: Sequence[Json]) -> str | None:
    """Compare one by one. A preload is read behind the whole chain: it may be younger."""
    for number, (wanted, found) in enumerate(zip(expected, got, strict=True), 1):
        answers = [(each["status"], each.get("data")) for each in (wanted, found)]
        difference = difference_of_answers(*answers, keeps_own_branches=True)
        if difference is not None:
            return f"operation {number} of the chain: {difference}"
    return None


def _shown(data: Any) -> Any:
    if not isinstance(data, dict):
        return data if isinstance(data, list) else "text"
    shown = {name: member for name, member in data.items() if name != "preload"}
    action = shown.get("action")
    if isinstance(action, dict):
        status = action["head"]["status"]
        shown["action"] = {"kind": action["kind"], "status": status, **_inner(action["data"])}
    return shown


def _inner(data: Any) -> Json:
    return data if isinstance(data, dict) else {}


def _flaw_of_preload(expected: Any, got: Any) -> str | None:
    """A preload may hold more than the branch, but not less (where it is asked for at all)."""
    if not isinstance(got, dict) or "preload" not in got:
        return None
    told = {record["id"]: record for record in got["preload"]}
    for record in expected["preload"]:
        if told.get(record["id"]) != record:
            return f"preload has {told.get(record['id'])} instead of {record}"
    return None


def difference_of_pictures(expected: Picture, got: Picture, *, drops_unblocks: bool) -> str | None:
    """Compare what is stored, but for what a store may do or leave.

    A deadline may be armed for more promises than need it; what is due may be dispatched before
    the next tick; and messages to addresses where nobody is may be dropped.
    """
    unarmed = expected["armed"] - got["armed"]
    if unarmed:
        return f"no deadline is armed for {sorted(unarmed)}"
    early = expected["due"] & got["executes"]
    dropped = expected["unblocks"] - got["unblocks"] if drops_unblocks else set()
    expected = {
        **expected,
        "executes": expected["executes"] | early,
        "unblocks": expected["unblocks"] - dropped,
    }
    for name, part in expected.items():
        if name in got and name not in {"armed", "due"} and part != got[name]:
            return f"stored {name}: {_apart(got[name], part)}"
    return None


def _apart(got: Any, expected: Any) -> str:
    if isinstance(expected, set):
        return f"{sorted(got - expected)} too much, {sorted(expected - got)} missing"
    ids = [i for i in sorted({*got, *expected}) if got.get(i) != expected.get(i)]
    first = f"{ids[0]} is {got.get(ids[0])} instead of {expected.get(ids[0])}"
    return first + (f"; and {len(ids) - 1} more" if ids[1:] else "")
