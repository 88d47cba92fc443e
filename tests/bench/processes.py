"""Processes of a benchmark: started, found ready, counted, stopped.

What a process costs is read from `/proc`, so this runs on Linux only.
"""

import asyncio
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast_cli.probe import not_ready

ROOT = Path(__file__).parents[2]
START_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 10.0
PROBE_EVERY_SECONDS = 0.05
LOG_LINES_SHOWN = 15

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class ProcessFailed(Exception):
    """A process of the system under measurement did not start, or did not live."""


@dataclass(frozen=True, slots=True)
class Process:
    """A running child; `metrics_port` answers `/ready` and `/metrics`."""

    name: str
    popen: subprocess.Popen[bytes]
    metrics_port: int
    log: Path

    async def wait_until_ready(self) -> None:
        """Return once `/ready` says so; raise ProcessFailed when the process ends or dawdles."""
        reason: str | None = "it was not asked yet"
        try:
            async with asyncio.timeout(START_SECONDS_MAX):
                while reason := await not_ready(self.metrics_port):
                    self.check_alive()
                    await asyncio.sleep(PROBE_EVERY_SECONDS)
        except TimeoutError:
            raise ProcessFailed(
                f"{self.name} was not ready in {START_SECONDS_MAX:.0f} s: {reason}\n{self._tail()}"
            ) from None

    def check_alive(self) -> None:
        """Raise ProcessFailed, with the last lines of the log, if the process has ended."""
        code = self.popen.poll()
        if code is not None:
            raise ProcessFailed(f"{self.name} ended with exit code {code}\n{self._tail()}")

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:])


def start(
    name: str,
    command: Sequence[str],
    *,
    settings: Mapping[str, str],
    metrics_port: int,
    folder: Path,
) -> Process:
    """Start a program; its output is appended to a file of the folder. The caller ends it."""
    log = folder / f"{name}.log"
    with log.open("ab") as output:
        popen = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,  # Ctrl-C is for the benchmark, which then stops its children in order
        )
    return Process(name, popen, metrics_port, log)


def stop(popen: subprocess.Popen[bytes]) -> None:
    """End a child, gracefully if it lets us."""
    popen.terminate()
    try:
        popen.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        popen.kill()
        popen.wait()


def cpu_seconds(pid: int) -> float:
    """Read the processor time that a process has used, all threads, ended ones included."""
    return _ticks(Path(f"/proc/{pid}/stat")) / _TICKS_PER_SECOND


def tree_cpu_seconds(pid: int) -> float:
    """Read what a process and everything it started have used, ended children included."""
    children: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = _fields(stat)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        child = int(stat.parent.name)
        children.setdefault(int(fields[1]), []).append(child)
        ticks[child] = sum(map(int, fields[11:15]))
    total, waiting = 0, [pid]
    while waiting:
        each = waiting.pop()
        total += ticks.get(each, 0)
        waiting += children.get(each, [])
    return total / _TICKS_PER_SECOND


def thread_cpu_seconds(pid: int) -> dict[str, float]:
    """Read the processor time of each living thread of a process, by `tid name`."""
    threads = {}
    for task in sorted(Path(f"/proc/{pid}/task").iterdir(), key=lambda path: int(path.name)):
        name = (task / "comm").read_text().strip()
        threads[f"{task.name} {name}"] = _ticks(task / "stat") / _TICKS_PER_SECOND
    return threads


def machine_cpu_seconds() -> float:
    """Read the processor time that the whole machine has spent on anything but idling."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle, iowait = fields[3:5]
    return (sum(fields) - idle - iowait) / _TICKS_PER_SECOND


def resident_mib(pid: int) -> float:
    """Read how much memory a process has in use."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * _PAGE_BYTES / 2**20


def _ticks(stat: Path) -> int:
    fields = _fields(stat)
    return int(fields[11]) + int(fields[12])


def _fields(stat: Path) -> list[str]:
    # The second field is the command in parentheses, and may itself contain any character.
    return stat.read_text().rpartition(")")[2].split()
