"""Services as real processes, and the program that has them all."""

import asyncio
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

SECONDS_MAX = 30
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


class Process:
    """A service that was started; its settings come by environment only."""

    def __init__(self, service: str, directory: Path, **settings: str) -> None:
        is_program = service == PROGRAM
        self.prefix = "" if is_program else f"HOLDFAST_{service.upper()}_"
        arguments = ["holdfast_cli", "apps", "--port", "0"] if is_program else []
        self.log = directory / f"{service}-{next(_numbers)}.log"
        ours = ("HOLDFAST_", "RESONATE_")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        given = settings if is_program else {"METRICS_LISTEN": PORT_0, **settings}
        with self.log.open("w") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", *(arguments or (f"holdfast_{service}", "serve"))],
                cwd=directory,
                env={**inherited, **{self.prefix + k: v for k, v in given.items()}},
                stdout=log,
                stderr=log,
            )

    def events(self) -> list[dict[str, Any]]:
        *lines, _ = self.log.read_text().split("\n")
        return [json.loads(line) for line in lines if line.startswith("{")]

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
