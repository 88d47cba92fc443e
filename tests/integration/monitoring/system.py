"""The processes that are scraped: all of Holdfast on one machine, with the real operator.

Everything is started by its own command, except that the store breaks transactions when told to.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from holdfast_cli.ports import free_ports
from tests.integration.kill.processes import HOST, Process
from tests.integration.monitoring.store_main import OUTAGE_VARIABLE

DOOMED: Final = "doomed"
"""The group of the worker that is killed while it holds a task."""

SETTINGS: Final[dict[str, dict[str, str]]] = {
    "store": {
        "QUEUE_OPERATIONS_MAX": "256",  # small, so that a burst overflows it
        "UNKNOWN_FUNCTION_RELEASES_MAX": "1",
    },
    "gateway": {
        "STORE_SECONDS": "1",
        "ORDERS_SIMULATE_CRASH": "1",  # one attempt of each order's reservation fails
        "LOG_LEVEL": "warning",
    },
    "worker": {"STOP_SECONDS": "1"},
    "doomed": {"GROUP": DOOMED, "STEP_DELAY_MS": "600000"},
    "db": {"STOP_SECONDS": "1"},
    "operator": {"INTERVAL_MS": "100"},
}


class System:
    """A store, a gateway, a worker, a db worker, an operator, and a worker that will die."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = free_ports()
        self.outage = folder / "outage"
        self.kubeconfig = folder / "kubeconfig"
        self.metrics: dict[str, str] = {}
        store, gateway, bridge = self.address(), self.address(), self.address()
        self.gateway_url = f"http://{gateway}"
        self.store_url = f"grpc://{store}"
        self._processes = {
            "store": self._process(
                "store",
                "store",
                DATABASE_URL=f"sqlite:///{folder / 'store.db'}",
                LISTEN=store,
                module="tests.integration.monitoring.store_main",
            ),
            "gateway": self._process("gateway", "gateway", LISTEN=gateway, BRIDGE_LISTEN=bridge),
            "worker": self._process("worker", "worker"),
            "doomed": self._process("doomed", "worker"),
            "db": self._process("db", "db", DATABASE_URL=f"sqlite:///{folder / 'application.db'}"),
        }
        self._operator = self._process("operator", "operator")

    def address(self) -> str:
        """Find an address to listen on."""
        return f"{HOST}:{next(self._ports)}"

    def _process(self, name: str, kind: str, *, module: str = "", **settings: str) -> Process:
        self.metrics[name] = self.address()
        settings |= SETTINGS[name] | {"METRICS_LISTEN": self.metrics[name]}
        if kind != "store":
            settings["STORE_URL"] = self.store_url
        return Process(
            name,
            module or f"holdfast_{kind}",
            settings={
                OUTAGE_VARIABLE: str(self.outage),
                "KUBECONFIG": str(self.kubeconfig),
                **{f"HOLDFAST_{kind.upper()}_{key}": value for key, value in settings.items()},
            },
            metrics_port=int(self.metrics[name].rpartition(":")[2]),
            log=self._folder / f"{name}.log",
        )

    def targets(self) -> Mapping[str, Sequence[str]]:
        """Where each job of the scrape finds its processes."""
        return {name: [address] for name, address in self.metrics.items()}

    def start(self) -> None:
        """Start everything but the operator, and wait until all is ready."""
        for process in self._processes.values():
            process.start()
        for process in self._processes.values():
            process.wait_ready()

    def start_operator(self) -> None:
        """Start the operator on the cluster of the kubeconfig, and wait until it is ready."""
        self._operator.start()
        self._operator.wait_ready()

    def kill(self, name: str) -> None:
        """Kill one process; it does not come back."""
        self._processes[name].kill()

    def stop(self) -> None:
        """Kill what is left."""
        for process in (self._operator, *self._processes.values()):
            process.kill()

    @contextlib.contextmanager
    def database_away(self) -> Iterator[None]:
        """Let every transaction of the store fail inside."""
        self.outage.touch()
        try:
            yield
        finally:
            self.outage.unlink()
