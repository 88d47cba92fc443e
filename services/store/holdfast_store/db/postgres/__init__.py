"""Promises in PostgreSQL: connections, lanes, statements and what another store is told."""
