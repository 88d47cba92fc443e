"""The whole system as real processes on loopback ports, every one of which can be killed."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx

from holdfast_cli.ports import free_ports, refusal
from tests.integration.kill.evidence import Attempts, Books, StoreFile
from tests.integration.kill.points import FOLDER_VARIABLE, Plan, Points
from tests.integration.kill.processes import HOST, Process

KINDS: Final = ("store", "gateway", "worker", "db")

WORKER_MODULES: Final = (
    "holdfast_worker.apps.orders",
    "holdfast_worker.apps.jobs",
    "tests.integration.kill.workflows",
)

LEASE_TTL_MS: Final = 2_000
"""Long enough that a slow machine does not lose leases by itself, short enough to wait for."""


class System:
    """A store on a SQLite file, a gateway, two workers and two db workers.

    Other databases may be given in place of the two files. Killed processes come back on the same
    ports and the same databases.
    """

    def __init__(
        self, folder: Path, *, store_file: StoreFile | None = None, books: Books | None = None
    ) -> None:
        self.folder = folder
        self.ports: list[int] = []
        self._free_ports = free_ports()
        store_port, gateway_port, bridge_port = self.port(), self.port(), self.port()
        self.store_url = f"grpc://{HOST}:{store_port}"
        self.attempts = Attempts(folder / "attempts.jsonl")
        self.books = books or Books(folder / "application.db")
        self.store_file = store_file or StoreFile(folder / "store.db")
        self.points = {kind: Points(folder / "points" / kind) for kind in KINDS}
        self.client = httpx.Client(
            base_url=f"http://{HOST}:{gateway_port}", trust_env=False, timeout=30
        )
        self._log_starts: dict[str, int] = {}
        self.extra: list[Process] = []

        client = {"STORE_URL": self.store_url, "STOP_SECONDS": "1"}
        member = {**client, "LEASE_TTL_MS": str(LEASE_TTL_MS)}
        journal = {"ATTEMPTS_FILE": str(self.attempts.file)}
        application = {"DATABASE_URL": self.books.url}
        self.store = self.process(
            "store",
            "store",
            {
                "DATABASE_URL": self.store_file.url,
                "LISTEN": f"{HOST}:{store_port}",
            },
        )
        self.gateway = self.process(
            "gateway",
            "gateway",
            {
                **client,
                "STORE_SECONDS": "2",
                "LISTEN": f"{HOST}:{gateway_port}",
                "BRIDGE_LISTEN": f"{HOST}:{bridge_port}",
                "LOG_LEVEL": "warning",  # statuses are asked for every few milliseconds
            },
        )
        modules = {"MODULES": ",".join(WORKER_MODULES)}
        self.workers = [
            self.process(f"worker-{n}", "worker", {**member, **journal, **modules}) for n in (1, 2)
        ]
        self.db_workers = [
            self.process(f"db-{n}", "db", {**member, **journal, **application}) for n in (1, 2)
        ]

    def port(self) -> int:
        """Take a free port, for all lives of whoever gets it."""
        self.ports.append(next(self._free_ports))
        return self.ports[-1]

    def process(self, name: str, kind: str, settings: Mapping[str, str]) -> Process:
        """Describe a process of a kind; nothing starts yet."""
        metrics_port = self.port()
        prefix = f"HOLDFAST_{kind.upper()}"
        return Process(
            name,
            f"tests.integration.kill.{kind}_main",
            settings={
                FOLDER_VARIABLE: str(self.points[kind].folder),
                f"{prefix}_METRICS_LISTEN": f"{HOST}:{metrics_port}",
                **{f"{prefix}_{key}": value for key, value in settings.items()},
            },
            metrics_port=metrics_port,
            log=self.folder / f"{name}.log",
        )

    @property
    def processes(self) -> list[Process]:
        """Everything that should run between tests."""
        return [self.store, self.gateway, *self.workers, *self.db_workers]

    def of_kind(self, kind: str) -> list[Process]:
        """The processes of one kind."""
        return {
            "store": [self.store],
            "gateway": [self.gateway],
            "worker": self.workers,
            "db": self.db_workers,
        }[kind]

    # Life

    def heal(self) -> None:
        """Start what is dead, wait until everything is ready, make no plans."""
        for points in self.points.values():
            points.arm(Plan(origin="nothing"))
        for process in self.extra:
            process.kill()
        for process in self.processes:
            if process.is_stopped:
                process.kill()
            if not process.is_alive:
                process.start()
        for process in self.processes:
            process.wait_ready()

    def kill_all(self) -> None:
        """Kill everything at once."""
        everything = (*self.extra, *self.processes)
        for process in everything:
            process.send_kill()
        for process in everything:
            process.kill()

    def close(self) -> None:
        """Leave nothing behind: no process, and nobody on the ports."""
        self.client.close()
        self.kill_all()
        taken = {port: reason for port in self.ports if (reason := refusal(port))}
        assert not taken, f"somebody outlived the tests: {taken}"

    def mark_logs(self) -> None:
        """Show only what is logged from now on."""
        every = (*self.processes, *self.extra)
        self._log_starts = {p.name: p.log.stat().st_size for p in every if p.log.exists()}

    def logs(self) -> Iterator[tuple[str, str]]:
        """What each process logged since the mark."""
        for process in (*self.processes, *self.extra):
            yield process.name, process.tail(start=self._log_starts.get(process.name, 0))

    # REST

    def try_post(self, path: str, body: object, *, key: str | None = None) -> dict[str, Any] | None:
        """Post once; `None` when it is not known whether it was accepted."""
        headers = {} if key is None else {"idempotency-key": key}
        try:
            answer = self.client.post(path, json=body, headers=headers)
        except httpx.TransportError:
            return None
        if answer.status_code == 503:
            assert "retry-after" in answer.headers
            return None
        assert answer.status_code == 202, answer.text
        accepted: dict[str, Any] = answer.json()
        return accepted

    def get(self, path: str) -> dict[str, Any] | None:
        """Read a status; `None` while nobody answers."""
        try:
            answer = self.client.get(path)
        except httpx.TransportError:
            return None
        if answer.status_code == 503:
            return None
        status: dict[str, Any] = answer.json()
        return status
