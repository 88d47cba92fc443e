"""What the suite plays to: the rules, the engine over each storage, and a whole store process."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.differential.backends import Core
from tests.differential.bridged import Bridged, bridged
from tests.differential.exploring import Exploration
from tests.differential.pairing import DEFAULT
from tests.integration.conftest import postgres_server  # noqa: F401 - a fixture

SEED = 4_000_000
SEQUENCES = 1_100


@pytest.fixture(scope="session")
def explored() -> Exploration:
    """Explore with the rules alone, which is quick; what was found is played to all others."""
    exploration = Exploration(
        DEFAULT.make_model, [Core(DEFAULT.product)], sequences_max=SEQUENCES, looks_every=5
    )
    exploration.patience = SEQUENCES
    asyncio.run(exploration.run(SEED))
    return exploration


@pytest.fixture(scope="session")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridged]:
    """Run a store with debug on and a gateway in front of it."""
    with bridged(tmp_path_factory.mktemp("bridged")) as backend:
        yield backend
