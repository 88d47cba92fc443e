"""A store that starts waits for a server that is away, and for nothing that waiting cannot mend."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from holdfast.v1 import promises_pb2, promises_pb2_grpc, workers_pb2, workers_pb2_grpc
from holdfast_cli.ports import free_ports
from tests.integration.kill.processes import HOST, until
from tests.integration.postgres import Server
from tests.integration.replicas.stores import Store

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Starting(Store):
    """A store whose database is not there yet."""

    def __init__(self, folder: Path, database_url: str) -> None:
        ports = list(next_ports(2))
        self.metrics = f"http://{HOST}:{ports[1]}"
        super().__init__("store", folder, database_url, iter(ports))

    def page(self, path: str) -> tuple[int, str]:
        """Ask as a probe does; answer the status and the body."""
        try:
            with urllib.request.urlopen(self.metrics + path, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def events(self, name: str) -> list[dict[str, object]]:
        """Find what it logged by an event's name."""
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [found for line in lines if (found := json.loads(line))["event"] == name]

    def ended(self) -> int:
        """Answer with which code it ended."""
        until(lambda: not self.is_alive, "the store ends")
        assert self.exit_code is not None
        return self.exit_code


def next_ports(count: int) -> Iterator[int]:
    ports = free_ports()
    return (next(ports) for _ in range(count))


@pytest.fixture
def store(tmp_path: Path, own_server: Server) -> Iterator[Starting]:
    """Start a store while its server is down."""
    store = Starting(tmp_path, own_server.create_database())
    own_server.stop()
    try:
        store.start()
        until(lambda: store.log.exists() and store.events("store_listening"), "it listens")
        yield store
    finally:
        store.kill()
        if not own_server.is_running:
            own_server.start()


def health(channel: grpc.Channel, service: str) -> object:
    stub: Any = health_pb2_grpc.HealthStub(channel)  # it has no types
    return stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status


def test_a_store_lives_without_its_database_and_serves_when_that_comes(
    store: Starting, own_server: Server
) -> None:
    status, why = store.page("/ready")
    assert status == 503
    assert "waits for its database: PostgreSQL at" in why
    assert store.page("/health")[0] == 200
    assert store.page("/metrics")[0] == 200
    with grpc.insecure_channel(store.target) as channel:
        assert health(channel, "liveness") == SERVING
        assert health(channel, "readiness") == NOT_SERVING

        create = promises_pb2.PromisesCreateRequest(id="p", timeout_at_ms=2**50)
        promises = promises_pb2_grpc.PromisesStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            promises.Create(create, timeout=10)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE

        # A connection must not have an age by another clock than the database's.
        hello = workers_pb2.Hello(pid="p", instance_id="1", groups=["g"])
        connect = workers_pb2_grpc.WorkersStub(channel).Connect
        with pytest.raises(grpc.RpcError) as refused:
            list(connect(iter([workers_pb2.ConnectRequest(hello=hello)]), timeout=10))
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "waits for its database" in str(refused.value)

        own_server.start()
        store.wait_ready()

        assert promises.Create(create, timeout=10).promise.id == "p"
        assert health(channel, "readiness") == SERVING
        stream = connect(iter([workers_pb2.ConnectRequest(hello=hello)]), timeout=10)
        assert next(stream).HasField("welcome")

    assert store.events("database_awaited")
    assert len(store.events("database_found")) == 1
    store.stop()


def test_a_store_that_waits_for_its_database_stops_at_once_when_asked(store: Starting) -> None:
    store.stop()

    assert "Traceback" not in store.log.read_text()
    assert "Error" not in "".join(
        line for line in store.log.read_text().splitlines() if not line.startswith("{")
    )


def test_a_store_says_seldom_that_it_waits(tmp_path: Path) -> None:
    port = next(next_ports(1))
    store = Starting(tmp_path, f"postgresql://someone:secret@{HOST}:{port}/d")
    store.start()
    try:
        until(lambda: store.log.exists() and len(store.events("database_awaited")) > 1, "twice")
        first, second = store.events("database_awaited")[:2]
    finally:
        store.kill()

    assert first["level"] == "warning"
    assert f"PostgreSQL at {HOST}:{port}/d" in str(first["reason"])
    assert "secret" not in store.log.read_text()
    seconds = [float(str(each["ts"])[17:23]) for each in (first, second)]
    assert (seconds[1] - seconds[0]) % 60 >= 5


@pytest.fixture(scope="module")
def asking_server(own_server: Server) -> Server:
    """Have the server ask one role for its password."""
    with psycopg.connect(own_server.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE ROLE asked LOGIN PASSWORD 'right'")
        found = connection.execute("SHOW hba_file").fetchone()
        assert found is not None
        rules = Path(str(found[0]))
        rules.write_text("local all asked scram-sha-256\n" + rules.read_text())
        connection.execute("SELECT pg_reload_conf()")
    return own_server


@pytest.mark.parametrize(
    ("role", "database", "words"),
    [
        ("asked:wrong", "postgres", "password authentication failed"),
        ("asked:right", "postgres", "run `holdfast-store migrate`"),
        ("nobody_we_know", "postgres", "does not exist"),
        ("holdfast", "no_such_database", "does not exist"),
    ],
)
def test_a_store_that_no_waiting_helps_ends_with_one_sentence(
    tmp_path: Path, asking_server: Server, role: str, database: str, words: str
) -> None:
    store = Starting(tmp_path, f"postgresql://{role}@/{database}?host={asking_server.folder}")
    store.start()
    try:
        code = store.ended()
    finally:
        store.kill()

    (said,) = store.events("start_failed")
    assert code == 2
    assert words in str(said["reason"])
    said_otherwise = [x for x in store.log.read_text().splitlines() if not x.startswith("{")]
    assert not said_otherwise
