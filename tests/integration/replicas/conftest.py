"""Three stores for the tests of a module; each test finds them alive."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.postgres import Server
from tests.integration.replicas.stores import Stores


@pytest.fixture(scope="module")
def processes(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: Server
) -> Iterator[Stores]:
    """Run stores on a database of their own."""
    folder: Path = tmp_path_factory.mktemp("stores")
    stores = Stores(folder, postgres_server.create_database())
    yield stores
    stores.close()


@pytest.fixture
def stores(processes: Stores) -> Stores:
    """Have all of them alive, and in touch."""
    processes.heal()
    return processes
