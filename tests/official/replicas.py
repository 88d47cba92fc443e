"""Three stores of one database with two gateways, which are killed while clients work."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from holdfast_cli import probe
from tests.official.programs import User
from tests.official.system import System

SECONDS_MAX = 60
LOOK_EVERY_S = 0.05  # at other processes, which tell nobody here
PAUSE_S = (0.8, 1.8)
"""Between one kill and the next, once enough lives for the next."""

SLACK_MS = 3_000
"""How long after a kill somebody may still find out, on a busy machine."""


@dataclass(frozen=True, slots=True)
class Kill:
    """Who was killed, and when by the wall's clock."""

    kind: str
    name: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A line that a step wrote: that it ran, and when."""

    step: tuple[str, int]
    at_ms: int


@dataclass
class Replicas:
    """The processes, their database, and the log of all workflows."""

    system: System
    database_url: str
    log: Path
    kills: list[Kill] = field(default_factory=list)
    _dead: set[int] = field(default_factory=set)

    async def kill_stores(self, count: int) -> None:
        """Kill one after the other, at random, for as long as another one serves meanwhile."""
        for _ in range(count):
            await self.kill("store", spare=1)
            # The pace of the kills: nothing is waited for.
            await asyncio.sleep(random.uniform(*PAUSE_S))

    async def kill(self, kind: str, *, spare: int) -> None:
        """Kill one process of a kind once it and so many others are ready; it is started again."""
        async with asyncio.timeout(SECONDS_MAX):
            while len(ready := await self._ready(kind)) <= spare:  # noqa: ASYNC110
                await asyncio.sleep(LOOK_EVERY_S)
        name, pid = random.choice(ready)
        os.kill(pid, signal.SIGKILL)
        self._dead.add(pid)
        self.killed(kind, name)

    async def healed(self) -> None:
        """Return when everything that was killed is ready again."""
        async with asyncio.timeout(SECONDS_MAX):
            for kind in ("store", "gateway"):
                count = len(self.system.ready[kind])
                while len(await self._ready(kind)) < count:  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_EVERY_S)

    async def _ready(self, kind: str) -> list[tuple[str, int]]:
        """List the processes of a kind that say so; the file may still name dead ones."""
        found = []
        for name, pid in self.system.pids.items():
            if name.partition("-")[0] == kind and pid not in self._dead:
                port = int(self.system.ready["metrics"][name].rpartition(":")[2])
                if await probe.not_ready(port) is None:
                    found.append((name, pid))
        return found

    def killed(self, kind: str, name: str) -> None:
        """Note that somebody was killed."""
        self.kills.append(Kill(kind, name, int(time.time() * 1000)))

    async def ask(self, kind: str, data: dict[str, Any]) -> Any:
        """Ask beside the clients, at whichever bridge answers, until it is well."""
        head = {"corrId": "1", "version": "2026-04-01"}
        request = {"kind": kind, "head": head, "data": data}
        async with asyncio.timeout(SECONDS_MAX), httpx.AsyncClient(trust_env=False) as http:
            while True:
                for bridge in self.system.bridges:
                    try:
                        answer = await http.post(bridge, json=request)
                    except httpx.TransportError:
                        continue
                    if answer.status_code < 500:
                        assert answer.is_success, answer.text
                        return answer.json()["data"]
                await asyncio.sleep(LOOK_EVERY_S)

    async def pending(self) -> list[str]:
        """List what is not over: promises that wait, and tasks."""
        query = {"state": "pending", "limit": 1000}
        promises = [each["id"] for each in (await self.ask("promise.search", query))["promises"]]
        tasks = []
        for state in ("pending", "acquired", "suspended", "halted"):
            query = {"state": state, "limit": 1000}
            tasks += [each["id"] for each in (await self.ask("task.search", query))["tasks"]]
        return sorted({*promises, *tasks})

    def entries(self) -> list[Entry]:
        """Read what steps left behind, in the order of their writing."""
        lines = self.notes("entry")
        return [Entry((line[1], int(line[2])), int(line[3])) for line in lines]

    def notes(self, word: str) -> list[list[str]]:
        """Return the lines of the log that begin with a word, as words."""
        lines = [line.split(" ") for line in self.log.read_text().splitlines()]
        return [line for line in lines if line[0] == word]

    def check(self) -> "subprocess.CompletedProcess[str]":
        """Have the store's own command judge the database."""
        return subprocess.run(
            [sys.executable, "-m", "holdfast_store", "check", "--database-url", self.database_url],
            capture_output=True,
            text=True,
            check=False,
        )


@dataclass(frozen=True, slots=True)
class Repeats:
    """Steps that ran more than once."""

    explained: list[Entry]
    unexplained: list[Entry]

    @classmethod
    def of(cls, entries: Sequence[Entry], kills: Sequence[Kill]) -> "Repeats":
        """Tell the ones that had a kill between two runs, or shortly before, from the others."""
        last: dict[tuple[str, int], int] = {}
        explained: list[Entry] = []
        unexplained: list[Entry] = []
        for entry in entries:
            if entry.step in last:
                since = last[entry.step] - SLACK_MS
                is_explained = any(since <= kill.at_ms <= entry.at_ms for kill in kills)
                (explained if is_explained else unexplained).append(entry)
            last[entry.step] = entry.at_ms
        return cls(explained, unexplained)


async def killed_and_followed(replicas: Replicas, user: User) -> None:
    """Kill a worker of the group in the middle of a step, and start another."""
    pid = await _in_a_step(replicas, user)
    user.processes[int(pid.rpartition("-")[2])].kill()
    replicas.killed("worker", pid)
    await user.work()


async def _in_a_step(replicas: Replicas, user: User) -> str:
    """Return which worker has just begun a step."""
    seen = len(replicas.notes("entry"))
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            for line in replicas.notes("entry")[seen:]:
                if line[4].startswith(f"{user.group}-"):
                    return line[4]
                seen += 1
            await asyncio.sleep(0.01)


def summary(replicas: Replicas, **counts: int) -> str:
    """Write the counts on one line."""
    kinds = [kill.kind for kill in replicas.kills]
    told = {**counts, **{f"{kind}s killed": kinds.count(kind) for kind in sorted({*kinds})}}
    return json.dumps(told)
