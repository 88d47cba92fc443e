"""Holdfast under measurement: a store on a database, a worker in each of two groups, a client."""

import asyncio
import itertools
import secrets
import sys
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from holdfast import Resonate
from holdfast.client_calls import ClientOptions
from holdfast_cli.ports import HOST, free_ports
from tests.bench.closed_loop import Effort, drive
from tests.bench.functions import GROUP_A, GROUP_B, STEPS_SETTING
from tests.bench.processes import Process, start, stop
from tests.bench.shapes import Workload
from tests.bench.step_log import SETTING, StepLog
from tests.bench.subject import RESULT_SECONDS_MAX, BatchCounts, WrongResult

NAMES: Final = ("store", "worker-a", "worker-b")
WORKER_CONCURRENCY: Final = 256
"""More than any workload has under way; peers have no such bound or a higher one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a system is started with."""

    name: str
    database_url: str
    folder: Path
    steps: str = "async"
    groups: Mapping[str, str] = field(
        default_factory=lambda: {"worker-a": GROUP_A, "worker-b": GROUP_B}
    )
    profiled: Mapping[str, Path] = field(default_factory=dict)
    """Processes to run under cProfile, each with the file for its profile."""
    database_pid: int | None = None


class System:
    """Running processes and a client."""

    def __init__(self, setup: Setup, step_log: StepLog) -> None:
        self.setup = setup
        self._ports = free_ports()
        self._run_id = secrets.token_hex(4)
        self._numbers = itertools.count()
        self._ids = itertools.count()
        self.name = setup.name
        self.step_log = step_log
        self.url = f"grpc://{HOST}:{next(self._ports)}"
        self.processes: dict[str, Process] = {}
        self.resonate: Resonate

    # Processes

    async def start(self) -> None:
        """Start the store, and when it is ready the workers."""
        setup = self.setup
        self._start(
            "store",
            "holdfast_store",
            {
                "HOLDFAST_STORE_DATABASE_URL": setup.database_url,
                "HOLDFAST_STORE_LISTEN": self.url.removeprefix("grpc://"),
            },
        )
        await self.processes["store"].wait_until_ready()
        for name in setup.groups:
            self._start_worker(name)
        for name in setup.groups:
            await self.processes[name].wait_until_ready()

    def free_port(self) -> int:
        """Name a port that nobody uses."""
        return next(self._ports)

    async def start_services(self, services: Mapping[str, tuple[str, Mapping[str, str]]]) -> None:
        """Start more processes, by name as module and settings, and wait until they are ready."""
        for name, (module, settings) in services.items():
            self._start(name, module, settings)
        for name in services:
            await self.processes[name].wait_until_ready()

    def _start_worker(self, name: str) -> None:
        self._start(
            name,
            "holdfast_worker",
            {
                "HOLDFAST_WORKER_STORE_URL": self.url,
                "HOLDFAST_WORKER_GROUP": self.setup.groups[name],
                "HOLDFAST_WORKER_MODULES": "tests.bench.functions",
                "HOLDFAST_WORKER_MAX_CONCURRENCY": str(WORKER_CONCURRENCY),
                STEPS_SETTING: self.setup.steps,
                SETTING: str(self.step_log.path),
            },
        )

    def _start(self, name: str, module: str, settings: Mapping[str, str]) -> None:
        profiled = self.setup.profiled
        metrics_port = next(self._ports)
        prefix = module.upper()
        command = [sys.executable, "-m", module, "serve"]
        if name in profiled:
            wrapper = ["-m", "tests.bench.profiled", str(profiled[name])]
            command = [sys.executable, *wrapper, module, "serve"]
        self.processes[name] = start(
            name,
            command,
            settings={
                f"{prefix}_METRICS_LISTEN": f"{HOST}:{metrics_port}",
                f"{prefix}_LOG_LEVEL": "warning",
                **settings,
            },
            metrics_port=metrics_port,
            folder=self.setup.folder,
        )

    def stop(self) -> None:
        """End everything, workers first."""
        for process in reversed(self.processes.values()):
            stop(process.popen)

    def check_alive(self) -> None:
        """Raise ProcessFailed if anything has ended."""
        for process in self.processes.values():
            process.check_alive()

    def kill_worker(self) -> None:
        """SIGKILL the worker of the first group."""
        popen = self.processes["worker-a"].popen
        popen.kill()
        popen.wait()

    async def start_worker(self) -> None:
        """Start another in its place."""
        self._start_worker("worker-a")

    def pause(self) -> None:
        """Do nothing: an idle system is quiet."""

    def resume(self) -> None:
        """Do nothing."""

    # What it costs

    def pids(self) -> Mapping[str, int]:
        """Tell the processes, with the database's server where there is one."""
        pids = {name: process.popen.pid for name, process in self.processes.items()}
        if self.setup.database_pid is not None:
            pids["database"] = self.setup.database_pid
        return pids

    def counts(self) -> BatchCounts:
        """Ask the store's metrics."""
        port = self.processes["store"].metrics_port
        with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=5) as answer:
            totals = totals_of(answer.read().decode())
        return BatchCounts(
            batches=totals["holdfast_store_batch_operations_count"],
            operations=totals["holdfast_store_batch_operations_sum"],
            statements=totals["holdfast_store_batch_statements_sum"],
            failed=totals.get("holdfast_store_batches_failed_total", 0.0),
        )

    # The client

    async def drive(self, workload: Workload, *, in_flight: int, effort: Effort) -> list[float]:
        """Run workflows by the library, as any program would."""

        async def once() -> None:
            number = next(self._numbers)
            expected = number + workload.adds
            await self.run_one(workload.name, number, expected=expected)

        return await drive(once, in_flight=in_flight, effort=effort)

    async def run_one(self, name: str, *args: int, expected: int) -> None:
        """Run one workflow of the benchmark and check what it returns."""
        run_id = self._id_of(name, args)
        async with asyncio.timeout(RESULT_SECONDS_MAX):
            result = await self.resonate.rpc(run_id, f"bench.{name}", *args, self._options())
        _check(run_id, result, expected)

    async def begin(self, name: str, *args: int) -> str:
        """Begin one workflow; answer its id."""
        run_id = self._id_of(name, args)
        await self.resonate.begin_rpc(run_id, f"bench.{name}", *args, self._options())
        return run_id

    async def result(self, run_id: str, *, expected: int) -> None:
        """Wait for a workflow that was begun, and check what it returns."""
        handle = await self.resonate.get(run_id)
        _check(run_id, await handle.result(timeout=RESULT_SECONDS_MAX), expected)

    def _id_of(self, name: str, args: Sequence[int]) -> str:
        # A later system on the same database must not meet the workflows of an earlier one.
        return f"{self._run_id}/{name}/{'/'.join(map(str, args))}-{next(self._ids)}"

    def _options(self) -> ClientOptions:
        return self.resonate.options(target=f"poll://any@{GROUP_A}")

    async def run_all(self, name: str, numbers: range) -> None:
        """Run one workflow for each number, all at once."""
        async with asyncio.TaskGroup() as group:
            for number in numbers:
                group.create_task(self.run_one(name, number, expected=number))


def _check(run_id: str, result: object, expected: int) -> None:
    if result != expected:
        raise WrongResult(f"{run_id}: {result!r} instead of {expected}")


def totals_of(exposition: str) -> dict[str, float]:
    """Add up the samples of each metric over its labels."""
    totals: dict[str, float] = {}
    for line in exposition.splitlines():
        if line.startswith("#") or not line:
            continue
        sample, _, value = line.rpartition(" ")
        name = sample.partition("{")[0]
        totals[name] = totals.get(name, 0.0) + float(value)
    return totals


@asynccontextmanager
async def running_system(setup: Setup) -> AsyncIterator[System]:
    """Run everything inside the block."""
    step_log = StepLog(setup.folder / "steps.log")
    system = System(setup, step_log)
    try:
        await system.start()
        async with Resonate(url=system.url, group="bench-client") as resonate:
            system.resonate = resonate
            yield system
    finally:
        system.stop()
        step_log.close()


def fresh_folder(parent: Path, name: str) -> Path:
    """Make a folder for one system."""
    folder = parent / name
    folder.mkdir()
    return folder
