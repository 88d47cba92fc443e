"""Stores and clients for tests of the library."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from holdfast import DurablePromise, PromiseNotFound, Resonate
from holdfast.core.membership import Member
from holdfast.core.requests import Refusal, Request
from holdfast.core.search import (
    PromisePage,
    PromiseSearch,
    SchedulePage,
    ScheduleSearch,
    TaskPage,
    TaskSearch,
)
from holdfast.embedded import open_embedded
from holdfast.port import Answer, Receiver, Store
from holdfast.rpc import RemoteStore

START_SECONDS_MAX = 30.0


class RecordingStore:
    """A real store that remembers the chains that went to it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.chains: list[Sequence[Request]] = []
        self.receiver: Receiver | None = None
        self._grown = asyncio.Event()

    @property
    def requests(self) -> list[Request]:
        return [request for chain in self.chains for request in chain]

    def kinds(self) -> list[list[str]]:
        """Name the operations of each chain; of a fence the inner one."""
        return [
            [
                type(getattr(r, "action", r) if "Fence" in type(r).__name__ else r).__name__
                for r in c
            ]
            for c in self.chains
        ]

    async def until(self, kind: type, count: int = 1) -> list[Any]:
        """Return the requests of a kind once there are that many."""
        while len(found := [r for r in self.requests if isinstance(r, kind)]) < count:
            self._grown.clear()
            await self._grown.wait()
        return found

    async def until_kinds(self, kinds: list[list[str]]) -> None:
        """Return once chains of these operations have gone out."""
        while any(chain not in self.kinds() for chain in kinds):
            self._grown.clear()
            await self._grown.wait()

    async def start(self, member: Member, receiver: Receiver) -> None:
        self.receiver = receiver
        self.member = member
        await self._store.start(member, receiver)

    def submit(
        self, chain: Sequence[Request], *, credits: int = 0, timeout: float | None = None
    ) -> "asyncio.Future[Answer]":
        self.chains.append(chain)
        self._grown.set()
        return self._store.submit(chain, credits=credits, timeout=timeout)

    async def search_promises(self, search: PromiseSearch) -> PromisePage | Refusal:
        return await self._store.search_promises(search)

    async def search_tasks(self, search: TaskSearch) -> TaskPage | Refusal:
        return await self._store.search_tasks(search)

    async def search_schedules(self, search: ScheduleSearch) -> SchedulePage | Refusal:
        return await self._store.search_schedules(search)

    def give_back(self, credits: int) -> None:
        self._store.give_back(credits)

    def drain(self) -> None:
        self._store.drain()

    async def close(self) -> None:
        await self._store.close()


def each(commands: Iterable[Any]) -> Generator[Any, Any, list[Any]]:
    """Yield commands or futures one after the other; answer what came back."""
    answers = []
    for command in commands:
        answer = yield command
        answers.append(answer)
    return answers


def held(client: Resonate) -> int:
    """Count the tasks that a client's process holds."""
    worker = client._worker
    return 0 if worker is None else worker.held


def waiting_for_a_thread(client: Resonate) -> int:
    """Count the bodies of a client's process that no thread has begun yet."""
    worker = client._worker
    return 0 if worker is None else worker.threads._jobs.qsize()


async def until(condition: Callable[[], bool]) -> None:
    """Return when something that nobody signals has come about."""
    while not condition():  # noqa: ASYNC110 - nobody sets an event when it comes about
        await asyncio.sleep(0.01)


@dataclass
class World:
    """One store; `group` is new for each test, so that tests share a store process."""

    kind: str
    url: str | None
    file: Path
    replays: bool
    group: str = field(default_factory=lambda: f"group-{uuid4().hex[:8]}")
    clients: list[Resonate] = field(default_factory=list)

    @property
    def is_remote(self) -> bool:
        return self.kind == "remote"

    def new_id(self, name: str = "run") -> str:
        """An id that no other test uses."""
        return f"{name}/{uuid4().hex[:12]}"

    def client(self, **options: Any) -> Resonate:
        """A client of the store; of an embedded one there can be only one at a time."""
        if self.replays:
            options.setdefault("parked_max", 0)
        client = Resonate(**{**self._named(), "group": self.group, "env": {}, **options})
        self.clients.append(client)
        return client

    def recording(self, **options: Any) -> tuple[Resonate, RecordingStore]:
        """A client whose chains are remembered; a slow machine makes no step slow."""
        options.setdefault("slow_step_ms", 60_000)
        if self.url is not None:
            store = RecordingStore(RemoteStore(self.url))
        else:
            store = RecordingStore(open_embedded(self._named()["embedded"]))
        return self.client(url=None, embedded=None, store=store, **options), store

    async def existing(self, client: Resonate, promise_id: str) -> DurablePromise:
        """Read a promise as soon as somebody has made it."""
        while True:
            try:
                return await client.promises.get(promise_id)
            except PromiseNotFound:
                await asyncio.sleep(0.005)

    def _named(self) -> dict[str, Any]:
        if self.url is not None:
            return {"url": self.url}
        return {"embedded": ":memory:" if self.kind == "memory" else str(self.file)}

    async def close(self) -> None:
        for client in self.clients:
            await client.stop(grace=1)


@dataclass
class StoreProcess:
    """`holdfast-store serve` with a store in memory; its log goes to a file."""

    url: str

    @classmethod
    @contextmanager
    def running(cls, folder: Path) -> Iterator["StoreProcess"]:
        log = folder / "store.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [sys.executable, "-m", "holdfast_store", "serve"],
                env={
                    **os.environ,
                    "HOLDFAST_STORE_DATABASE_URL": "memory:",
                    "HOLDFAST_STORE_LISTEN": "127.0.0.1:0",
                    "HOLDFAST_STORE_METRICS_LISTEN": "127.0.0.1:0",
                },
                cwd=folder,
                stderr=output,
            )
        try:
            yield cls(f"grpc://{_address_in(log, popen)}")
        finally:
            popen.terminate()
            popen.wait(timeout=START_SECONDS_MAX)


def _address_in(log: Path, popen: "subprocess.Popen[bytes]") -> str:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        for line in log.read_text().splitlines():
            if '"store_listening"' in line:
                return str(json.loads(line)["address"])
        assert popen.poll() is None, f"the store ended: {log.read_text()}"
        time.sleep(0.02)
    raise AssertionError(f"the store did not listen in time: {log.read_text()}")
