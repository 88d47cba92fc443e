"""Releases of the store that differ in their migrations, as copies of the package on a path."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import holdfast_store
from holdfast_store.db import revisions

PACKAGE = Path(holdfast_store.__file__).parent
PATIENCE_S = 60.0
NEXT = len(revisions.known_revisions()) + 1
"""The number of the first migration that is not there yet."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str


class Release:
    """A copy of the store's package, which differs from the others by what it migrates."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / name
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PACKAGE, self._path / PACKAGE.name, ignore=ignored)

    def add_migration(self, number: int, text: str) -> None:
        """Add a migration to this release."""
        versions = self._path / PACKAGE.name / "db" / "migrations" / "versions"
        (versions / f"{number:04}_added.py").write_text(text)

    async def start(self, *arguments: str, database: str, **settings: str) -> Process:
        """Start a command of this release."""
        kept = {key: value for key, value in os.environ.items() if "HOLDFAST" not in key}
        given = {f"HOLDFAST_STORE_{key.upper()}": value for key, value in settings.items()}
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "holdfast_store", *arguments),
            env=kept
            | {"HOLDFAST_STORE_DATABASE_URL": database, "PYTHONPATH": str(self._path)}
            | given,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
        )

    async def run(self, *arguments: str, database: str, **settings: str) -> Ended:
        """Run a command of this release to its end."""
        process = await self.start(*arguments, database=database, **settings)
        async with asyncio.timeout(PATIENCE_S):
            out, err = await process.communicate()
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), err.decode())

    @contextlib.asynccontextmanager
    async def serving(self, database: str, **settings: str) -> AsyncIterator[str]:
        """Run a store of this release; answer its address. It is asked to stop at the end."""
        listen = {"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0"}
        process = await self.start("serve", database=database, **listen | settings)
        assert process.stderr is not None
        try:
            address = await _address(process.stderr)
            logs = asyncio.create_task(process.stderr.read())
            yield f"grpc://{address}"
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(PATIENCE_S):
                assert await process.wait() == 0
                await logs
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def _address(log: asyncio.StreamReader) -> str:
    """Read the log until the store is ready."""
    address = ""
    lines: list[str] = []
    async with asyncio.timeout(PATIENCE_S):
        while True:
            line = (await log.readline()).decode()
            assert line, f"the store ended before it was ready:\n{''.join(lines)}"
            lines.append(line)
            event = json.loads(line)
            if event["event"] == "store_listening":
                address = event["address"]
            elif event["event"] == "readiness_changed":
                return address
