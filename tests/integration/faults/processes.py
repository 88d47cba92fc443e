"""A store as a process of its own, what it takes of the machine, and a proxy with two valves."""

import asyncio
import contextlib
import json
import os
import sqlite3
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Self

import grpc

READY_S = 60.0
MEBIBYTE = 1_048_576


class Store:
    """A running store."""

    def __init__(self, pid: int, target: str, database: Path) -> None:
        self._pid = pid
        self._database = database
        self.target = target

    @property
    def url(self) -> str:
        """Where the library finds it."""
        return f"grpc://{self.target}"

    def channel(self) -> grpc.aio.Channel:
        """Open a connection of its own: gRPC shares those with the same options otherwise."""
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        return grpc.aio.insecure_channel(self.target, options=options)

    def memory(self, key: str = "VmRSS") -> int:
        """Answer the bytes of memory that it has, or with `VmHWM` the most that it ever had."""
        for line in Path(f"/proc/{self._pid}/status").read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1_024
        raise AssertionError(f"the kernel tells no {key}")

    def descriptors(self) -> int:
        """Count its open files and sockets."""
        return sum(1 for _ in Path(f"/proc/{self._pid}/fd").iterdir())

    @contextlib.contextmanager
    def held_up(self) -> Iterator[None]:
        """Keep it from committing: somebody else writes to its file."""
        with contextlib.closing(sqlite3.connect(self._database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")


@contextlib.asynccontextmanager
async def running(folder: Path, **settings: str) -> AsyncIterator[Store]:
    """Run a store on a SQLite file until the end of the block, and stop it in good order."""
    database = folder / "store.db"
    given = {"database_url": f"sqlite:///{database}", "listen": "127.0.0.1:0"}
    given |= {"metrics_listen": "127.0.0.1:0", "drain_ms": "500"} | settings
    environment = {key: value for key, value in os.environ.items() if "HOLDFAST" not in key}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "holdfast_store", "serve"),
        env=environment | {f"HOLDFAST_STORE_{key.upper()}": v for key, v in given.items()},
        stderr=PIPE,
    )
    assert process.stderr is not None
    target, lines = "", []
    async with asyncio.timeout(READY_S):
        while True:
            lines.append(await process.stderr.readline())
            assert lines[-1], b"".join(lines).decode()
            event = json.loads(lines[-1])
            if event["event"] == "store_listening":
                target = event["address"]
            if event["event"] == "readiness_changed":
                break
    logs = asyncio.create_task(process.stderr.read())
    try:
        yield Store(process.pid, target, database)
        assert process.returncode is None, "the store broke"
        process.terminate()
        async with asyncio.timeout(30):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await logs


class Valves:
    """A TCP proxy that stops forwarding in either direction, and closes nothing."""

    def __init__(self, target: str) -> None:
        self._host, _, self._port = target.rpartition(":")
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self.to_store = asyncio.Event()
        self.to_client = asyncio.Event()
        self.to_store.set()
        self.to_client.set()

    @property
    def target(self) -> str:
        """Where the proxy listens."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"{host}:{port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def cut(self) -> None:
        """Close all connections; what did not come through is lost."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(self._host, int(self._port))
        self._writers |= {writer, inner_writer}
        for source, sink, valve in (
            (reader, inner_writer, self.to_store),
            (inner_reader, writer, self.to_client),
        ):
            pump = asyncio.create_task(self._pump(source, sink, valve))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, valve: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):  # an end is closed, which the finally passes on
            try:
                while data := await source.read(65_536):
                    await valve.wait()
                    sink.write(data)
                    await sink.drain()
            finally:
                sink.close()
                self._writers.discard(sink)
