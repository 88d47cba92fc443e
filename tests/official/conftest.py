"""A system as `holdfast dev` starts it, and users of each client."""

import itertools
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.postgres import PostgresMissing, Server, find_programs, running_server
from tests.official.programs import CLIENTS, Missing, User
from tests.official.replicas import Replicas
from tests.official.system import System, running

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Run one system for all users: each has a group of its own."""
    with running(tmp_path_factory.mktemp("official")) as system:
        yield system


@pytest.fixture
def own(tmp_path: Path) -> Iterator[System]:
    """Run a system for a test that breaks it."""
    with running(tmp_path) as system:
        yield system


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """Run PostgreSQL. Where it is not here, the test is skipped; in CI it fails."""
    try:
        find_programs()
    except PostgresMissing as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))
    with running_server() as server:
        yield server


@pytest.fixture
def replicas(postgres: Server, tmp_path: Path) -> Iterator[Replicas]:
    """Run three stores on a database of their own, and two gateways."""
    url = postgres.create_database()
    more = ("--database-url", url, "--stores", "3", "--gateways", "2")
    # A task that was offered to somebody who died with the offer is offered again after this; by
    # default a test would wait for half a minute.
    with running(tmp_path, *more, HOLDFAST_STORE_RETRY_INTERVAL_MS="2000") as system:
        yield Replicas(system, url, tmp_path / "log")


@pytest.fixture(params=sorted(CLIENTS))
def command(request: pytest.FixtureRequest) -> list[str]:
    """Have a client. Where it is not here, the test is skipped; in CI it fails."""
    try:
        return CLIENTS[request.param]()
    except Missing as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))


@pytest.fixture
def user(command: list[str], shared: System, tmp_path: Path) -> Iterator[User]:
    with closing(_user(command, shared, tmp_path)) as user:
        yield user


@pytest.fixture
def lone_user(command: list[str], own: System, tmp_path: Path) -> Iterator[User]:
    """Be the only user of a system."""
    with closing(_user(command, own, tmp_path)) as user:
        yield user


def _user(command: list[str], system: System, folder: Path) -> User:
    return User(command, system.bridge, f"group-{next(_numbers)}", folder / "log")
