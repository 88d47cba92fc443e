"""Which processes `holdfast dev` starts, and with what."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast_cli.errors import UsageError
from holdfast_cli.plan import Options, Plan, plan


@pytest.fixture
def free_ports() -> Iterator[int]:
    return itertools.count(20_000)


def settings_of(the_plan: Plan, name: str) -> dict[str, str]:
    return dict(next(process.settings for process in the_plan.processes if process.name == name))


def test_the_default_is_one_process_of_each_kind_and_the_store_first(
    free_ports: Iterator[int],
) -> None:
    the_plan = plan(Options(), free_ports=free_ports)

    stages = [(process.name, process.stage) for process in the_plan.processes]
    assert stages == [("store", 0), ("gateway", 1), ("worker", 1), ("db", 1)]


def test_several_processes_of_a_kind_are_numbered(free_ports: Iterator[int]) -> None:
    the_plan = plan(Options(workers=2), free_ports=free_ports)

    names = [process.name for process in the_plan.processes]
    assert names == ["store", "gateway", "worker-1", "worker-2", "db"]


def test_public_ports_follow_the_base(free_ports: Iterator[int]) -> None:
    the_plan = plan(Options(port_base=8000), free_ports=free_ports)

    assert the_plan.gateway == ("http://127.0.0.1:8000",)
    assert the_plan.bridge == ("http://127.0.0.1:8001",)
    assert the_plan.store == ("grpc://127.0.0.1:8002",)


def test_more_gateways_move_nobody_else(free_ports: Iterator[int]) -> None:
    url = "postgresql://localhost/holdfast"
    options = Options(port_base=8000, gateways=3, stores=2, database_url=url)

    the_plan = plan(options, free_ports=free_ports)

    assert [address[-4:] for address in the_plan.store] == ["8002", "8003"]
    assert [address[-4:] for address in the_plan.gateway] == ["8000", "8004", "8006"]
    assert [address[-4:] for address in the_plan.bridge] == ["8001", "8005", "8007"]


def test_no_gateway_leaves_the_store_where_it_is(free_ports: Iterator[int]) -> None:
    the_plan = plan(Options(gateways=0), free_ports=free_ports)

    assert the_plan.gateway == ()
    assert the_plan.store == ("grpc://127.0.0.1:8002",)


def test_base_0_takes_free_ports_for_all(free_ports: Iterator[int]) -> None:
    the_plan = plan(Options(port_base=0), free_ports=free_ports)

    ports = [port for process in the_plan.processes for port in process.ports]
    assert sorted(ports) == list(range(20_000, 20_007))


def test_metrics_ports_keep_clear_of_the_public_ones(free_ports: Iterator[int]) -> None:
    the_plan = plan(Options(port_base=20_000), free_ports=free_ports)

    ports = [port for process in the_plan.processes for port in process.ports]
    assert len(set(ports)) == len(ports)


def test_clients_know_every_store(free_ports: Iterator[int]) -> None:
    options = Options(stores=2, database_url="postgresql://localhost/holdfast")

    the_plan = plan(options, free_ports=free_ports)

    stores = "grpc://127.0.0.1:8002,grpc://127.0.0.1:8003"
    for service in ("gateway", "worker", "db"):
        variable = f"HOLDFAST_{service.upper()}_STORE_URL"
        assert settings_of(the_plan, service)[variable] == stores


def test_databases_are_in_the_data_directory(free_ports: Iterator[int]) -> None:
    the_plan = plan(Options(data=Path("/data")), free_ports=free_ports)

    store = settings_of(the_plan, "store")["HOLDFAST_STORE_DATABASE_URL"]
    application = settings_of(the_plan, "db")["HOLDFAST_DB_DATABASE_URL"]
    assert store == "sqlite:////data/holdfast.db"
    assert application == "sqlite:////data/application.db"


def test_debug_is_for_the_store_alone(free_ports: Iterator[int]) -> None:
    the_plan = plan(Options(debug=True), free_ports=free_ports)

    assert settings_of(the_plan, "store")["HOLDFAST_STORE_DEBUG"] == "1"
    assert "HOLDFAST_GATEWAY_DEBUG" not in settings_of(the_plan, "gateway")


@pytest.mark.parametrize("url", [None, "sqlite:///other.db", "memory:"])
def test_several_stores_need_a_database_server(url: str | None, free_ports: Iterator[int]) -> None:
    with pytest.raises(UsageError, match="needs PostgreSQL: name a database with --database-url"):
        plan(Options(stores=2, database_url=url), free_ports=free_ports)


def test_a_base_without_room_above_it_is_refused(free_ports: Iterator[int]) -> None:
    with pytest.raises(UsageError, match="--port-base 65534 leaves no room for 3 ports"):
        plan(Options(port_base=65_534), free_ports=free_ports)


def test_the_ready_line_names_addresses_and_processes(free_ports: Iterator[int]) -> None:
    the_plan = plan(Options(), free_ports=free_ports)

    ready = the_plan.ready({"store": 11, "gateway": 12, "worker": 13, "db": 14})

    assert ready == {
        "gateway": ["http://127.0.0.1:8000"],
        "bridge": ["http://127.0.0.1:8001"],
        "store": ["grpc://127.0.0.1:8002"],
        "metrics": {
            "store": "http://127.0.0.1:20000",
            "gateway": "http://127.0.0.1:20001",
            "worker": "http://127.0.0.1:20002",
            "db": "http://127.0.0.1:20003",
        },
        "pids": {"store": 11, "gateway": 12, "worker": 13, "db": 14},
    }
