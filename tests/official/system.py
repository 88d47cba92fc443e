"""`holdfast dev` as a person starts it, without workers of its own."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS_MAX = 60


@dataclass
class System:
    """What its `ready` line says."""

    ready: dict[str, Any]
    data: Path

    @property
    def bridge(self) -> str:
        """Return the address of the first bridge."""
        return self.bridges[0]

    @property
    def bridges(self) -> list[str]:
        """Return the addresses of all bridges."""
        return list(self.ready["bridge"])

    @property
    def pids(self) -> dict[str, int]:
        """Return the processes that live now."""
        pids: dict[str, int] = json.loads((self.data / "dev.json").read_text())["pids"]
        return pids


@contextlib.contextmanager
def running(folder: Path, *more: str, **settings: str) -> Iterator[System]:
    """Run it on free ports, with more arguments and settings, until the block ends."""
    log, data = folder / "dev.log", folder / "data"
    arguments = ("--data", str(data), "--port-base", "0", "--workers", "0", "--db-workers", "0")
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "holdfast_cli", "dev", *arguments, *more],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **settings},
        )
    try:
        yield System(_ready(process, log), data)
    finally:
        process.terminate()
        try:
            process.wait(SECONDS_MAX)
        finally:
            process.kill()


def _ready(process: "subprocess.Popen[bytes]", log: Path) -> dict[str, Any]:
    end = time.monotonic() + SECONDS_MAX
    while time.monotonic() < end and process.poll() is None:
        for line in log.read_text().splitlines():
            if line.startswith("ready {"):
                ready: dict[str, Any] = json.loads(line.removeprefix("ready "))
                return ready
        time.sleep(0.05)
    raise AssertionError(log.read_text())
