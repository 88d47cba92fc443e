"""Every invariant holds after every step of random histories.

Two drivers of the same moves: hypothesis, which finds the shortest failing history, and plain
seeded walks, which are long and many. Both are deterministic by default;
`HOLDFAST_TEST_EXAMPLES=20000` explores that many new histories with each.
"""

import os
import random
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from holdfast.core.checks.task_steps import EDGES
from holdfast.core.invariants import State
from holdfast.core.profile import Profile
from tests.unit.holdfast.core.history import MOVES, PROFILES, SPANS, History

EXAMPLES = int(os.environ.get("HOLDFAST_TEST_EXAMPLES", "0"))
WALKS = 50
WALK_STEPS = 60

pytestmark = [pytest.mark.timeout(0)] if EXAMPLES else []

Move = tuple[object, ...]


def arguments_of(name: str) -> st.SearchStrategy[Move]:
    return st.tuples(st.just(name), *(st.sampled_from(pool) for pool in MOVES[name][1]))


moves = st.one_of([arguments_of(name) for name in MOVES])


class AnyHistory(RuleBasedStateMachine):
    """Lets hypothesis choose the moves."""

    @initialize(profile=st.sampled_from(PROFILES), span=st.sampled_from(SPANS))
    def begin(self, profile: Profile, span: int) -> None:
        self.history = History(profile, span)

    @rule(move=moves)
    def move(self, move: Move) -> None:
        name, *arguments = move
        getattr(self.history, str(name))(*arguments)

    @invariant()
    def what_was_told_stays_true(self) -> None:
        self.history.observe_everything()


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(
    database=None,
    deadline=None,
    derandomize=EXAMPLES == 0,
    max_examples=EXAMPLES or 20,
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.too_slow],
)


class Sightings:
    """What the walks came across, to show that they are not empty."""

    def __init__(self) -> None:
        self.edges: Counter[tuple[str, str]] = Counter()
        self.outcomes: Counter[tuple[str, int]] = Counter()

    def note(self, before: State, after: State) -> None:
        for task_id, task in after.tasks.items():
            old = before.tasks.get(task_id)
            if old is not None and old.state is not task.state:
                self.edges[old.state, task.state] += 1


def walk(seed: int, sightings: Sightings) -> None:
    rng = random.Random(seed)
    history = History(rng.choice(PROFILES), rng.choice(SPANS))
    weights = [weight for weight, _ in MOVES.values()]
    taken: list[Move] = []
    try:
        for name in rng.choices(list(MOVES), weights, k=WALK_STEPS):
            arguments = [rng.choice(pool) for pool in MOVES[name][1]]
            taken.append((name, *arguments))
            before = history.machine.state
            getattr(history, name)(*arguments)
            history.observe_everything()
            sightings.note(before, history.machine.state)
    except AssertionError as error:
        error.add_note(f"seed {seed}, after {taken}")
        raise
    sightings.outcomes += history.seen


def test_long_walks_keep_every_invariant_and_reach_every_edge() -> None:
    sightings = Sightings()
    start = random.SystemRandom().randrange(2**32) if EXAMPLES else 0

    for seed in range(start, start + (EXAMPLES or WALKS)):
        walk(seed, sightings)

    assert set(EDGES) <= set(sightings.edges)
    assert set(sightings.outcomes) >= OUTCOMES


OUTCOMES = {
    (kind, status)
    for kind, statuses in {
        "PromiseGet": (200, 404),
        "PromiseCreate": (200, 400),
        "PromiseSettle": (200, 400, 404),
        "PromiseRegisterCallback": (200, 400, 404, 422),
        "PromiseRegisterListener": (200, 404, 422),
        "TaskGet": (200, 404),
        "TaskCreate": (200, 409, 422),
        "TaskAcquire": (200, 404, 409),
        "TaskRelease": (200, 404, 409),
        "TaskFulfill": (200, 400, 404, 409),
        "TaskSuspend": (200, 300, 400, 404, 409, 422),
        "TaskFence": (200, 400, 404, 409),
        "TaskHeartbeat": (200, 400),
        "TaskHalt": (200, 404, 409),
        "TaskContinue": (200, 404, 409),
    }.items()
    for status in statuses
}
