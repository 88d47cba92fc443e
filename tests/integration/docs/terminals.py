"""Terminals: a shell that answers line by line, and others in which something goes on running."""

import os
import pty
import re
import signal
import subprocess
import threading
from pathlib import Path

from tests.integration.signals import hearing

SECONDS_TO_STOP = 30
_END = "-- that was it --"
_COLORS = re.compile(r"\x1b\[[0-9;]*m")


class Shell:
    """One bash, so that a variable that was set is still there in the next line."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._bash = subprocess.Popen(
            ["bash", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environ,
            text=True,
        )

    def run(self, command: str) -> tuple[int, str]:
        """Type a command; return its exit code and what it printed."""
        assert self._bash.stdin
        assert self._bash.stdout
        self._bash.stdin.write(f"{command}\nprintf '\\n%s %s\\n' '{_END}' $?\n")
        self._bash.stdin.flush()
        lines: list[str] = []
        for line in self._bash.stdout:
            if line.startswith(_END):
                return int(line.removeprefix(_END)), "".join(lines).strip()
            lines.append(line)
        raise AssertionError(f"the shell ended after {command!r}: {''.join(lines)}")

    def close(self) -> None:
        self._bash.kill()
        self._bash.communicate()


class Terminal:
    """A command that goes on running, on a terminal as a person would see it."""

    def __init__(
        self, command: str, folder: Path, environ: dict[str, str], *, printed: str
    ) -> None:
        self.printed = printed  # the command as the page has it
        ours, theirs = pty.openpty()
        self._process = subprocess.Popen(
            hearing("bash", "--norc", "-c", command),
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            cwd=folder,
            env=environ | {"NO_COLOR": "1", "TERM": "dumb"},
            start_new_session=True,
        )
        os.close(theirs)
        self._shown: list[bytes] = []
        self._reading = threading.Thread(target=self._read, args=(ours,), daemon=True)
        self._reading.start()

    @property
    def shown(self) -> str:
        """What a person reads there, without colors: not every program heeds NO_COLOR."""
        text = b"".join(self._shown).decode(errors="replace").replace("\r\n", "\n")
        return _COLORS.sub("", text)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be shown."""
        return not self._reading.is_alive()

    def stop(self) -> None:
        """Press Ctrl-C, and wait until the command has ended."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)
        try:
            self._process.wait(SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            raise
        self._reading.join()

    def _read(self, ours: int) -> None:
        while True:
            try:
                chunk = os.read(ours, 64 * 1024)
            except OSError:  # how Linux says that nobody holds the other end any more
                chunk = b""
            if not chunk:
                os.close(ours)
                return
            self._shown.append(chunk)
