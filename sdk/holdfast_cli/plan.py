"""What `holdfast dev` starts: which processes, in which order, with which settings. Pure."""

import itertools
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from holdfast_cli.errors import UsageError
from holdfast_cli.ports import HOST

PORT_MAX = 65_535
PROCESSES_MAX = 32  # of one kind: this is a development machine

STOP_SECONDS = 5  # for what runs when Ctrl-C comes; a step that takes longer is done again

FREE_PORTS = 0  # a port base that asks for any free ports


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a person may choose about `holdfast dev`."""

    data: Path = Path(".holdfast")
    database_url: str | None = None
    stores: int = 1
    gateways: int = 1
    workers: int = 1
    db_workers: int = 1
    port_base: int = 8000
    debug: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """One process to keep running: its name, its command, its settings, where it tells of itself.

    Processes of a stage start together once all of the stage before are ready, and stop together
    before the stage before stops. `ports` are all that it listens on.
    """

    name: str
    argv: tuple[str, ...]
    settings: Mapping[str, str]
    stage: int
    metrics_port: int
    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All processes of one `holdfast dev`, and the addresses where the outside meets them."""

    processes: tuple[ProcessSpec, ...]
    gateway: tuple[str, ...]
    bridge: tuple[str, ...]
    store: tuple[str, ...]

    def ready(self, pids: Mapping[str, int]) -> dict[str, object]:
        """Return what the `ready` line says, as JSON values."""
        return {
            "gateway": list(self.gateway),
            "bridge": list(self.bridge),
            "store": list(self.store),
            "metrics": {p.name: f"http://{HOST}:{p.metrics_port}" for p in self.processes},
            "pids": dict(pids),
        }


def plan(options: Options, *, free_ports: Iterator[int]) -> Plan:
    """Lay out the processes; raise UsageError for a choice that cannot work."""
    database_url = options.database_url or _sqlite(options.data / "holdfast.db")
    _refuse_lonely_databases(database_url, stores=options.stores)
    gateway_ports, store_ports = _public_ports(options, free_ports)
    taken = {*itertools.chain(*gateway_ports), *store_ports}
    free_ports = (port for port in free_ports if port not in taken)
    store_urls = tuple(f"grpc://{HOST}:{port}" for port in store_ports)
    client = {"STORE_URL": ",".join(store_urls), "STOP_SECONDS": str(STOP_SECONDS)}
    application = {"DATABASE_URL": _sqlite(options.data / "application.db")}
    store = {
        "DATABASE_URL": database_url,
        "DEBUG": str(int(options.debug)),
        "DRAIN_MS": str(1000 * STOP_SECONDS),
    }

    # By kind of process and in the order of their start: the settings of each, and its ports.
    kinds: dict[str, list[tuple[dict[str, str], dict[str, int]]]] = {
        "store": [(store, {"LISTEN": port}) for port in store_ports],
        "gateway": [
            (client, {"LISTEN": port, "BRIDGE_LISTEN": bridge}) for port, bridge in gateway_ports
        ],
        "worker": [(client, {})] * options.workers,
        "db": [({**client, **application}, {})] * options.db_workers,
    }
    return Plan(
        processes=tuple(
            _process(
                kind if len(processes) == 1 else f"{kind}-{number}",
                kind,
                settings,
                ports={**ports, "METRICS_LISTEN": next(free_ports)},
                common=options.settings,
            )
            for kind, processes in kinds.items()
            for number, (settings, ports) in enumerate(processes, start=1)
        ),
        gateway=tuple(f"http://{HOST}:{port}" for port, _ in gateway_ports),
        bridge=tuple(f"http://{HOST}:{bridge}" for _, bridge in gateway_ports),
        store=store_urls,
    )


def _process(
    name: str,
    kind: str,
    settings: Mapping[str, str],
    *,
    ports: Mapping[str, int],
    common: Mapping[str, str],
) -> ProcessSpec:
    listens = {setting: f"{HOST}:{port}" for setting, port in ports.items()}
    return ProcessSpec(
        name=name,
        argv=(sys.executable, "-m", f"holdfast_{kind}", "serve"),
        settings={
            **common,
            **{f"HOLDFAST_{kind.upper()}_{k}": v for k, v in {**settings, **listens}.items()},
        },
        stage=0 if kind == "store" else 1,
        metrics_port=ports["METRICS_LISTEN"],
        ports=tuple(ports.values()),
    )


def _sqlite(path: Path) -> str:
    return f"sqlite:///{path.absolute()}"


def _refuse_lonely_databases(database_url: str, *, stores: int) -> None:
    scheme = database_url.partition(":")[0]
    if stores > 1 and scheme in {"sqlite", "memory"}:
        kind = "An SQLite database" if scheme == "sqlite" else "A store in memory"
        msg = (
            f"{kind} belongs to one store process, so --stores {stores} needs PostgreSQL:"
            " name a database with --database-url postgresql://USER@HOST/DATABASE."
        )
        raise UsageError(msg)


def _public_ports(
    options: Options, free_ports: Iterator[int]
) -> tuple[list[tuple[int, int]], list[int]]:
    """Return the ports of the gateways, each with that of its bridge, and those of the stores.

    From the base on: the first gateway, its bridge, the stores, further gateways with theirs. So
    each keeps its port when there are more gateways.
    """
    count = 2 * max(options.gateways, 1) + options.stores
    if options.port_base == FREE_PORTS:
        ports = list(itertools.islice(free_ports, count))
    else:
        ports = list(range(options.port_base, options.port_base + count))
    if ports[-1] > PORT_MAX:
        msg = (
            f"--port-base {options.port_base} leaves no room for {count} ports up to {PORT_MAX};"
            " choose a lower one."
        )
        raise UsageError(msg)
    stores = ports[2 : 2 + options.stores]
    others = ports[:2] + ports[2 + options.stores :]
    pairs = list(zip(others[::2], others[1::2], strict=True))
    return pairs[: options.gateways], stores
