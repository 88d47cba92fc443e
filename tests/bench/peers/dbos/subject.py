"""DBOS under measurement: a library in two processes, around a PostgreSQL database.

Its queues and results are polled, every 10 ms here, the least that its own tests use. Workflows are
started in the worker's own process, which is the fastest way that there is.
"""

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from tests.bench.closed_loop import Effort
from tests.bench.peers.installing import Packages
from tests.bench.processes import LOG_LINES_SHOWN, ROOT, ProcessFailed, stop
from tests.bench.shapes import Workload
from tests.bench.step_log import SETTING, StepLog
from tests.bench.subject import BatchCounts

PACKAGES: Final = Packages(name="dbos", python=("dbos==3.4.0",))
START_SECONDS_MAX: Final = 30.0


class Dbos:
    """Running processes, of which the first is the client as well."""

    name = "dbos"

    def __init__(
        self, folder: Path, step_log: StepLog, *, database_url: str, database_pid: int | None
    ) -> None:
        self._folder = folder
        self._url = database_url
        self._database_pid = database_pid
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.step_log = step_log

    async def start(self) -> None:
        """Start both, one after the other: the first makes the tables."""
        for group in ("a", "b"):
            self._start(group)
            async with asyncio.timeout(START_SECONDS_MAX):
                await self._answer(group)

    def _start(self, group: str) -> None:
        with (self._folder / f"dbos-{group}.log").open("ab") as log:
            # In a process group of its own, but in the same session as everything else that is
            # measured: Linux gives each session the same part of the processors.
            self._processes[group] = subprocess.Popen(
                [PACKAGES.python_program(), "-m", "tests.bench.peers.dbos.program", group],
                cwd=ROOT,
                env={
                    **os.environ,
                    "PYTHONPATH": "",
                    "BENCH_DATABASE_URL": self._url,
                    SETTING: str(self.step_log.path),
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                process_group=0,
            )

    async def _answer(self, group: str) -> Any:
        answers = self._processes[group].stdout
        assert answers is not None
        line = await asyncio.to_thread(answers.readline)
        if not line:
            log = (self._folder / f"dbos-{group}.log").read_text(errors="replace")
            raise ProcessFailed("dbos ended:\n" + "\n".join(log.splitlines()[-LOG_LINES_SHOWN:]))
        return json.loads(line)

    async def _order(self, **order: object) -> Any:
        orders = self._processes["a"].stdin
        assert orders is not None
        orders.write(json.dumps(order).encode() + b"\n")
        orders.flush()
        return await self._answer("a")

    def stop(self) -> None:
        """End both."""
        self.resume()
        for process in self._processes.values():
            stop(process)

    def check_alive(self) -> None:
        """Raise ProcessFailed if anything has ended."""
        for group, process in self._processes.items():
            if (code := process.poll()) is not None:
                raise ProcessFailed(f"dbos {group} ended with exit code {code}")

    def kill_worker(self) -> None:
        """SIGKILL the process of the first group, and with it the client."""
        self._processes["a"].kill()

    async def start_worker(self) -> None:
        """Start another, which looks for the work of the former by itself."""
        self._start("a")

    def pause(self) -> None:
        """Stand still: polling every 10 ms would slow whoever is measured."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes.values():
            process.send_signal(number)

    def pids(self) -> Mapping[str, int]:
        """Tell the processes, with the database's server."""
        pids = {f"process-{group}": process.pid for group, process in self._processes.items()}
        if self._database_pid is not None:
            pids["database"] = self._database_pid
        return pids

    def counts(self) -> BatchCounts:
        """Count nothing."""
        return BatchCounts()

    async def drive(self, workload: Workload, *, in_flight: int, effort: Effort) -> list[float]:
        """Let the first process drive itself."""
        answer = await self._order(
            drive=workload.name, in_flight=in_flight, seconds=effort.seconds, count=effort.count
        )
        latencies: list[float] = answer["latencies_ms"]
        return latencies

    async def run_all(self, name: str, numbers: range) -> None:
        """Let the first process run all; when it is killed meanwhile, nobody waits any more."""
        process = self._processes["a"]
        try:
            await self._order(run_all=name, count=len(numbers))
        except ProcessFailed:
            if await asyncio.to_thread(process.wait) != -signal.SIGKILL:
                raise


@asynccontextmanager
async def running_dbos(
    folder: Path, *, database_url: str, database_pid: int | None
) -> AsyncIterator[Dbos]:
    """Run everything inside the block."""
    step_log = StepLog(folder / "steps.log")
    dbos = Dbos(folder, step_log, database_url=database_url, database_pid=database_pid)
    try:
        await dbos.start()
        yield dbos
    finally:
        dbos.stop()
        step_log.close()
