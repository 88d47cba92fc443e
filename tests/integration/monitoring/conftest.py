"""One system under load and one Prometheus that scrapes it, for all tests that look at series."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from holdfast_cli.ports import free_ports
from tests.integration.monitoring.files import RULES
from tests.integration.monitoring.load import Load
from tests.integration.monitoring.prometheus import (
    PATIENCE_S,
    Eventually,
    Prometheus,
    program,
    scrape_config,
)
from tests.integration.monitoring.system import System


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that scrapes every process once a second, all under load."""
    program("prometheus")  # before anything is started in vain
    folder = tmp_path_factory.mktemp("monitoring")
    with ExitStack() as stack:
        system = System(folder)
        stack.callback(system.stop)
        system.start()
        prometheus = Prometheus(folder, port=next(free_ports()))
        stack.callback(prometheus.stop)
        prometheus.start(scrape_config(system.targets(), RULES))
        load = Load(system)
        load.start()
        stack.callback(load.stop)
        yield prometheus


@pytest.fixture(scope="module")
def eventually(scraped: Prometheus) -> Eventually:
    """Ask until a series fits."""
    return partial(scraped.eventually, until_at=time.monotonic() + PATIENCE_S)
