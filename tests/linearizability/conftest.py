"""The PostgreSQL server of the integration tests, here as well."""

from tests.integration.conftest import postgres_server

__all__ = ["postgres_server"]
