"""What the simulated workflows do, and the promises that it takes: shaped as the library's are."""

import random
from dataclasses import dataclass
from typing import Final

from holdfast.core.records import BRANCH, EXTERNAL, ORIGIN, PARENT, SCOPE, TARGET, TIMER, Value
from holdfast.core.requests import PromiseCreate

GROUP: Final = "w"
FAR_S: Final = 600
"""Deadline of a workflow that is to end by itself."""

KINDS: Final = ("step", "step", "step", "wait", "sleep", "call", "fan")


@dataclass(frozen=True, slots=True)
class Child:
    """One durable thing that a workflow does."""

    id: str
    kind: str


def plan_of(rng: random.Random, *, depth: int = 0) -> str:
    """Think of a workflow."""
    kinds = [each for each in KINDS if depth < 1 or each != "call"]
    return ",".join(rng.choice(kinds) for _ in range(rng.randint(1, 4)))


def rounds_of(workflow: str, plan: str) -> list[list[Child]]:
    """Say what a workflow does, in its order; what stands together goes on at once."""
    rounds = []
    for number, kind in enumerate(plan.split(",")):
        child = f"{workflow}.{number}"
        if kind == "fan":
            kinds = ("wait", "sleep", "wait")
            rounds.append([Child(f"{child}.{n}", each) for n, each in enumerate(kinds)])
        else:
            rounds.append([Child(child, kind)])
    return rounds


def workflow(promise_id: str, plan: str, *, timeout_at_ms: int, parent: str = "") -> PromiseCreate:
    """Ask for a workflow: a promise with a task."""
    origin = promise_id.partition(".")[0]
    tags = {TARGET: f"poll://any@{GROUP}", ORIGIN: origin, BRANCH: promise_id, SCOPE: "global"}
    return PromiseCreate(
        id=promise_id,
        timeout_at_ms=timeout_at_ms,
        param=Value(data=plan.encode()),
        tags=tags | {PARENT: parent or promise_id},
    )


def creation(
    rng: random.Random, child: Child, parent: str, *, now_ms: int, until_ms: int
) -> PromiseCreate:
    """Ask for what a workflow waits for or does."""
    if child.kind == "call":
        plan = plan_of(random.Random(child.id), depth=1)  # the same in every pass
        return workflow(child.id, plan, timeout_at_ms=until_ms, parent=parent)
    tags = {ORIGIN: parent.partition(".")[0], BRANCH: parent, PARENT: parent}
    timeout_at_ms = until_ms
    if child.kind == "step":
        tags[SCOPE] = "local"
    elif child.kind == "sleep":
        tags |= {TIMER: "true", SCOPE: "global"}
        timeout_at_ms = min(until_ms, now_ms + rng.choice((50, 400, 3_000, 15_000)))
    else:
        tags |= {EXTERNAL: "true"}
    return PromiseCreate(id=child.id, timeout_at_ms=timeout_at_ms, tags=tags)
