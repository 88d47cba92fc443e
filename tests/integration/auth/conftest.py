"""Processes that ask for tokens, started as an operator would start them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.apps.processes import PORT_0, Process, Start
from tests.issuing import Issuer, ed25519_issuer


@contextlib.contextmanager
def starting(folder: Path) -> Iterator[Start]:
    """Start services, and end them behind the block."""
    started: list[Process] = []

    def make(service: str, **settings: str) -> Process:
        if service == "store":
            settings = {"LISTEN": PORT_0, "DATABASE_URL": "memory:"} | settings
        process = Process(service, folder, **settings)
        started.append(process)
        return process

    try:
        yield make
    finally:
        for process in started:
            process.kill()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start services for one test."""
    with starting(tmp_path) as start:
        yield start


@pytest.fixture
def issuer() -> Issuer:
    """Make an issuer."""
    return ed25519_issuer()


@pytest.fixture
def keys(tmp_path: Path, issuer: Issuer) -> Path:
    """Write the issuer's key into a file."""
    path = tmp_path / "keys.pem"
    path.write_bytes(issuer.pem)
    return path


def replace(path: Path, data: bytes | str) -> None:
    """Put other content in a file's place, as whoever renews secrets does."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_bytes(data.encode() if isinstance(data, str) else data)
    fresh.replace(path)
