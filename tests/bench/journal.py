"""One JSON line per result, with the versions and settings it came from."""

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tests.bench.report import LimitResult, Told, WorkloadResult

PACKAGES: Final = ("holdfast", "grpcio", "protobuf", "sqlalchemy", "asyncpg", "msgspec", "uvloop")


class Journal:
    """Appends results to a file as they come, if there is a file."""

    def __init__(
        self,
        path: Path | None,
        *,
        settings: Mapping[str, object],
        versions: Mapping[str, str],
    ) -> None:
        self._path = path
        self._common = {
            "settings": settings,
            "versions": {
                "python": platform.python_version(),
                **{name: version(name) for name in PACKAGES},
                **versions,
            },
            "machine": _machine(),
        }

    def limit(self, result: LimitResult, *, round_number: int) -> None:
        """Keep a limit of the machine."""
        rate = result.rate
        self._append(
            {
                "kind": "limit",
                "name": result.name,
                "round": round_number,
                "count": rate.count,
                "seconds": rate.seconds,
                "per_second": rate.per_second,
                "cpu_us": rate.cpu_us if rate.count else None,
            }
        )

    def workload(self, result: WorkloadResult) -> None:
        """Keep a workload."""
        m = result.measurement
        self._append(
            {
                "kind": "workload",
                "name": m.workload.name,
                "subject": result.subject,
                "round": result.round_number,
                "in_flight": m.in_flight,
                "count": m.count,
                "seconds": m.seconds,
                "per_second": m.per_second,
                "p50_ms": m.latency_ms(0.5),
                "p99_ms": m.latency_ms(0.99),
                "echo_per_second": result.echo.per_second,
                "echo_ratio": result.echo_ratio,
                "commit_ratio": result.commit_ratio if result.commits else None,
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

    def told(self, told: Told) -> None:
        """Keep a result of W5, W6 or W8."""
        self._append(
            {
                "kind": type(told.result).__name__.lower(),
                "subject": told.subject,
                "round": told.round_number,
                **asdict(told.result),
            }
        )

    def _append(self, result: Mapping[str, object]) -> None:
        if self._path is None:
            return
        line = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **result, **self._common}
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


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
