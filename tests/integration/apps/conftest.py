"""The embedded form: gateway, workflows and db functions on one store, in one process."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.apps.embedded import System
from tests.integration.apps.world import World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def system(tmp_path: Path, world: World) -> AsyncIterator[System]:
    async with System(tmp_path, world) as system:
        yield system
