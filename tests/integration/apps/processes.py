"""Services as real processes, and the program that has them all."""

import asyncio
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[3]
SECONDS_MAX = 60  # for anything to happen: a busy machine takes seconds to start a process
PORT_0 = "127.0.0.1:0"
PROGRAM = "apps"  # the one that has them all; its settings are those of its parts


async def get_until(
    http: httpx.AsyncClient, url: str, is_met: Callable[[httpx.Response], bool]
) -> httpx.Response:
    """Ask again and again until an answer is as it should be; return that one."""
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            answer = await http.get(url)
            if is_met(answer):
                return answer
            await asyncio.sleep(0.02)


_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Program:
    """A module with its arguments, to run in place of a service's own, and what it must know."""

    module: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)


class Process:
    """A service that was started; its settings come by environment only."""

    def __init__(
        self, service: str, directory: Path, program: Program | None = None, /, **settings: str
    ) -> None:
        is_program = service == PROGRAM
        self.prefix = "" if is_program else f"HOLDFAST_{service.upper()}_"
        own = Program((f"holdfast_{service}", "serve"))
        if is_program:
            own = Program(("holdfast_cli", "apps", "--port", "0"))
        program = program or own
        roots = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.log = directory / f"{service}-{next(_numbers)}.log"
        ours = ("HOLDFAST_", "RESONATE_")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        given = settings if is_program else {"METRICS_LISTEN": PORT_0, **settings}
        with self.log.open("w") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", *program.module],
                cwd=directory,
                env={
                    **inherited,
                    **program.environ,
                    "PYTHONPATH": roots,
                    **{self.prefix + k: v for k, v in given.items()},
                },
                stdout=log,
                stderr=log,
            )

    def events(self) -> list[dict[str, Any]]:
        *lines, _ = self.log.read_text().split("\n")
        return [json.loads(line) for line in lines if line.startswith("{")]

    def troubles(self) -> list[dict[str, Any]]:
        """List warnings and errors, but that of a gateway that asks for no tokens."""
        return [
            event
            for event in self.events()
            if event["level"] in {"warning", "error"} and event["event"] != "authentication_off"
        ]

    async def logged(self, event: str) -> dict[str, Any]:
        """Return the first event of a name, once it has been logged."""
        async with asyncio.timeout(SECONDS_MAX):
            while True:
                for each in self.events():
                    if each["event"] == event:
                        return each
                assert self.popen.poll() is None, self.log.read_text()
                await asyncio.sleep(0.02)

    async def ready(self) -> None:
        address = (await self.logged("metrics_listening"))["address"]
        async with httpx.AsyncClient() as http:
            await get_until(http, f"http://{address}/ready", lambda answer: answer.is_success)

    async def exit_code(self) -> int:
        return await asyncio.to_thread(self.popen.wait, SECONDS_MAX)

    def kill(self) -> None:
        """End the process as a power failure would."""
        self.popen.kill()
        self.popen.wait()


Start = Callable[..., Process]
