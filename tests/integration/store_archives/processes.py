"""`holdfast-store` as processes: its commands, and a store that serves."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from tests.integration.store_archives.files import url_of

PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def says(self) -> str:
        """Its only sentence."""
        [line] = self.err.splitlines()
        return line


async def start(
    *arguments: str, database: str, standard_input: int = DEVNULL, **settings: str
) -> Process:
    """Start a command on a database."""
    kept = {key: value for key, value in os.environ.items() if "HOLDFAST" not in key}
    given = {f"HOLDFAST_STORE_{key.upper()}": value for key, value in settings.items()}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "holdfast_store", *arguments),
        env=kept | {"HOLDFAST_STORE_DATABASE_URL": database} | given,
        stdin=standard_input,
        stdout=PIPE,
        stderr=PIPE,
    )


async def run(*arguments: str, database: str | Path, text: bytes = b"", **settings: str) -> Ended:
    """Run a command to its end."""
    url = url_of(database) if isinstance(database, Path) else database
    process = await start(*arguments, database=url, standard_input=PIPE, **settings)
    async with asyncio.timeout(PATIENCE_S):
        out, err = await process.communicate(text)
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())


async def until(condition: Callable[[], bool]) -> None:
    """Return when another process has brought something about."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - nobody can set an event here
            await asyncio.sleep(0.005)


def serving(database: Path) -> contextlib.AbstractAsyncContextManager[str]:
    """Run a store on a file; answer its address. It is asked to stop at the end."""
    return serving_at(url_of(database))


@dataclass(frozen=True, slots=True)
class Serving:
    """A store process that is ready."""

    process: Process
    url: str

    async def kill(self) -> None:
        """End it on the spot."""
        self.process.kill()
        await self.process.wait()


@contextlib.asynccontextmanager
async def serving_at(url: str, **settings: str) -> AsyncIterator[str]:
    """Run a store on any database; answer its address. It is asked to stop at the end."""
    async with started_at(url, **settings) as store:
        yield store.url
        store.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            assert await store.process.wait() == 0


@contextlib.asynccontextmanager
async def started_at(url: str, **settings: str) -> AsyncIterator[Serving]:
    """Run a store that may be killed."""
    listen = {"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0"}
    process = await start("serve", database=url, standard_input=DEVNULL, **listen | settings)
    assert process.stderr is not None
    logs: asyncio.Task[bytes] | None = None
    try:
        async with asyncio.timeout(PATIENCE_S):
            address = ""
            while True:
                line = await process.stderr.readline()
                assert line, "the store ended before it was ready"
                event = json.loads(line)
                if event["event"] == "store_listening":
                    address = event["address"]
                elif event["event"] == "readiness_changed":
                    break
        logs = asyncio.create_task(process.stderr.read())
        yield Serving(process, f"grpc://{address}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        if logs is not None:
            await logs
