"""Stores in debug mode, on each kind of storage, behind real gRPC in this process."""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast.core.profile import DEFAULT_PROFILE, Profile
from holdfast_chassis.listen import Address
from holdfast_store import storages
from holdfast_store.debugging import Debug
from holdfast_store.engine import Engine, EngineSettings
from holdfast_store.metrics import Metrics
from holdfast_store.rpc.server import RpcServer, ServerLimits
from holdfast_store.rpc.stream import StreamLimits
from holdfast_store.storage import Storage

LOOPBACK = Address("127.0.0.1", 0)
KINDS = ("memory", "sqlite", "postgres")


@dataclass
class DebugStore:
    """A running store."""

    engine: Engine
    debug: Debug
    server: RpcServer
    storage: Storage

    @property
    def url(self) -> str:
        return f"grpc://{self.server.address}"


@contextlib.asynccontextmanager
async def serving(
    url: str,
    *,
    profile: Profile = DEFAULT_PROFILE,
    settings: EngineSettings | None = None,
    debug: bool = True,
) -> AsyncIterator[DebugStore]:
    """Run a store on a database, as `holdfast-store serve` puts it together.

    Without `debug` clients cannot use it; the test still can.
    """
    storages.migrate(url)
    storage = storages.open_storage(url)
    await storage.open()
    metrics = Metrics()
    clock = getattr(storage, "clock", None)
    engine = Engine(storage, clock=clock, profile=profile, settings=settings, observer=metrics)
    mode = Debug(engine, storage, snapshot=storages.snapshots_of(url, storage))
    server = RpcServer(
        engine,
        store_version="9.9.9",
        limits=ServerLimits(value_bytes_max=profile.value_bytes_max, stream=StreamLimits()),
        stopwatch=metrics,
        debug=mode if debug else None,
    )
    await engine.start()
    await server.start(LOOPBACK)
    await server.set_ready(True)
    try:
        yield DebugStore(engine, mode, server, storage)
    finally:
        await server.stop(grace_s=0)
        await engine.stop(grace_s=1)
        await storage.close()


@pytest.fixture
def url_of(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Find a new database of a kind."""

    def url(kind: str) -> str:
        if kind == "postgres":
            return str(request.getfixturevalue("postgres_url"))
        return "memory:" if kind == "memory" else f"sqlite:///{tmp_path / 'store.db'}"

    return url


@pytest.fixture(params=KINDS)
async def store(
    request: pytest.FixtureRequest, url_of: Callable[[str], str]
) -> AsyncIterator[DebugStore]:
    """Run a store on each kind of storage."""
    async with serving(url_of(request.param)) as store:
        yield store
