"""The applications in their split form: processes around one store, which tests may kill.

The processes are started once for each database and stay until the last test. A test that kills one
hires another; the next test finds what it needs, because whatever is missing is hired before it.
"""

import asyncio
import base64
import json
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from holdfast import PromiseNotFound, Resonate
from holdfast_worker.settings import WorkerSettings
from tests.integration.apps.processes import PORT_0, SECONDS_MAX, Process, Program, get_until
from tests.integration.apps.rehearsal import FOLDER, Cues

LEASE_TTL_MS = "2000"
SECRET = b"s" * 32
MODULES = (*WorkerSettings().modules, "tests.integration.apps.rehearsal")
LISTENS = {"LISTEN": PORT_0, "BRIDGE_LISTEN": PORT_0}


class Stage:
    """The processes of one store. `strict` is a gateway with crashes and signed webhooks."""

    def __init__(self, directory: Path, *, store_database: str, application_database: str) -> None:
        self.directory = directory
        self._application_database = application_database
        self._stack = ExitStack()
        self.journal = directory / "attempts.jsonl"
        self.cues = Cues(directory / "cues")
        self.workers: list[Process] = []
        self.dbs: list[Process] = []
        self.store_url = ""
        self.addresses: list[str] = []
        try:
            self._start(store_database)
        except BaseException:
            self.close()
            raise

    def _start(self, store_database: str) -> None:
        store = self.start("store", LISTEN=PORT_0, DATABASE_URL=store_database)
        listening = asyncio.run(store.logged("store_listening"))
        self.store_url = f"grpc://{listening['address']}"
        secret = "whsec_" + base64.b64encode(SECRET).decode()
        strict = {"ORDERS_SIMULATE_CRASH": "1", "WEBHOOK_SECRETS": secret}
        gateways = [self.gateway(**settings) for settings in ({}, {}, strict)]
        self.hire()
        self.hire_db()
        self.addresses = [asyncio.run(address_of(gateway)) for gateway in gateways]

    def start(self, service: str, /, **settings: str) -> Process:
        process = Process(service, self.directory, **settings)
        self._stack.callback(process.kill)
        return process

    def gateway(self, **settings: str) -> Process:
        return self.start("gateway", STORE_URL=self.store_url, **LISTENS, **settings)

    def hire(self, **settings: str) -> Process:
        """Start a worker."""
        given = {"LEASE_TTL_MS": LEASE_TTL_MS, "MODULES": ",".join(MODULES), **settings}
        self.workers.append(self._rehearsed("worker", **given))
        return self.workers[-1]

    def hire_db(self) -> Process:
        """Start a db worker."""
        given = {"LEASE_TTL_MS": LEASE_TTL_MS, "DATABASE_URL": self._application_database}
        self.dbs.append(self._rehearsed("db", **given))
        return self.dbs[-1]

    def dismiss(self) -> None:
        """Kill all workers."""
        while self.workers:
            self.workers.pop().kill()

    def dismiss_db(self) -> None:
        """Kill all db workers."""
        while self.dbs:
            self.dbs.pop().kill()

    async def prepare(self) -> None:
        """Have one worker and one db worker, who are told nothing by earlier tests."""
        self.cues.clear()
        for staff, hire in ((self.workers, self.hire), (self.dbs, self.hire_db)):
            if not staff:
                hire()
            for process in staff:
                await process.ready()

    def close(self) -> None:
        self._stack.close()

    def _rehearsed(self, service: str, **settings: str) -> Process:
        module = ("tests.integration.apps.rehearsal", service, "serve")
        program = Program(module, {FOLDER: str(self.directory / "cues")})
        common = {"STORE_URL": self.store_url, "ATTEMPTS_FILE": str(self.journal)}
        process = Process(service, self.directory, program, **common, **settings)
        self._stack.callback(process.kill)
        return process


async def address_of(gateway: Process) -> str:
    """Return where a gateway is, once it is ready."""
    await gateway.ready()
    return f"http://{(await gateway.logged('gateway_started'))['address']}"


@dataclass
class Split:
    """What one test works with: clients of the processes, and what these have done."""

    stage: Stage
    http: httpx.AsyncClient
    elsewhere: httpx.AsyncClient
    strict: httpx.AsyncClient
    resonate: Resonate

    @property
    def cues(self) -> Cues:
        return self.stage.cues

    def entries(self, *origins: str) -> list[dict[str, Any]]:
        """The bodies of steps of workflows that were entered, in all processes together."""
        return entries_of(self.stage.journal, *origins)

    def entered(self, *origins: str) -> Counter[str]:
        """How often each step of a workflow was entered."""
        return Counter(entry["step"] for entry in self.entries(*origins))

    async def begun(self, origin: str, step: str, times: int = 1) -> None:
        """Return when a step of a workflow has been entered."""
        await until(lambda: self.entered(origin)[step] >= times)

    async def awaited(self, promise_id: str) -> Any:
        """Return a promise once it exists."""
        async with asyncio.timeout(SECONDS_MAX):
            while True:
                try:
                    return await self.resonate.promises.get(promise_id)
                except PromiseNotFound:
                    await asyncio.sleep(0.02)

    async def ended(self, url: str) -> dict[str, Any]:
        """Return the answer that is neither pending nor processing any more."""
        return await ended(self.http, url)


def entries_of(journal: Path, *origins: str) -> list[dict[str, Any]]:
    """Read the journal; of some workflows only, where they are named."""
    if not journal.exists():
        return []
    *lines, _being_written = journal.read_text().split("\n")
    entries = [json.loads(line) for line in lines]
    return [entry for entry in entries if not origins or entry["origin"] in origins]


async def until(is_met: Callable[[], bool]) -> None:
    """Return when something is so; nothing announces it, so that it is looked for."""
    async with asyncio.timeout(SECONDS_MAX):
        while not is_met():  # noqa: ASYNC110 - other processes make it so
            await asyncio.sleep(0.02)


async def ended(http: httpx.AsyncClient, url: str) -> dict[str, Any]:
    """Return the answer that is neither pending nor processing any more."""
    answer = await get_until(
        http, url, lambda answer: answer.json()["status"] not in {"pending", "processing"}
    )
    body: dict[str, Any] = answer.json()
    return body
