"""The benchmark's programs, on a scale at which nothing could be measured: they must not rot."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench.processes import ROOT
from tests.integration.postgres import PostgresMissing, find_programs

SECONDS_MAX = 150


def run(module: str, *arguments: str, json_lines: Path) -> list[dict[str, Any]]:
    """Run a program to its end; answer what it kept."""
    ran = subprocess.run(
        [sys.executable, "-m", module, "--json", str(json_lines), "--rounds", "1", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS_MAX,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return [json.loads(line) for line in json_lines.read_text().splitlines()]


@pytest.mark.timeout(SECONDS_MAX)
def test_every_workload_runs_on_sqlite(tmp_path: Path) -> None:
    arguments = (
        "--databases sqlite --seconds 0.1 --count 2 --in-flight 2 --crash-workflows 4 --sleepers 3"
        " --settled 20,40 --parked 10 --parked-by-worker 10 --children 20"
    )

    lines = run("tests.bench", *arguments.split(), json_lines=tmp_path / "results.jsonl")

    rates = {line["name"] for line in lines if line["kind"] == "workload"}
    assert rates == {"w1", "w2", "w3", "w4a", "w4b", "w7a", "w7b"}
    [crash] = [line for line in lines if line["kind"] == "crash"]
    assert crash["recovery"]["lost"] == 0
    assert {"lateness", "outcome", "limit"} <= {line["kind"] for line in lines}
    assert all(line["versions"]["sqlite"] for line in lines)


@pytest.mark.timeout(SECONDS_MAX)
def test_the_store_runs_on_every_storage(tmp_path: Path) -> None:
    storages = "memory,sqlite"
    try:
        find_programs()
    except PostgresMissing:
        pass  # tests/integration/store_postgres says so where it matters
    else:
        storages += ",postgresql"

    arguments = f"--seconds 0.1 --count 10 --in-flight 2 --storages {storages}"
    lines = run("tests.bench.store", *arguments.split(), json_lines=tmp_path / "results.jsonl")

    measured = [line for line in lines if line["kind"] == "workload"]
    assert [line["subject"] for line in measured] == storages.split(",")
    assert all(line["count"] == 10 for line in measured)


def test_bad_arguments_say_what_is_wrong() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--workloads", "w9"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 2
    assert "'w9' is none of w1" in ran.stderr
