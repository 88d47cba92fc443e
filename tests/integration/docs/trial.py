"""A trial of a page: everything on it is done in its order, in an empty folder."""

import contextlib
import os
import random
import re
import shutil
import socket
import sqlite3
import sys
import time
from pathlib import Path

from tests.integration.docs.likeness import Names
from tests.integration.docs.page import (
    Act,
    Changed,
    Once,
    Saved,
    Seen,
    Stopped,
    Typed,
    Waited,
    acts_of,
)
from tests.integration.docs.terminals import Shell, Terminal

ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 90
PRINTED_PORTS = (8000, 8001, 8002, 8080, 8081)
_PRINTED_PORTS = re.compile(rf"\b(?:{'|'.join(map(str, PRINTED_PORTS))})\b")
_OURS = ("HOLDFAST_", "RESONATE_", "PYTHON")


class Trial:
    """Does what a reader does; every failure names the line of the page that did not hold."""

    def __init__(self, folder: Path, *, has_curl: bool) -> None:
        self._folder = folder
        self._port = _free_ports()
        self._names = Names()
        (folder / ".venv").symlink_to(sys.prefix)
        programs = folder / "programs"
        programs.mkdir()
        if not has_curl:
            _write_curl(programs / "curl")
        self._environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(_OURS)},
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            # A page may change the gateway: then it is this copy that runs.
            "PYTHONPATH": str(folder / "services" / "gateway"),
            "NO_PROXY": "127.0.0.1",
        }
        self._shell = Shell(folder, self._environ)
        self._terminals: list[Terminal] = []

    def close(self) -> None:
        """Leave nothing running."""
        with contextlib.ExitStack() as stack:
            for terminal in self._terminals:
                stack.callback(terminal.stop)
            stack.callback(self._shell.close)

    def run(self, page: Path) -> int:
        """Try a page; return of how many acts it consists."""
        count = 0
        for count, act in enumerate(acts_of(page), 1):  # noqa: B007 - the last one is returned
            self._do(act)
        return count

    def _do(self, act: Act) -> None:
        match act:
            case Typed(command, shown, is_background):
                if is_background:
                    self._open(command, shown)
                else:
                    self._type(command, shown)
            case Saved(path, text):
                file = self._file(path)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(self._here(text))
            case Changed(path, before, after):
                file = self._file(path)
                text = file.read_text()
                assert text.count(before) == 1, f"{path} has not exactly one:\n{before}"
                file.write_text(text.replace(before, after))
            case Seen(lines):
                for line in lines:
                    self._wait_for(line)
            case Once(text):
                times = self._shown().count(self._names.translated(text))
                assert times == 1, f"{text!r} was shown {times} times\n{self._shown()}"
            case Waited():
                self._wait_for_record(act)
            case Stopped(text):
                [terminal] = [
                    each for each in self._terminals if text in each.printed and not each.is_over
                ]
                terminal.stop()

    def _type(self, command: str, shown: str) -> None:
        """Type a command. Asking changes nothing, so a question is asked until it is answered."""
        until = time.monotonic() + (PATIENCE_SECONDS if _is_question(command) else 0)
        while True:
            code, answer = self._shell.run(self._here(command))
            answer = self._printed(answer)
            if not shown or self._names.found(shown, answer, whole=True):
                break
            if time.monotonic() > until:
                raise AssertionError(
                    f"$ {command}\n{answer}\n\nThe page has:\n{shown}\n\n{self._shown()}"
                )
            time.sleep(0.2)
        assert code == 0 or shown, f"$ {command}\nended with {code}:\n{answer}\n{self._shown()}"

    def _open(self, command: str, shown: str) -> None:
        terminal = Terminal(self._here(command), self._folder, self._environ, printed=command)
        self._terminals.append(terminal)
        for line in shown.splitlines():
            if line.strip(" …"):
                self._wait_for(line, terminal)

    def _wait_for(self, line: str, *terminals: Terminal) -> None:
        """Wait until one of these terminals shows a line; without any, one of all."""
        among = terminals or tuple(self._terminals)
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            is_last = time.monotonic() > until or all(each.is_over for each in among)
            if self._names.found(line.strip(), self._shown(*among), whole=False):
                return
            assert not is_last, f"{line!r} was not shown:\n{self._shown()}"
            time.sleep(0.05)

    def _wait_for_record(self, waited: Waited) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        database = f"file:{self._folder / waited.database}?mode=ro"
        query = f"SELECT state FROM {waited.table} WHERE id = ?"
        while True:
            with contextlib.closing(sqlite3.connect(database, uri=True)) as rows:
                if any(
                    state in waited.states for [state] in rows.execute(query, [waited.promise_id])
                ):
                    return
            assert time.monotonic() < until, f"no record of {waited}:\n{self._shown()}"
            time.sleep(0.05)

    def _shown(self, *terminals: Terminal) -> str:
        shown = [terminal.shown for terminal in terminals or self._terminals]
        return self._printed("\n".join(shown))

    def _file(self, path: str) -> Path:
        copied = self._folder / "services" / "gateway"
        if path.startswith("services/gateway/") and not copied.exists():
            shutil.copytree(ROOT / "services" / "gateway", copied)
        return self._folder / path

    def _here(self, text: str) -> str:
        """Put the names and ports of this run in the place of those on the page."""
        text = _PRINTED_PORTS.sub(
            lambda found: str(self._port + PRINTED_PORTS.index(int(found[0]))),
            self._names.translated(text),
        )
        return text.replace("holdfast dev", f"holdfast dev --port-base {self._port}")

    def _printed(self, text: str) -> str:
        for offset, printed in enumerate(PRINTED_PORTS):
            text = re.sub(rf"\b{self._port + offset}\b", str(printed), text)
        return text


def _write_curl(path: Path) -> None:
    """Write a stand-in that understands as much as pages need."""
    path.write_text(
        f"#!{sys.executable}\nimport sys\n\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from tests.integration.docs.curl import main\n\nsys.exit(main())\n"
    )
    path.chmod(0o755)


def _is_question(command: str) -> bool:
    if "holdfast" in command:
        return re.search(r"holdfast (queues|(promises|tasks) (get|search))", command) is not None
    return command.startswith("curl") and not re.search(r" -[dX] ", command)


def _free_ports() -> int:
    """Find a port that is free, and so are those next to it."""
    while True:
        first = random.randrange(20_000, 30_000)
        try:
            for port in range(first, first + len(PRINTED_PORTS)):
                with socket.socket() as taken:
                    taken.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
