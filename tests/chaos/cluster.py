"""Real processes on one real PostgreSQL: several stores, workers and db workers, as they ship."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from holdfast_cli.ports import free_ports, refusal
from tests.integration.kill.evidence import Attempts
from tests.integration.kill.processes import HOST, Process
from tests.integration.postgres import LAUNCH, Server
from tests.integration.store_postgres.evidence import BooksOnServer, StoreOnServer

LEASE_TTL_MS: Final = 5_000
"""Longer than a busy machine keeps a worker from its heartbeats, short enough to wait for."""

READY_S_MAX: Final = 90.0
"""Several interpreters start at once, and perhaps other tests keep the machine busy."""

MODULES: Final = ("holdfast_worker.apps.orders", "tests.chaos.workflows")


class Member(Process):
    """A process as it ships, which dies with the thread that started it."""

    def _command(self) -> list[str]:
        program = [sys.executable, "-m", self._module, "serve"]
        return [
            *(sys.executable, "-S", str(LAUNCH)),
            *(str(os.geteuid()), str(os.getegid())),
            *program,
        ]


class Cluster:
    """Stores, two workers, two db workers. Whoever is killed comes back in the same place."""

    def __init__(self, folder: Path, server: Server, *, stores: int) -> None:
        self.folder = folder
        self.server = server
        self.store_file = StoreOnServer(server.create_database())
        self.books = BooksOnServer(server.create_database(template="template1"))
        self.attempts = Attempts(folder / "attempts.jsonl")
        self._ports: list[int] = []
        self._free_ports = free_ports()
        listens = [f"{HOST}:{self._port()}" for _ in range(stores)]
        self.store_url = "grpc://" + ",".join(listens)
        self.stores = [
            self._member(f"store-{n}", "store", DATABASE_URL=self.store_file.url, LISTEN=listen)
            for n, listen in enumerate(listens, start=1)
        ]
        joined = {
            "STORE_URL": self.store_url,
            "STOP_SECONDS": "5",
            "LEASE_TTL_MS": str(LEASE_TTL_MS),
            "ATTEMPTS_FILE": str(self.attempts.file),
        }
        modules = ",".join(MODULES)
        self.workers = [
            self._member(f"worker-{n}", "worker", **joined, MODULES=modules) for n in (1, 2)
        ]
        self.db_workers = [
            self._member(f"db-{n}", "db", **joined, DATABASE_URL=self.books.url) for n in (1, 2)
        ]

    def _port(self) -> int:
        self._ports.append(next(self._free_ports))
        return self._ports[-1]

    def _member(self, name: str, kind: str, **settings: str) -> Member:
        port, prefix = self._port(), f"HOLDFAST_{kind.upper()}"
        settings["METRICS_LISTEN"] = f"{HOST}:{port}"
        return Member(
            name,
            f"holdfast_{kind}",
            settings={f"{prefix}_{key}": value for key, value in settings.items()},
            metrics_port=port,
            log=self.folder / f"{name}.log",
        )

    @property
    def members(self) -> list[Process]:
        """Whoever is connected to a store."""
        return [*self.workers, *self.db_workers]

    @property
    def processes(self) -> list[Process]:
        """Everything but PostgreSQL."""
        return [*self.stores, *self.members]

    # Life

    def heal(self) -> None:
        """Start what is dead, and wait until everything is ready; the stores come first."""
        for together in (self.stores, self.members):
            for process in together:
                if not process.is_alive:
                    process.start()
            for process in together:
                process.wait_ready(deadline_s=READY_S_MAX)

    def close(self) -> None:
        """Leave nothing behind: no process, and nobody on the ports."""
        for process in self.processes:
            process.send_kill()
        for process in self.processes:
            process.kill()
        taken = {port: reason for port in self._ports if (reason := refusal(port))}
        assert not taken, f"somebody outlived the test: {taken}"

    def logs(self) -> Iterator[tuple[str, str]]:
        """The end of what each process logged."""
        for process in self.processes:
            yield process.name, process.tail()
