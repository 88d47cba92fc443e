"""One process of a test: started, found ready, killed, started again; its output is kept."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeVar

ROOT: Final = Path(__file__).parents[3]
HOST: Final = "127.0.0.1"

DEADLINE_S: Final = 30.0
"""How long any single thing may take before the test says that it will not happen."""

LOOK_EVERY_S: Final = 0.01

T = TypeVar("T")


def until(
    look: Callable[[], T | None],
    what: str,
    *,
    deadline_s: float = DEADLINE_S,
    every_s: float = LOOK_EVERY_S,
) -> T:
    """Look again and again until there is something to see; answer it."""
    give_up_at = time.monotonic() + deadline_s
    while not (seen := look()):
        if time.monotonic() > give_up_at:
            raise AssertionError(f"within {deadline_s:.0f} s it did not happen that {what}")
        time.sleep(every_s)
    return seen


class Process:
    """A place for one process at a time; its successors have the same ports and the same log."""

    def __init__(
        self,
        name: str,
        module: str,
        *,
        settings: Mapping[str, str],
        metrics_port: int,
        log: Path,
    ) -> None:
        self.name = name
        self.log = log
        self._module = module
        self._settings = settings
        self._metrics_port = metrics_port
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def os_pid(self) -> int:
        """The id of the process that lives here, or did last."""
        assert self._popen is not None, f"{self.name} was never started"
        return self._popen.pid

    @property
    def is_alive(self) -> bool:
        """Whether there is a process, stopped ones included."""
        return self._popen is not None and self._popen.poll() is None

    @property
    def is_stopped(self) -> bool:
        """Whether there is a process, and it is stopped."""
        if not self.is_alive:
            return False
        # The second field is the command in parentheses, and may itself contain any character.
        return Path(f"/proc/{self.os_pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def start(self) -> None:
        """Start a process; it is not ready yet."""
        assert not self.is_alive, f"{self.name} runs already"
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(
                self._command(),
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self._settings},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,  # Ctrl-C is for the test run, which then kills in order
            )

    def _command(self) -> list[str]:
        return [sys.executable, "-m", self._module, "serve"]

    def wait_ready(self, *, deadline_s: float = DEADLINE_S) -> None:
        """Return when `/ready` says so."""
        what = f"{self.name} became ready"
        until(self._is_ready, what, deadline_s=deadline_s, every_s=0.02)

    def wait_not_ready(self) -> None:
        """Return when a living process says that it has lost the store."""
        until(lambda: self._answer() == 503, f"{self.name} noticed that the store is gone")

    def _is_ready(self) -> bool:
        assert self.is_alive, f"{self.name} ended with exit code {self.exit_code}\n{self.tail()}"
        return self._answer() == 200

    def _answer(self) -> int | None:
        connection = http.client.HTTPConnection(HOST, self._metrics_port, timeout=2)
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status
        except OSError:
            return None
        finally:
            connection.close()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to a living process."""
        os.kill(self.os_pid, number)

    def send_kill(self) -> None:
        """End the process, stopped or not; it is gone a moment later."""
        if self._popen is not None:
            self._popen.kill()

    def kill(self) -> None:
        """End the process, stopped or not, and be sure of it."""
        self.send_kill()
        if self._popen is not None:
            self._popen.wait()

    def wait_killed(self) -> None:
        """Return when the process has been killed by SIGKILL, from wherever."""
        assert self._popen is not None
        self._popen.wait(DEADLINE_S)
        assert self.exit_code == -signal.SIGKILL, f"{self.name} ended with {self.exit_code}"

    def stop(self) -> None:
        """Ask the process to end as a rollout does, and be sure that it did so in order."""
        self.signal(signal.SIGTERM)
        assert self._popen is not None
        self._popen.wait(DEADLINE_S)
        assert self.exit_code == 0, f"{self.name} ended with {self.exit_code}\n{self.tail()}"

    @property
    def exit_code(self) -> int | None:
        """How the process ended; `None` while it lives."""
        assert self._popen is not None
        return self._popen.poll()

    def tail(self, *, start: int = 0, lines: int = 60) -> str:
        """Return the end of the log, of what was written after a position."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            file.seek(start)
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
