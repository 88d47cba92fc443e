"""Where one process spends its time under one workload.

cProfile makes calls look dearer than they are; proportions between functions of similar size are
right, and so is the processor time by thread, which is printed beside it.
"""

import cProfile
import os
import pstats
from dataclasses import dataclass
from pathlib import Path

from tests.bench.closed_loop import Effort
from tests.bench.databases import Database
from tests.bench.measuring import WARM_UP_SECONDS
from tests.bench.processes import thread_cpu_seconds
from tests.bench.shapes import Workload
from tests.bench.subject import CLIENT
from tests.bench.system import Setup, System, running_system

FUNCTIONS_SHOWN = 45
THREADS_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is looked at: a process under a workload."""

    process: str
    workload: Workload
    in_flight: int
    seconds: float
    steps: str


async def profile(target: Target, database: Database, *, folder: Path) -> None:
    """Run a workload once and print the dearest functions of one process."""
    output = folder / f"{target.process}.profile"
    is_client = target.process == CLIENT
    profiled = {} if is_client else {target.process: output}
    setup = Setup(
        name=database.name,
        database_url=database.create(folder, "store"),
        folder=folder,
        steps=target.steps,
        profiled=profiled,
    )
    async with running_system(setup) as system:
        pid = os.getpid() if is_client else system.processes[target.process].popen.pid
        await _drive(system, target, seconds=WARM_UP_SECONDS)
        before = thread_cpu_seconds(pid)
        if is_client:
            with cProfile.Profile() as own:
                count = await _drive(system, target, seconds=target.seconds)
            own.dump_stats(output)
        else:
            count = await _drive(system, target, seconds=target.seconds)
        threads = thread_cpu_seconds(pid)
    print(f"\n{target.process}, {target.workload.name} x{target.in_flight}: {count} workflows")
    used = {name: cpu - before.get(name, 0.0) for name, cpu in threads.items()}
    print(f"  {sum(used.values()) / count * 1e6:.0f} µs CPU per workflow, of which")
    for name, cpu in sorted(used.items(), key=lambda item: item[1], reverse=True)[:THREADS_SHOWN]:
        print(f"  {cpu / count * 1e6:8.0f} µs in thread {name}")
    _print_calls(output)


async def _drive(system: System, target: Target, *, seconds: float) -> int:
    """Run the workload; return how many workflows ended."""
    effort = Effort(seconds=seconds)
    latencies = await system.drive(target.workload, in_flight=target.in_flight, effort=effort)
    return len(latencies)


def _print_calls(output: Path) -> None:
    stats = pstats.Stats(str(output)).strip_dirs()
    stats.sort_stats("tottime").print_stats(FUNCTIONS_SHOWN)
    stats.sort_stats("cumulative").print_stats(FUNCTIONS_SHOWN)
