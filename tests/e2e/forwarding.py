"""A local address for a Service while the pods behind it come and go.

`kubectl port-forward` picks one pod and ends, or hangs, when that pod dies. Here it is started
again, on the same local port, as often as that takes.
"""

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

PAUSE_S: Final = 0.2
GRACE_S: Final = 2.0
"""How long a new forward is left alone, however many clients complain about the one before."""


class Forward:
    """Keeps `kubectl port-forward` running."""

    def __init__(self, kubectl: Sequence[str], service: str, port: int) -> None:
        self._local_port = _free_port()
        ports = f"{self._local_port}:{port}"
        self._command = [*kubectl, "port-forward", f"service/{service}", ports]
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._stopping = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name=f"forward-{service}", daemon=True)
        self.starts = 0

    @property
    def address(self) -> str:
        """The address that leads to the Service."""
        return f"http://127.0.0.1:{self._local_port}"

    def __enter__(self) -> Self:
        self._keeper.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._end()
        self._keeper.join(timeout=10)

    def renew(self) -> None:
        """Begin anew: a client got no answer, and kubectl does not always notice why."""
        with self._lock:
            if time.monotonic() - self._started_at < GRACE_S:
                return
            self._started_at = time.monotonic()
        self._end()

    def _keep(self) -> None:
        while not self._stopping.is_set():
            with self._lock:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                self._started_at = time.monotonic()
                self.starts += 1
            if self._stopping.is_set():
                self._end()
            self._process.wait()
            self._stopping.wait(PAUSE_S)

    def _end(self) -> None:
        with self._lock, contextlib.suppress(ProcessLookupError):
            if self._process is not None:
                self._process.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
