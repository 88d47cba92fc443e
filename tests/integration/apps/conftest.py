"""The embedded form, which is one process, and the split form: what tests of both need."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import httpx
import pytest

from holdfast import Resonate
from tests.integration.apps.embedded import System
from tests.integration.apps.processes import PORT_0, SECONDS_MAX, Process, Program, Start
from tests.integration.apps.split import Split, Stage
from tests.integration.apps.world import World
from tests.integration.postgres import Server, running_server


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

        def start(service: str, program: Program | None = None, /, **settings: str) -> Process:
            process = Process(service, tmp_path, program, **settings)
            stack.callback(process.popen.wait)
            stack.callback(process.popen.kill)
            return process

        yield start


@pytest.fixture
async def store_url(start: Start, tmp_path: Path) -> str:
    store = start("store", LISTEN=PORT_0, DATABASE_URL=f"sqlite:///{tmp_path}/store.db")
    await store.ready()
    return f"grpc://{(await store.logged('store_listening'))['address']}"


@pytest.fixture(scope="session")
def lasting_postgres(postgres_server: Server) -> Iterator[Server]:
    """Run a server for processes that stay: other tests crash theirs, and empty its databases."""
    del postgres_server  # which decides what it means that there is no PostgreSQL
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def stages(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Stage]]:
    """Start the processes of a database when the first test asks, whatever the order of tests."""
    started: dict[str, Stage] = {}

    def stage_of(database: str) -> Stage:
        if database not in started:
            directory = tmp_path_factory.mktemp("split")
            store, application = (f"sqlite:///{directory}/{name}.db" for name in ("store", "app"))
            if database == "postgres":
                server = request.getfixturevalue("lasting_postgres")
                store, application = (
                    server.create_database(),
                    server.create_database(template="template1"),
                )
            started[database] = Stage(
                directory, store_database=store, application_database=application
            )
        return started[database]

    yield stage_of
    for stage in started.values():
        stage.close()


@pytest.fixture(params=["sqlite", "postgres"])
def stage(request: pytest.FixtureRequest, stages: Callable[[str], Stage]) -> Stage:
    return stages(request.param)


@pytest.fixture
async def split(stage: Stage) -> AsyncIterator[Split]:
    """The split form, on each database."""
    await stage.prepare()
    async with AsyncExitStack() as stack:
        http, elsewhere, strict = [
            await stack.enter_async_context(
                httpx.AsyncClient(base_url=address, timeout=SECONDS_MAX)
            )
            for address in stage.addresses
        ]
        resonate = await stack.enter_async_context(Resonate(stage.store_url, env={}))
        yield Split(stage, http, elsewhere, strict, resonate)
    stage.cues.clear()
