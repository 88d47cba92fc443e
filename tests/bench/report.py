"""What a run prints and keeps: a table of medians and ratios, and one JSON line per result."""

import json
import os
import platform
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Final, TypeVar

from tests.bench.limits import Rate
from tests.bench.workloads import Measurement, Workload

FLOOR_IN_FLIGHT: Final = 64
DISTURBED_CORES: Final = 0.25
"""Above this much of other work on the machine a result is marked."""

_T = TypeVar("_T")

PACKAGES: Final = ("holdfast", "grpcio", "protobuf", "sqlalchemy", "msgspec", "uvloop")


@dataclass(frozen=True, slots=True)
class LimitResult:
    """One measurement of a limit; `name` says of which, ready to print."""

    name: str
    rate: Rate


@dataclass(frozen=True, slots=True)
class WorkloadResult:
    """One measurement of a workload, and the limits that were measured around it."""

    measurement: Measurement
    echo: Rate
    commits: Rate

    @property
    def echo_ratio(self) -> float:
        """Workflows for each echo of one operation, with as many in flight."""
        return self.measurement.per_second / self.echo.per_second

    @property
    def commit_ratio(self) -> float:
        """Workflows for each commit of the bare database; above one thanks to batches."""
        return self.measurement.per_second / self.commits.per_second

    @property
    def cpu_echoes(self) -> float:
        """How many echoes could be had for the processor time of one workflow."""
        return self.measurement.cpu_us / self.echo.cpu_us


@dataclass(slots=True)
class Results:
    """Everything that a run has measured so far, rounds mixed."""

    limits: list[LimitResult] = field(default_factory=list)
    workloads: list[WorkloadResult] = field(default_factory=list)

    def print_limits(self) -> None:
        """Print the medians of the machine's limits."""
        rows = []
        for name in dict.fromkeys(r.name for r in self.limits):
            rates = [r.rate for r in self.limits if r.name == name]
            cpu = median(r.cpu_us for r in rates)
            rows.append([name, _span(rates, lambda r: r.per_second), f"{cpu:.0f}" if cpu else ""])
        _print_table(["limits of this machine", "per s (least-most)", "CPU µs"], rows)

    def print_workloads(self) -> None:
        """Print the medians of the workloads, and their ratios to the limits."""
        header = ["workload", "per s (least-most)", "p50 ms", "p99 ms", "/echo", "floor", "/commit"]
        header += ["CPU µs", "µs/step", "in echoes", "ops/batch", "stmts/batch", "others"]
        rows = []
        for (workload, in_flight), group in self._groups():
            runs = [r.measurement for r in group]
            others = median(m.others_cores for m in runs)
            rows.append(
                [
                    f"{workload.name.upper()} x{in_flight}",
                    _span(runs, lambda m: m.per_second),
                    f"{median(m.latency_ms(0.5) for m in runs):.2f}",
                    f"{median(m.latency_ms(0.99) for m in runs):.2f}",
                    f"{median(r.echo_ratio for r in group):.3f}",
                    f"{workload.floor:g}" if in_flight == FLOOR_IN_FLIGHT else "",
                    f"{median(r.commit_ratio for r in group):.2f}",
                    f"{median(m.cpu_us for m in runs):.0f}",
                    f"{median(m.cpu_us_per_step for m in runs):.0f}",
                    f"{median(r.cpu_echoes for r in group):.1f}",
                    f"{median(m.operations_per_batch for m in runs):.1f}",
                    f"{median(m.statements_per_batch for m in runs):.1f}",
                    f"{others:.2f}" + ("!" if others > DISTURBED_CORES else ""),
                ]
            )
        _print_table(header, rows)

    def print_processes(self) -> None:
        """Print where the processor time and the memory go."""
        names: list[str] = []
        rows = []
        for (workload, in_flight), group in self._groups():
            runs = [r.measurement for r in group]
            names = list(runs[0].cpu_seconds)
            cells = [f"{workload.name.upper()} x{in_flight}"]
            for name in names:
                cpu = median(m.cpu_us_by_process[name] for m in runs)
                memory = median(m.resident_mib[name] for m in runs)
                cells.append(f"{cpu:.0f} µs, {memory:.0f} MiB")
            rows.append(cells)
        _print_table(["CPU per workflow, memory", *names], rows)

    def check_floors(self) -> bool:
        """Print whether each workload with a floor is above it; return whether all are."""
        good = True
        for (workload, in_flight), group in self._groups():
            if in_flight != FLOOR_IN_FLIGHT:
                continue
            ratio = median(r.echo_ratio for r in group)
            above = ratio >= workload.floor
            good = good and above
            print(
                f"{workload.name.upper()} x{in_flight}: {ratio:.3f} of the echo rate,"
                f" floor {workload.floor:g}: {'kept' if above else 'MISSED'}"
            )
        return good

    def _groups(self) -> Iterable[tuple[tuple[Workload, int], list[WorkloadResult]]]:
        keys = dict.fromkeys(
            (r.measurement.workload.name, r.measurement.in_flight) for r in self.workloads
        )
        for name, in_flight in keys:
            group = [
                r
                for r in self.workloads
                if (r.measurement.workload.name, r.measurement.in_flight) == (name, in_flight)
            ]
            yield (group[0].measurement.workload, in_flight), group


class Journal:
    """Appends each result to a file as one line, with all that is needed to compare it later."""

    def __init__(self, path: Path | None, *, settings: Mapping[str, object]) -> None:
        self._path = path
        self._common = {"settings": settings, "versions": _versions(), "machine": _machine()}

    def limit(self, result: LimitResult, *, round_number: int) -> None:
        """Keep a limit."""
        rate = result.rate
        self._append(
            {
                "kind": "limit",
                "name": result.name,
                "round": round_number,
                "count": rate.count,
                "seconds": rate.seconds,
                "per_second": rate.per_second,
                "cpu_us": rate.cpu_us,
            }
        )

    def workload(self, result: WorkloadResult, *, round_number: int) -> None:
        """Keep a workload."""
        m = result.measurement
        self._append(
            {
                "kind": "workload",
                "name": m.workload.name,
                "round": round_number,
                "in_flight": m.in_flight,
                "count": m.count,
                "seconds": m.seconds,
                "per_second": m.per_second,
                "p50_ms": m.latency_ms(0.5),
                "p99_ms": m.latency_ms(0.99),
                "echo_per_second": result.echo.per_second,
                "echo_ratio": result.echo_ratio,
                "commit_ratio": result.commit_ratio,
                "cpu_us": m.cpu_us,
                "cpu_us_per_step": m.cpu_us_per_step,
                "cpu_us_by_process": m.cpu_us_by_process,
                "cpu_echoes": result.cpu_echoes,
                "others_cores": m.others_cores,
                "operations_per_batch": m.operations_per_batch,
                "statements_per_batch": m.statements_per_batch,
                "batches_failed": m.batches.failed,
                "resident_mib": m.resident_mib,
            }
        )

    def _append(self, result: Mapping[str, object]) -> None:
        if self._path is None:
            return
        line = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **result, **self._common}
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{name: version(name) for name in PACKAGES},
    }


def _machine() -> dict[str, object]:
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "system": platform.platform(),
        "processor": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
    }


def _span(items: Sequence[_T], value: Callable[[_T], float]) -> str:
    values = sorted(map(value, items))
    if len(values) == 1:
        return f"{values[0]:,.0f}"
    return f"{median(values):,.0f} ({values[0]:,.0f}-{values[-1]:,.0f})"


def _print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    print()
    for row in (header, *rows):
        first, *rest = (
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *rest]).rstrip())
