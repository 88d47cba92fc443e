"""Systems that tests share: by the wall's clock, and by that of their clients."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.integration.bridge.system import Client, System, running


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Run a store and two gateways as anybody would."""
    with running(
        tmp_path_factory.mktemp("live"),
        gateways=2,
        gateway={"BRIDGE_POLL_KEEP_ALIVE_SECONDS": "0.2"},
    ) as system:
        yield system


@pytest.fixture(scope="session")
def debugged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Run a store with debug on."""
    with running(tmp_path_factory.mktemp("debugged"), store={"DEBUG": "1"}) as system:
        yield system


@pytest.fixture
def client(system: System) -> Iterator[Client]:
    with closing(Client(system.url)) as client:
        yield client


@pytest.fixture
def timed(debugged: System) -> Iterator[Client]:
    """Speak to the store with debug on, which holds nothing."""
    with closing(Client(debugged.url)) as client:
        assert client("debug.reset", {}).status == 200
        yield client
