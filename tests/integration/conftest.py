"""What tests of several folders need: a PostgreSQL server, started when the first one asks."""

import os
from collections.abc import Iterator

import pytest

from tests.integration.postgres import PostgresMissing, Server, find_programs, running_server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """Run one server for all tests. Without PostgreSQL they are skipped; in CI they fail."""
    try:
        find_programs()
    except PostgresMissing as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    with running_server() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: Server) -> str:
    """Take a migrated, empty database, for this test alone."""
    return postgres_server.empty_database()


@pytest.fixture
def bare_postgres_url(postgres_server: Server) -> str:
    """Take a database without tables, for this test alone."""
    return postgres_server.bare_database()
