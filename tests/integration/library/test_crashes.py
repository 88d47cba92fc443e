"""SIGKILL at every kind of point: nothing recorded runs again, nothing is lost."""

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.library.world import World

PROGRAM = Path(__file__).with_name("worker_program.py")
STEPS = ["one", "two", "three", "four"]

POINTS = [
    ("before_step_body:{id}[.]0", set()),
    ("after_step_body:{id}[.]0", {"one"}),
    ("after_write:{id}[.]0", set()),
    ("after_step_body:{id}[.]1", {"two"}),
    ("before_write:{id}[.]1", {"two"}),
    ("before_suspend:{id}", {"two"}),
    ("after_suspend:{id}", set()),
    ("before_fulfill:{id}[.]2", {"three"}),
    ("after_fulfill:{id}[.]2", set()),
    ("before_step_body:{id}[.]4", set()),
    ("before_fulfill:{id}", {"four"}),
]
"""Where the process dies, and the steps whose body may run a second time for it."""


class Processes:
    """Worker processes that do not outlive their test."""

    def __init__(self) -> None:
        self._all: list[subprocess.Popen[bytes]] = []

    def start(
        self, where: str, group: str, rows: Path, *run_id: str, crash_at: str = ""
    ) -> "subprocess.Popen[bytes]":
        with rows.with_suffix(".out").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, str(PROGRAM), where, group, str(rows), *run_id],
                env={**os.environ, "HOLDFAST_CRASH_AT": crash_at},
                stdout=output,
            )
        self._all.append(process)
        return process

    def close(self) -> None:
        for process in self._all:
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.fixture
def processes() -> Iterator[Processes]:
    processes = Processes()
    yield processes
    processes.close()


async def ended(process: "subprocess.Popen[bytes]") -> int:
    return await asyncio.to_thread(process.wait, 30)


def check_rows(rows: Path, repeatable: set[str]) -> None:
    counts = Counter(rows.read_text().split())
    assert set(counts) == set(STEPS)
    for step, count in counts.items():
        assert count == 1 or (step in repeatable and count == 2), counts


@pytest.mark.parametrize("workflow", ["workflow", "async_workflow"])
@pytest.mark.parametrize(("point", "repeatable"), POINTS, ids=[p for p, _ in POINTS])
async def test_a_killed_worker_is_replaced_by_another_one_of_its_group(
    remote: World,
    processes: Processes,
    tmp_path: Path,
    point: str,
    repeatable: set[str],
    workflow: str,
) -> None:
    """S4: the lease of the dead is released as soon as its connection breaks."""
    rows = tmp_path / "rows"
    client = remote.client(group="clients")
    run_id = remote.new_id()
    assert remote.url is not None
    first = processes.start(remote.url, remote.group, rows, crash_at=point.format(id=run_id))
    handle = await client.options(target=remote.group).begin_rpc(run_id, workflow)
    code = await ended(first)

    second = processes.start(remote.url, remote.group, rows)
    value: Any = await handle.result(timeout=20)
    second.terminate()

    assert code == -signal.SIGKILL
    assert value == STEPS
    check_rows(rows, repeatable)
    assert await ended(second) == 0


@pytest.mark.parametrize(
    ("point", "repeatable"), [POINTS[1], POINTS[2], POINTS[4], POINTS[10]], ids=str
)
async def test_a_killed_program_with_a_file_goes_on_at_its_next_start(
    processes: Processes, tmp_path: Path, point: str, repeatable: set[str]
) -> None:
    """S20: the same program, started again, resumes at the first step that is not recorded."""
    rows = tmp_path / "rows"
    where = f"file:{tmp_path / 'store.db'}"
    first = processes.start(where, "default", rows, "run/1", crash_at=point.format(id="run/1"))
    code = await ended(first)

    second = processes.start(where, "default", rows, "run/1")
    code_of_second = await ended(second)

    assert code == -signal.SIGKILL
    assert code_of_second == 0
    assert rows.with_suffix(".out").read_text().strip() == str(STEPS)
    check_rows(rows, repeatable)
