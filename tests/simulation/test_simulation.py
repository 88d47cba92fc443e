"""Worlds full of faults stay safe and come to their end; broken stores are found out."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.simulation.campaign import options_of
from tests.simulation.faults import CALM, RATES
from tests.simulation.mutants import MUTANTS, broken_by
from tests.simulation.world import Options, simulate

ROOT: Final = Path(__file__).parents[2]
SECONDS: Final = 30.0
SEEDS_MAX: Final = 40


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run simulations in a process of their own, as `make simulation` does."""
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(300)
def test_nothing_is_found_in_worlds_full_of_faults(capsys: pytest.CaptureFixture[str]) -> None:
    ran = _run("--seconds", str(SECONDS), "--seed", "1")

    with capsys.disabled():
        print(f"\n{ran.stdout}")  # noqa: T201 - how often each fault happened is half of the verdict
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("seed", ["6", "7"], ids=["on a file", "replicas"])
def test_the_same_seed_takes_the_same_turns(seed: str) -> None:
    once, again = (_run("--one", seed).stdout for _ in range(2))

    assert "turns" in once
    assert once == again


def test_another_seed_takes_others() -> None:
    digests = {simulate(Options(seed=seed, workflows=4)).digest for seed in range(3)}

    assert len(digests) == 3


def test_a_world_without_faults_ends_without_any() -> None:
    report = simulate(Options(seed=1, rates=CALM))

    assert report.broken == ()
    assert not set(report.counts) & set(RATES)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_store_is_found_out(name: str) -> None:
    with broken_by(name):
        found = next(
            (report for seed in range(SEEDS_MAX) if (report := simulate(options_of(seed))).broken),
            None,
        )

    assert found is not None, f"{SEEDS_MAX} worlds with it came to a good end"
