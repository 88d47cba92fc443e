"""One workload on one subject: how fast, how late, and how dear."""

import asyncio
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter

from tests.bench.closed_loop import Effort
from tests.bench.processes import (
    cpu_seconds,
    machine_cpu_seconds,
    resident_mib,
    tree_cpu_seconds,
)
from tests.bench.shapes import Workload
from tests.bench.subject import CLIENT, BatchCounts, Driven

WARM_UP_SECONDS = 1.0


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
        return at_part(self.latencies_ms, part)

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


def at_part(ascending: Sequence[float], part: float) -> float:
    """Return the value that `part` of them do not exceed."""
    return ascending[max(math.ceil(part * len(ascending)) - 1, 0)]


async def measure(
    subject: Driven, workload: Workload, *, in_flight: int, effort: Effort
) -> Measurement:
    """Warm up, then run a workload and count what it did and cost."""
    warm_up = Effort(seconds=min(WARM_UP_SECONDS, effort.seconds))
    await subject.drive(workload, in_flight=in_flight, effort=warm_up)
    pids = subject.pids()
    batches = await asyncio.to_thread(subject.counts)
    machine, cpu = machine_cpu_seconds(), cpu_by_process(pids)
    started = perf_counter()
    latencies = await subject.drive(workload, in_flight=in_flight, effort=effort)
    seconds = perf_counter() - started
    used = {name: now - cpu[name] for name, now in cpu_by_process(pids).items()}
    others = machine_cpu_seconds() - machine - sum(used.values())
    subject.check_alive()
    return Measurement(
        workload=workload,
        in_flight=in_flight,
        seconds=seconds,
        latencies_ms=sorted(latencies),
        cpu_seconds=used,
        others_cpu_seconds=max(others, 0.0),
        batches=(await asyncio.to_thread(subject.counts)).since(batches),
        resident_mib={name: resident_mib(pid) for name, pid in pids.items()},
    )


def cpu_by_process(pids: Mapping[str, int]) -> dict[str, float]:
    """Read what each part has used so far, and the client, which is this process."""
    used = {name: tree_cpu_seconds(pid) for name, pid in pids.items()}
    return used | {CLIENT: cpu_seconds(os.getpid())}
