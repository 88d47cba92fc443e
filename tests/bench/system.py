"""The system under measurement: a store on SQLite and one worker in each of two groups."""

import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from holdfast_cli.ports import HOST, free_ports
from tests.bench.functions import GROUP_A, GROUP_B, STEPS_SETTING
from tests.bench.processes import Process, running

NAMES = ("store", "worker-a", "worker-b")


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """What the store has counted since its start."""

    batches: float
    operations: float
    statements: float
    failed: float

    def since(self, before: "BatchCounts") -> "BatchCounts":
        """Subtract an earlier count."""
        return BatchCounts(
            batches=self.batches - before.batches,
            operations=self.operations - before.operations,
            statements=self.statements - before.statements,
            failed=self.failed - before.failed,
        )


@dataclass(frozen=True, slots=True)
class System:
    """Running processes; `url` is where clients find the store."""

    url: str
    processes: Mapping[str, Process]

    def batch_counts(self) -> BatchCounts:
        """Ask the store's metrics; blocks for about a millisecond."""
        port = self.processes["store"].metrics_port
        with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=5) as answer:
            totals = totals_of(answer.read().decode())
        return BatchCounts(
            batches=totals["holdfast_store_batch_operations_count"],
            operations=totals["holdfast_store_batch_operations_sum"],
            statements=totals["holdfast_store_batch_statements_sum"],
            failed=totals.get("holdfast_store_batches_failed_total", 0.0),
        )

    def check_alive(self) -> None:
        """Raise ProcessFailed if anything has ended."""
        for process in self.processes.values():
            process.check_alive()


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
async def running_system(
    folder: Path, *, steps: str, profiled: Mapping[str, Path] | None = None
) -> AsyncIterator[System]:
    """Run everything inside the block, with an empty database in the folder.

    `profiled` names processes to run under cProfile, each with the file for its profile.
    """
    ports = free_ports()
    profiled = profiled or {}
    with ExitStack() as stack:
        store_port = next(ports)
        url = f"grpc://{HOST}:{store_port}"
        store = stack.enter_context(
            _service(
                "store",
                "holdfast_store",
                settings={
                    "HOLDFAST_STORE_DATABASE_URL": f"sqlite:///{folder / 'store.db'}",
                    "HOLDFAST_STORE_LISTEN": f"{HOST}:{store_port}",
                },
                ports=ports,
                folder=folder,
                profiled=profiled,
            )
        )
        await store.wait_until_ready()
        workers = [
            stack.enter_context(
                _service(
                    name,
                    "holdfast_worker",
                    settings={
                        "HOLDFAST_WORKER_STORE_URL": url,
                        "HOLDFAST_WORKER_GROUP": group,
                        "HOLDFAST_WORKER_MODULES": "tests.bench.functions",
                        STEPS_SETTING: steps,
                    },
                    ports=ports,
                    folder=folder,
                    profiled=profiled,
                )
            )
            for name, group in (("worker-a", GROUP_A), ("worker-b", GROUP_B))
        ]
        for worker in workers:
            await worker.wait_until_ready()
        yield System(url, dict(zip(NAMES, (store, *workers), strict=True)))


def _service(
    name: str,
    module: str,
    *,
    settings: Mapping[str, str],
    ports: Iterator[int],
    folder: Path,
    profiled: Mapping[str, Path],
) -> AbstractContextManager[Process]:
    metrics_port = next(ports)
    prefix = module.upper()
    command = ["-m", module, "serve"]
    if name in profiled:
        command = ["-m", "tests.bench.profiled", str(profiled[name]), module, "serve"]
    return running(
        name,
        command,
        settings={
            f"{prefix}_METRICS_LISTEN": f"{HOST}:{metrics_port}",
            f"{prefix}_LOG_LEVEL": "warning",
            **settings,
        },
        metrics_port=metrics_port,
        folder=folder,
    )
