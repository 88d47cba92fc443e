"""The library on every store it can have: the same tests run on each."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.integration.library.world import StoreProcess, World


@pytest.fixture(scope="session")
def store_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    """One store behind gRPC, in a process of its own."""
    with StoreProcess.running(tmp_path_factory.mktemp("store")) as process:
        yield process


@pytest.fixture(params=["memory", "memory_replaying", "sqlite", "remote", "remote_replaying"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """A store, and clients of it that are stopped at the end.

    The replaying ones keep no suspended workflow in memory, so that each wake-up replays.
    """
    kind, _, replaying = request.param.partition("_")
    url = request.getfixturevalue("store_process").url if kind == "remote" else None
    world = World(kind=kind, url=url, file=tmp_path / "store.db", replays=bool(replaying))
    yield world
    await world.close()


@pytest.fixture
async def durable(tmp_path: Path) -> AsyncIterator[World]:
    """A store in a file, for tests of what a restart finds."""
    world = World(kind="sqlite", url=None, file=tmp_path / "store.db", replays=False)
    yield world
    await world.close()


@pytest.fixture
async def remote(store_process: StoreProcess, tmp_path: Path) -> AsyncIterator[World]:
    """A store behind gRPC, for tests with several processes."""
    world = World(kind="remote", url=store_process.url, file=tmp_path / "unused", replays=False)
    yield world
    await world.close()
