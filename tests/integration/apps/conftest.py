"""The embedded form: gateway, workflows and db functions on one store, in one process."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.apps.embedded import System
from tests.integration.apps.processes import PORT_0, Process, Start
from tests.integration.apps.world import World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def system(tmp_path: Path, world: World) -> AsyncIterator[System]:
    async with System(tmp_path, world) as system:
        yield system


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def start(service: str, **settings: str) -> Process:
            process = Process(service, tmp_path, **settings)
            stack.callback(process.popen.wait)
            stack.callback(process.popen.kill)
            return process

        yield start


@pytest.fixture
async def store_url(start: Start, tmp_path: Path) -> str:
    store = start("store", LISTEN=PORT_0, DATABASE_URL=f"sqlite:///{tmp_path}/store.db")
    await store.ready()
    return f"grpc://{(await store.logged('store_listening'))['address']}"
