"""The programs in the README and the quickstart run as they are printed there."""

import asyncio
import contextlib
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.rpc.admin import Admin
from tests.integration.cli.real import dev
from tests.integration.cli.stand_ins import PATIENCE_SECONDS, Reader

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.timeout(150)  # sleeps of the programs, on what may be a busy machine


def program(page: str, name: str, folder: Path) -> Path:
    """Save the program of a page whose docstring begins with its name."""
    blocks = re.findall(
        r"^```python\n(.*?)^```$", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE
    )
    source = next(block for block in blocks if block.startswith(f'"""{name}:'))
    path = folder / name
    path.write_text(source)
    return path


class Running:
    """A started program whose output is read."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.reader = Reader()

    async def read(self) -> list[str]:
        """Read to the end of the program; return its lines."""
        assert self.process.stdout
        async for line in self.process.stdout:
            self.reader.line("out", line.decode().rstrip())
        await self.process.wait()
        return self.reader.lines


@contextlib.asynccontextmanager
async def started(path: Path, *arguments: str, **environ: str) -> AsyncIterator[Running]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(path), *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=path.parent,
        env={**os.environ, **environ},
    )
    running = Running(process)
    reading = asyncio.create_task(running.read())
    try:
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await reading


async def finished(path: Path, *arguments: str, **environ: str) -> list[str]:
    async with started(path, *arguments, **environ) as running:
        await running.process.wait()
        await running.reader.seen("result|answer")
        return [re.sub(r"process \d+", "process N", line) for line in running.reader.lines]


async def sleeping(database: Path) -> None:
    """Wait until the only workflow of an embedded store is parked, its step recorded."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as rows:
                if rows.execute("SELECT state FROM tasks").fetchall() == [("suspended",)]:
                    return
            await asyncio.sleep(0.02)


async def suspended(store: str) -> None:
    """Wait until the only workflow of the group `greeters` is parked, its step recorded."""
    async with asyncio.timeout(PATIENCE_SECONDS), Admin(store) as admin:
        while True:
            [queue] = await admin.get_queues(["greeters"])
            if queue.suspended == 1:
                return
            await asyncio.sleep(0.02)


async def test_the_first_workflow_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    hello = program("README.md", "hello.py", tmp_path)

    async with started(hello) as first:
        await first.reader.seen("says: Hello, Ada!")
        await sleeping(tmp_path / "hello.db")
    second = await finished(hello)
    third = await finished(hello)

    result = "out | result: Hello, Ada! Goodbye, Ada."
    assert second == ["out | process N says: Goodbye, Ada.", result]
    assert third == [result]


async def test_the_other_greeter_goes_on_when_one_is_killed(tmp_path: Path) -> None:
    greeter = program("docs/quickstart.md", "greeter.py", tmp_path)

    async with dev(tmp_path / "data", "--gateways", "0", "--workers", "0") as system:
        url = {"RESONATE_URL": system.ready["store"][0]}
        async with started(greeter, "Ada", **url) as client, started(greeter, **url) as first:
            await first.reader.seen("says: Dear Ada,")
            await suspended(system.ready["store"][0])
            first.process.kill()
            async with started(greeter, **url) as second:
                await client.reader.seen("answer: Dear Ada, all the best, Ada!")

                said = [line.partition("says: ")[2] for line in second.reader.lines]
    assert said == ["all the best, Ada!"]
