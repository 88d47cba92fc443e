"""Files whose content may be replaced while the process runs: keys, certificates, tokens.

Whoever replaces one writes a new file and renames it over the old one, as Kubernetes does with the
volumes of Secrets. The files are looked at when somebody wants their content, never more often than
once a second.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from holdfast_chassis.logs import get_logger

log = get_logger(__name__)

PAUSE_S: Final = 1.0
BYTES_MAX: Final = 1_048_576
READS_MAX: Final = 3

Signature: TypeAlias = tuple[tuple[int, int, int], ...]


class Watched:
    """Some files that belong together, such as a certificate and its key."""

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        pause_s: float = PAUSE_S,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._paths = tuple(paths)
        self._pause_s = pause_s
        self._now_s = now_s
        self._looked_at = float("-inf")
        self._seen: Signature | None = None

    def __str__(self) -> str:
        return ", ".join(map(str, self._paths))

    def read(self) -> list[bytes]:
        """Read all files as they are; raises `OSError`."""
        contents: list[bytes] = []
        for _ in range(READS_MAX):
            self._seen = _signature(self._paths)
            contents = [_read(path) for path in self._paths]
            if _signature(self._paths) == self._seen:
                break  # else they were replaced in between, and may not belong together
        self._looked_at = self._now_s()
        return contents

    def read_if_replaced(self) -> list[bytes] | None:
        """Read all files if one was replaced since the last time; `None` when there is no news.

        A file that cannot be read is no news: it is looked at again.
        """
        now = self._now_s()
        if now - self._looked_at < self._pause_s:
            return None
        self._looked_at = now
        try:
            if _signature(self._paths) == self._seen:
                return None
            return self.read()
        except OSError as error:
            self._seen = None
            log.warning("file_not_read", path=str(self), error=error.strerror or str(error))
            return None


def _signature(paths: Sequence[Path]) -> Signature:
    stats = [os.stat(path) for path in paths]  # noqa: PTH116 - of what a link leads to
    return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in stats)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(BYTES_MAX + 1)
    if len(data) > BYTES_MAX:
        raise OSError(f"{path} must not be longer than {BYTES_MAX} bytes")
    return data
