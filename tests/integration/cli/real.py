"""`holdfast dev` as a person starts it: a process of its own whose output is read."""

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from holdfast_cli.dev import EXAMPLE_ORDER
from tests.integration.cli.stand_ins import Reader
from tests.integration.signals import hearing

DONE = {
    "status": "done",
    "result": {
        "orderId": "ord-1",
        "inventoryReserved": True,
        "paymentCharged": True,
        "confirmationSent": True,
        "total": 6997,
    },
}


@dataclass
class Dev:
    """A running `holdfast dev`, after its `ready` line."""

    process: asyncio.subprocess.Process
    reader: Reader
    ready: dict[str, Any]
    data: Path

    @property
    def pids(self) -> dict[str, int]:
        """Return the ids of the processes that live now, as the state file has them."""
        pids: dict[str, int] = json.loads((self.data / "dev.json").read_text())["pids"]
        return pids

    async def place_order(self) -> None:
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.post(f"{self.ready['gateway'][0]}/orders", json=EXAMPLE_ORDER)
        assert answer.status_code == 202, answer.text

    async def order_is_done(self) -> dict[str, Any]:
        """Ask until the order is settled, through whatever happens to the gateway."""
        url = f"{self.ready['gateway'][0]}/orders/{EXAMPLE_ORDER['id']}/status"
        async with asyncio.timeout(45), httpx.AsyncClient(trust_env=False) as http:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    answer = await http.get(url)
                    if answer.status_code == 200 and answer.json()["status"] != "processing":
                        status: dict[str, Any] = answer.json()
                        return status
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def dev(data: Path, *flags: str, **settings: str) -> AsyncIterator[Dev]:
    """Run `holdfast dev` on free ports until it is ready; kill it on the way out if need be."""
    process = await asyncio.create_subprocess_exec(
        *hearing(sys.executable, "-m", "holdfast_cli", "dev", "--data", str(data)),
        *("--port-base", "0", *flags),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **settings},
    )
    reader = Reader()
    reading = asyncio.create_task(_read(process, reader))
    try:
        ready = await reader.seen(r"^dev \| ready (\{.*\})$")
        yield Dev(process, reader, json.loads(ready[1]), data)
    except TimeoutError as error:
        raise AssertionError("\n".join(reader.lines[-30:])) from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await reading


async def _read(process: asyncio.subprocess.Process, reader: Reader) -> None:
    assert process.stdout
    async for line in process.stdout:
        reader.line("dev", line.decode().rstrip("\n"))


def ports_of(ready: dict[str, Any]) -> list[int]:
    """Return every port that a `ready` line names."""
    return [int(port) for port in re.findall(r"//127\.0\.0\.1:(\d+)", json.dumps(ready))]


async def holdfast(*arguments: str, folder: Path, **settings: str) -> tuple[int, str]:
    """Run a command in a folder; return its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "holdfast_cli", *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder), **settings},
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()
