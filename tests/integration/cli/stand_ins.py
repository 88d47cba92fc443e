"""Small programs that behave like our processes from the outside, and someone who reads them."""

import asyncio
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

from holdfast_cli.plan import ProcessSpec
from holdfast_cli.ports import free_ports

PATIENCE_SECONDS = 45.0  # several times what a busy machine needs to start five processes

PROGRAM = r"""
import http.server, os, pathlib, signal, sys, threading

name, port, folder, *habits = sys.argv[1:]
folder = pathlib.Path(folder)

def stop(number, frame):
    print("stopping", flush=True)
    if "stubborn" not in habits:
        with (folder / "stopped").open("a") as stopped:
            stopped.write(name + "\n")
        os._exit(0)

signal.signal(signal.SIGTERM, stop)
print("hello from", os.getpid(), flush=True)
if "bad-settings" in habits:
    sys.exit(2)
if "crashing" in habits:
    sys.exit(7)

class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if "never-ready" in habits:
            body = b'{"reasons": {"store": "The store is away."}}'
            self.send_response(503)
        else:
            body = b"{}"
            self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

Server(("127.0.0.1", int(port)), Ready).serve_forever()
"""


@dataclass
class StandIns:
    """Describes stand-in processes that leave their traces in a folder."""

    folder: Path
    ports = free_ports()

    def spec(self, name: str, *habits: str, stage: int = 0) -> ProcessSpec:
        port = next(self.ports)
        return ProcessSpec(
            name=name,
            argv=(sys.executable, "-c", PROGRAM, name, str(port), str(self.folder), *habits),
            settings={},
            stage=stage,
            metrics_port=port,
            ports=(port,),
        )

    def stopped(self) -> list[str]:
        """Return who ended after SIGTERM, in that order."""
        return (self.folder / "stopped").read_text().split()


@dataclass
class Reader:
    """An output that can be waited for."""

    lines: list[str] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def line(self, name: str, text: str) -> None:
        self.lines.append(f"{name} | {text}")
        self._news.set()

    def say(self, text: str) -> None:
        self.line("holdfast", text)

    async def seen(self, pattern: str, *, times: int = 1) -> re.Match[str]:
        """Wait until so many lines contain a pattern; return the last match."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                matches = [match for line in self.lines if (match := re.search(pattern, line))]
                if len(matches) >= times:
                    return matches[times - 1]
                self._news.clear()
                await self._news.wait()


def lives(pid: int) -> bool:
    """Tell whether a process runs; one that ended and was not collected yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def ended(*pids: int) -> None:
    """Wait until none of some processes lives; they are not children of this one."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if not any(map(lives, pids)):
                return
            await asyncio.sleep(0.01)
