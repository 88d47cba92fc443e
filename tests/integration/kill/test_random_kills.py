"""Stores, workers and PostgreSQL are killed at random instants, while clients keep a ledger."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.trial import Outcome, Plan, run_trial, seed_of
from tests.integration.postgres import Server, running_server

pytestmark = pytest.mark.timeout(400)

SECONDS = 20.0
"""`make chaos` does the same for as long as one likes."""

KILLS_MIN = 8

SEED_VARIABLE = "KILL_TEST_SEED"
"""Kills and load begin as in an earlier run. What they meet is another matter."""


@pytest.fixture(scope="module")
def own_server(postgres_server: Server) -> Iterator[Server]:
    """Run a server that may be killed, beside the one of all tests."""
    with running_server() as server:
        yield server


@pytest.mark.parametrize("stores", [1, 3])
def test_what_was_acknowledged_outlives_kills_at_any_instant(
    stores: int, own_server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = seed_of(os.environ.get(SEED_VARIABLE))
    plan = Plan(stores=stores, seconds=SECONDS, every_s=(0.5, 2.0), kills_min=KILLS_MIN, seed=seed)

    outcome = run_trial(tmp_path, own_server, plan)

    with capsys.disabled():
        print(f"\n{SEED_VARIABLE}={seed}\n{outcome.table()}")  # noqa: T201 - counts are to be seen
    assert_something_happened(outcome)
    assert outcome.verdict.findings == []


def assert_something_happened(outcome: Outcome) -> None:
    """A trial in which nobody got anything done proves nothing."""
    ledger = outcome.ledger
    assert len(ledger.kills) >= KILLS_MIN
    assert sum(run.is_over for run in ledger.runs) >= len(ledger.kills)
    assert sum(record.created for record in ledger.records) >= len(ledger.kills)
