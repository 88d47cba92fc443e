"""Stores of one PostgreSQL database, each a process of its own, and what they tell."""

import re
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from holdfast_cli.ports import free_ports
from tests.integration.kill.processes import HOST, Process, until
from tests.integration.postgres import query

NEVER_MS: Final = 3_600_000
"""A slow poll that no test lives to see: what happens was told, or found in its place."""


class Stores:
    """Three stores, on the same ports whenever they start."""

    def __init__(self, folder: Path, database_url: str, *, count: int = 3) -> None:
        self.database_url = database_url
        ports = free_ports()
        self.all = [Store(f"store-{n}", folder, database_url, ports) for n in range(count)]

    def heal(self) -> None:
        """Start what is dead, and return when they have heard of each other."""
        for store in self.all:
            if not store.is_alive:
                store.start()
        for store in self.all:
            store.wait_ready()
        others = len(self.all) - 1
        for store in self.all:
            until(partial(store.is_settled, others), f"{store.name} knows the others")

    def close(self) -> None:
        """Leave no process."""
        for store in self.all:
            store.kill()

    def cut_listeners(self) -> int:
        """End the connections by which stores hear of each other; answer how many there were."""
        cut = query(
            self.database_url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE '%pg_notify%'"
            " AND pid <> pg_backend_pid()",
        )
        return len(cut)


class Store(Process):
    """One of them."""

    def __init__(self, name: str, folder: Path, database_url: str, ports: Iterator[int]) -> None:
        port, self._metrics = next(ports), next(ports)
        self.target = f"{HOST}:{port}"
        self.url = f"grpc://{self.target}"
        super().__init__(
            name,
            "holdfast_store",
            settings={
                "HOLDFAST_STORE_DATABASE_URL": database_url,
                "HOLDFAST_STORE_LISTEN": self.target,
                "HOLDFAST_STORE_METRICS_LISTEN": f"{HOST}:{self._metrics}",
                "HOLDFAST_STORE_SLOW_POLL_MS": str(NEVER_MS),
                "HOLDFAST_STORE_DRAIN_MS": "1000",
            },
            metrics_port=self._metrics,
            log=folder / f"{name}.log",
        )

    def is_settled(self, others: int) -> bool:
        """Whether it hears, knows how many others there are, and looks at everything no more."""
        if self.metric("replicas_settling") or not self.metric("replicas_listening"):
            return False
        return self.metric("replicas_others") == others

    def metric(self, name: str, **labels: str) -> float:
        """Read one of its numbers; those that are not told are 0."""
        with urllib.request.urlopen(f"http://{HOST}:{self._metrics}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        wanted = ",".join(f'{key}="{value}"' for key, value in labels.items())
        series = re.escape(f"holdfast_store_{name}" + (f"{{{wanted}}}" if wanted else ""))
        found = re.search(rf"^{series} (\S+)$", text, flags=re.MULTILINE)
        return float(found[1]) if found else 0.0
