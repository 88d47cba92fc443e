"""Restate under measurement: its server, and its Python library behind an HTTP/2 server.

The log is flushed before anything is acknowledged, which is how the server comes. The client speaks
HTTP to the server's ingress, from the benchmark's own process.
"""

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from holdfast_cli.ports import HOST, free_ports
from tests.bench.closed_loop import Effort, drive
from tests.bench.http import Answer, Connection, Pool
from tests.bench.peers.installing import Packages, npm_platform
from tests.bench.processes import Process, ProcessFailed, start, stop
from tests.bench.shapes import Workload
from tests.bench.step_log import SETTING, StepLog
from tests.bench.subject import RESULT_SECONDS_MAX, BatchCounts, WrongResult

PACKAGES: Final = Packages(
    name="restate",
    python=("restate-sdk==1.3.0", "granian==2.8.7", "uvloop==0.23.0"),
    npm=(f"@restatedev/restate-server-{npm_platform()}@1.7.12",),
)
START_SECONDS_MAX: Final = 30.0
LOOK_EVERY_S: Final = 0.05


class Restate:
    """Running processes and a client."""

    name = "restate"

    def __init__(self, folder: Path, step_log: StepLog) -> None:
        self._folder = folder
        ports = free_ports()
        self._ingress, self._admin, self._node = next(ports), next(ports), next(ports)
        self._worker_ports = {"a": next(ports), "b": next(ports)}
        self._processes: dict[str, Process] = {}
        self._numbers = itertools.count()
        self._pool = Pool(HOST, self._ingress)
        self.step_log = step_log

    async def start(self) -> None:
        """Start the server and the workers, and introduce them to each other."""
        program = PACKAGES.folder() / "package" / "bin" / "restate-server"
        self._processes["server"] = start(
            "restate-server",
            [str(program), "--no-logo", "--base-dir", str(self._folder / "restate-data")],
            settings={
                "RESTATE_NODE_NAME": "bench",
                "RESTATE_LOG_FILTER": "warn",
                "RESTATE_DISABLE_TELEMETRY": "true",
                "RESTATE_BIND_ADDRESS": f"{HOST}:{self._node}",
                "RESTATE_ADVERTISED_ADDRESS": f"http://{HOST}:{self._node}",
                "RESTATE_INGRESS__BIND_ADDRESS": f"{HOST}:{self._ingress}",
                "RESTATE_ADMIN__BIND_ADDRESS": f"{HOST}:{self._admin}",
            },
            metrics_port=self._node,
            folder=self._folder,
        )
        for group in self._worker_ports:
            self._start_worker(group)
        async with asyncio.timeout(START_SECONDS_MAX):
            await self._until_answers(self._admin, "/health")
            await self._until_answers(self._ingress, "/restate/health")
            for group, port in self._worker_ports.items():
                await self._until_listens(port)
                await self._register(group, port)

    def _start_worker(self, group: str) -> None:
        port = self._worker_ports[group]
        module = "tests.bench.peers.restate.program"
        self._processes[f"worker-{group}"] = start(
            f"restate-worker-{group}",
            [PACKAGES.python_program(), "-m", module, group, str(port)],
            settings={SETTING: str(self.step_log.path), "PYTHONPATH": ""},
            metrics_port=port,
            folder=self._folder,
        )

    async def _register(self, group: str, port: int) -> None:
        connection = await Connection.open(HOST, self._admin)
        answer = await connection.post("/deployments", {"uri": f"http://{HOST}:{port}"})
        connection.close()
        if answer.status >= 300:
            raise ProcessFailed(f"restate refuses worker {group}: {answer.body!r}")

    async def _until_answers(self, port: int, path: str) -> None:
        while True:
            self.check_alive()
            try:
                connection = await Connection.open(HOST, port)
                answer = await connection.get(path)
                connection.close()
                if answer.status == 200:
                    return
            except (OSError, EOFError):
                pass  # it does not listen yet; the time limit and check_alive end the waiting
            await asyncio.sleep(LOOK_EVERY_S)

    async def _until_listens(self, port: int) -> None:
        while True:
            self.check_alive()
            try:
                (await Connection.open(HOST, port)).close()
            except OSError:
                await asyncio.sleep(LOOK_EVERY_S)
            else:
                return

    def stop(self) -> None:
        """End everything."""
        self._pool.close()
        for group in self._worker_ports:
            if process := self._processes.get(f"worker-{group}"):
                _kill(process)
        if server := self._processes.get("server"):
            stop(server.popen)

    def check_alive(self) -> None:
        """Raise ProcessFailed if anything has ended."""
        for process in self._processes.values():
            process.check_alive()

    def kill_worker(self) -> None:
        """SIGKILL the worker of the first group."""
        _kill(self._processes["worker-a"])

    async def start_worker(self) -> None:
        """Start another in its place, where the server knows it."""
        self._start_worker("a")

    def pause(self) -> None:
        """Do nothing: an idle server is quiet."""

    def resume(self) -> None:
        """Do nothing."""

    def pids(self) -> Mapping[str, int]:
        """Tell the processes."""
        return {name: process.popen.pid for name, process in self._processes.items()}

    def counts(self) -> BatchCounts:
        """Count nothing."""
        return BatchCounts()

    async def drive(self, workload: Workload, *, in_flight: int, effort: Effort) -> list[float]:
        """Call handlers through the ingress."""

        async def once() -> None:
            number = next(self._numbers)
            await self._call(workload.name, number, expected=number + workload.adds)

        return await drive(once, in_flight=in_flight, effort=effort)

    async def run_all(self, name: str, numbers: range) -> None:
        """Call one handler for each number, all at once."""
        async with asyncio.TaskGroup() as group:
            for number in numbers:
                group.create_task(self._call(name, number, expected=number))

    async def _call(self, handler: str, value: int, *, expected: int) -> None:
        async with asyncio.timeout(RESULT_SECONDS_MAX), self._pool.connection() as connection:
            answer: Answer = await connection.post(f"/a/{handler}", value)
        if answer.status != 200 or answer.json() != expected:
            raise WrongResult(f"{handler}({value}): {answer.status} {answer.body!r}")


def _kill(worker: Process) -> None:
    """End a worker with the process that does its work; asked kindly, it leaves that behind."""
    if worker.popen.poll() is None:
        os.killpg(worker.popen.pid, signal.SIGKILL)
    worker.popen.wait()


@asynccontextmanager
async def running_restate(folder: Path) -> AsyncIterator[Restate]:
    """Run everything inside the block."""
    step_log = StepLog(folder / "steps.log")
    restate = Restate(folder, step_log)
    try:
        await restate.start()
        yield restate
    finally:
        restate.stop()
        step_log.close()
