"""The voice of a demo: what happens, when, and whether what was promised came true."""

import os
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from typing import TextIO

from holdfast_cli.output import UNREAD, write_to_nowhere

INDENT = " " * 10


class Narrator:
    """Tells a story on a stream; it remembers whether every check held.

    When nobody reads any more it asks this process to stop, and tells the rest to nobody.
    """

    def __init__(self, *, stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._colour = self._stream.isatty() and not os.environ.get("NO_COLOR")
        self._began = time.monotonic()
        self._unread = False
        self.failed: list[str] = []

    def exit_code(self, code: int) -> int:
        """Return the exit code of the story: the one given, unless the reader left."""
        return UNREAD if self._unread else code

    def title(self, text: str) -> None:
        """Begin the story."""
        self._print(f"\n{self._styled('1', text)}\n")

    def happens(self, text: str) -> None:
        """Tell what happens now."""
        seconds = f"{time.monotonic() - self._began:6.1f} s"
        self._print(f"{self._styled('2', seconds)}  {self._styled('1', text)}")

    def detail(self, text: str) -> None:
        """Add to what was just told."""
        for line in text.splitlines():
            self._print(INDENT + line)

    def table(self, rows: Iterable[Sequence[object]]) -> None:
        """Show rows in columns, the first row as their headings."""
        texts = [[str(cell) for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        for number, row in enumerate(texts):
            cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
            line = "   ".join(cells).rstrip()
            self.detail(line if number else self._styled("2", line))

    def check(self, promise: str, *, held: bool) -> None:
        """Say whether something that the reader was promised came true."""
        if held:
            self._print(f"{INDENT}{self._styled('32', 'yes')}  {promise}")
        else:
            self.failed.append(promise)
            self._print(f"{INDENT}{self._styled('31;1', 'NO ')}  {promise}")

    def _print(self, text: str) -> None:
        try:
            print(text, file=self._stream, flush=True)
        except BrokenPipeError:
            self._unread = True
            write_to_nowhere(self._stream)
            signal.raise_signal(signal.SIGTERM)

    def _styled(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text
