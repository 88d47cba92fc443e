"""A story for each system, which begins with an empty store."""

from collections.abc import AsyncIterator, Callable

import pytest

from holdfast_store.storages import migrate
from tests.conformance.stories import Story
from tests.conformance.systems import NAMES, opened
from tests.differential.opening import hurried
from tests.integration.bridge.conftest import debugged  # noqa: F401 - a fixture
from tests.integration.conftest import postgres_server  # noqa: F401 - a fixture


@pytest.fixture(scope="session")
def sqlite_place(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('conformance') / 'holdfast.db'}"
    migrate(url)
    return url


@pytest.fixture(scope="session")
def postgresql_place(request: pytest.FixtureRequest) -> str:
    return hurried(request.getfixturevalue("postgres_server").empty_database())


@pytest.fixture(params=NAMES)
def system_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(system_name: str, request: pytest.FixtureRequest) -> Callable[[], str]:
    """Find where a system's database is, or its bridge. What it needs is started here, once."""
    match system_name:
        case "sqlite" | "postgresql":
            found = request.getfixturevalue(f"{system_name}_place")
        case "bridge":
            found = request.getfixturevalue("debugged").url
        case _:
            found = "memory:"
    return lambda: str(found)


@pytest.fixture
async def story(system_name: str, place: Callable[[], str]) -> AsyncIterator[Story]:
    async with opened(system_name, place) as system:
        story = Story(system)
        await story.begin()
        yield story
