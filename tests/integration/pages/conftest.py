"""The pages in a real browser, on the applications in one process with a real web server.

The browser is started once for each module, so that everything here lives on the module's loop.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from holdfast_chassis.listen import Address
from holdfast_gateway.serving import serving
from tests.integration.apps.embedded import System
from tests.integration.apps.world import World
from tests.integration.pages.browsing import (
    BrowserMissing,
    Visit,
    find_chromium,
    running_browser,
    visiting,
)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Find the browser. Without one these tests are skipped; in CI they fail."""
    try:
        return find_chromium()
    except BrowserMissing as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with running_browser(chromium) as browser:
        yield browser


@pytest.fixture
def world() -> World:
    return World()


@pytest_asyncio.fixture(loop_scope="module")
async def system(tmp_path: Path, world: World) -> AsyncIterator[System]:
    async with System(tmp_path, world) as system:
        yield system


@pytest_asyncio.fixture(loop_scope="module")
async def visit(system: System, browser: Browser) -> AsyncIterator[Visit]:
    """Open a page; it must load nothing from elsewhere and meet no error of a script."""
    async with (
        serving(system.app, Address("127.0.0.1", 0), stop_seconds=1) as address,
        visiting(browser, f"http://{address}") as visit,
    ):
        yield visit
    assert visit.foreign == []
    assert visit.complaints == []
