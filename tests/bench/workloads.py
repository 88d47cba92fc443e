"""The workloads: what one unit is, and how units are driven and measured."""

import asyncio
import itertools
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter

from holdfast import Resonate
from tests.bench.functions import GROUP_A
from tests.bench.processes import cpu_seconds, machine_cpu_seconds, resident_mib
from tests.bench.system import BatchCounts, System

RESULT_SECONDS_MAX = 60.0
WARM_UP_SECONDS = 1.0
CLIENT = "client"


class WrongResult(Exception):
    """A workflow returned what it should not have."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A workflow in group A; each adds a fixed number to its input, so that results are checked."""

    name: str
    function: str
    adds: int
    durable_steps: int
    """Promises that one workflow has settled besides its own: steps and remote calls."""
    floor: float
    """Least acceptable ratio of workflows to echoes, both per second and with 64 in flight."""


WORKLOADS: Mapping[str, Workload] = {
    w.name: w
    for w in (
        Workload("w1", "bench.one_step", adds=0, durable_steps=1, floor=0.3),
        Workload("w2", "bench.four_steps", adds=4, durable_steps=4, floor=0.15),
        Workload("w3", "bench.two_calls", adds=3, durable_steps=3, floor=0.075),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long one measurement goes on: for some seconds, or for a number of workflows."""

    seconds: float
    count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a workload did, and what it cost."""

    workload: Workload
    in_flight: int
    seconds: float
    latencies_ms: Sequence[float] = field(repr=False)
    """One per workflow, ascending."""
    cpu_seconds: Mapping[str, float]
    """Processor time by process."""
    others_cpu_seconds: float
    """Processor time of everything else on the machine: how much it disturbed."""
    batches: BatchCounts
    resident_mib: Mapping[str, float]

    @property
    def count(self) -> int:
        """How many workflows ended."""
        return len(self.latencies_ms)

    @property
    def per_second(self) -> float:
        """Workflows per second."""
        return self.count / self.seconds

    def latency_ms(self, part: float) -> float:
        """Return the latency that `part` of the workflows did not exceed."""
        return self.latencies_ms[max(math.ceil(part * self.count) - 1, 0)]

    @property
    def cpu_us(self) -> float:
        """Microseconds of processor time for each workflow, all processes together."""
        return sum(self.cpu_seconds.values()) / self.count * 1e6

    @property
    def cpu_us_by_process(self) -> Mapping[str, float]:
        """Microseconds of processor time for each workflow, by process."""
        return {name: cpu / self.count * 1e6 for name, cpu in self.cpu_seconds.items()}

    @property
    def cpu_us_per_step(self) -> float:
        """The same for each durable step, the workflow's own start and end included."""
        return self.cpu_us / self.workload.durable_steps

    @property
    def operations_per_batch(self) -> float:
        """Size of a transaction of the store."""
        return self.batches.operations / max(self.batches.batches, 1)

    @property
    def statements_per_batch(self) -> float:
        """Length of a transaction of the store."""
        return self.batches.statements / max(self.batches.batches, 1)

    @property
    def others_cores(self) -> float:
        """How many cores something else kept busy meanwhile."""
        return self.others_cpu_seconds / self.seconds


class Driver:
    """A client with a fixed number of workflows under way: one ends, the next begins."""

    def __init__(self, resonate: Resonate, *, run_id: str) -> None:
        self._resonate = resonate
        self._run_id = run_id
        self._numbers = itertools.count()
        self._options = resonate.options(target=f"poll://any@{GROUP_A}")

    async def drive(self, workload: Workload, *, in_flight: int, effort: Effort) -> list[float]:
        """Run workflows until the effort is spent; return their latencies in milliseconds."""
        latencies: list[float] = []
        deadline = perf_counter() + effort.seconds
        left = itertools.count() if effort.count is None else iter(range(effort.count))

        async def lane() -> None:
            while (effort.count is not None or perf_counter() < deadline) and (
                next(left, None) is not None
            ):
                started = perf_counter()
                await self._once(workload)
                latencies.append((perf_counter() - started) * 1e3)

        async with asyncio.TaskGroup() as lanes:
            for _ in range(in_flight):
                lanes.create_task(lane())
        return latencies

    async def _once(self, workload: Workload) -> None:
        number = next(self._numbers)
        run_id = f"{self._run_id}/{workload.name}/{number}"
        async with asyncio.timeout(RESULT_SECONDS_MAX):
            result = await self._resonate.rpc(run_id, workload.function, number, self._options)
        if result != number + workload.adds:
            raise WrongResult(f"{run_id}: {result!r} instead of {number + workload.adds}")

    async def measure(
        self, system: System, workload: Workload, *, in_flight: int, effort: Effort
    ) -> Measurement:
        """Warm up, then run a workload and count what it did and cost."""
        await self.drive(workload, in_flight=in_flight, effort=Effort(seconds=WARM_UP_SECONDS))
        pids = {name: process.popen.pid for name, process in system.processes.items()}
        pids[CLIENT] = os.getpid()
        batches = await asyncio.to_thread(system.batch_counts)
        machine, cpu = machine_cpu_seconds(), _cpu_seconds(pids)
        started = perf_counter()
        latencies = await self.drive(workload, in_flight=in_flight, effort=effort)
        seconds = perf_counter() - started
        used = {name: now - cpu[name] for name, now in _cpu_seconds(pids).items()}
        others = machine_cpu_seconds() - machine - sum(used.values())
        system.check_alive()
        return Measurement(
            workload=workload,
            in_flight=in_flight,
            seconds=seconds,
            latencies_ms=sorted(latencies),
            cpu_seconds=used,
            others_cpu_seconds=max(others, 0.0),
            batches=(await asyncio.to_thread(system.batch_counts)).since(batches),
            resident_mib={name: resident_mib(pid) for name, pid in pids.items()},
        )


def _cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    return {name: cpu_seconds(pid) for name, pid in pids.items()}
