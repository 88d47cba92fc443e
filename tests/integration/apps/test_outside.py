"""The pretended outside world that ships: its journal in a file, its latency."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import holdfast_db.outside
import holdfast_worker.outside
from holdfast import Context, Resonate
from holdfast.testing.attempts import AttemptsFile

MODULES = [holdfast_worker.outside, holdfast_db.outside]


@pytest.mark.parametrize("module", MODULES)
async def test_each_attempt_leaves_one_line_before_it_does_anything(
    tmp_path: Path, module: ModuleType
) -> None:
    file = tmp_path / "attempts.jsonl"
    attempts = AttemptsFile(file, process="worker")
    outside = module.PretendOutside(attempts=attempts)

    def step(ctx: Context) -> int:
        outside.enter(ctx, "step")
        if ctx.info.attempt == 1:
            raise ConnectionError
        return len(file.read_text().splitlines())

    async with Resonate.local() as resonate:
        resonate.register(step)
        lines = await resonate.run("some/id", step)
    attempts.close()

    assert lines == 2
    entries = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(entry["step"], entry["id"], entry["attempt"]) for entry in entries] == [
        ("step", "some/id", 1),
        ("step", "some/id", 2),
    ]
    assert {entry["os_pid"] for entry in entries} == {os.getpid()}
    assert {entry["process"] for entry in entries} == {"worker"}
    assert all(abs(entry["at_ms"] - time.time() * 1000) < 60_000 for entry in entries)


async def test_many_writers_share_one_journal(tmp_path: Path) -> None:
    file = tmp_path / "attempts.jsonl"
    writers = [AttemptsFile(file, process=f"p{n}") for n in range(4)]

    def step(ctx: Context) -> None:
        def write(number: int) -> None:
            writers[number % len(writers)].enter(ctx, f"step-{number}")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, range(100)))

    async with Resonate.local() as resonate:
        resonate.register(step)
        await resonate.run("x", step)
    for writer in writers:
        writer.close()

    steps = {json.loads(line)["step"] for line in file.read_text().splitlines()}
    assert steps == {f"step-{number}" for number in range(100)}


async def test_steps_take_the_time_that_they_are_told_to() -> None:
    slow_step = holdfast_worker.outside.PretendOutside(delay_ms=30)
    slow_warehouse = holdfast_db.outside.PretendOutside(delay_ms=30)

    def step(ctx: Context) -> float:
        began = time.monotonic()
        slow_step.enter(ctx, "step")
        slow_warehouse.enter(ctx, "step")
        slow_warehouse.ask_warehouse()
        return time.monotonic() - began

    async with Resonate.local() as resonate:
        resonate.register(step)
        assert await resonate.run("x", step) >= 0.06


@pytest.mark.parametrize("module", [holdfast_worker.outside, holdfast_db.outside])
def test_what_takes_time_takes_it_as_often_as_the_factor_says(module: Any) -> None:
    began = time.monotonic()
    module.PretendOutside(delay_factor=0).take(600_000)
    at_once = time.monotonic() - began
    module.PretendOutside(delay_factor=0.1).take(300)
    slowly = time.monotonic() - began - at_once

    assert at_once < 10
    assert slowly >= 0.03
