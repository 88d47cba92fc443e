"""One stream of lines for many processes: each line tells whose it is."""

import json
import os
import signal
import sys
from collections.abc import Iterable
from typing import Protocol, TextIO

from holdfast_chassis.logs import human_line

OWN_NAME = "holdfast"  # who speaks when no process does

_COLOURS = ("36", "35", "34", "32", "33", "96", "95", "94", "92", "93")

UNREAD = 128 + signal.SIGPIPE  # the exit code of a program whose reader went away, as by `| head`


def write_to_nowhere(stream: TextIO) -> None:
    """Let a stream that nobody reads any more swallow what comes.

    What is still buffered would fail again when the interpreter ends.
    """
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - its descriptor is wanted
        os.dup2(nowhere.fileno(), stream.fileno())


class Output(Protocol):
    """Where lines go."""

    def line(self, name: str, text: str) -> None:
        """Take one line (or several, with line feeds between) that a process wrote."""

    def say(self, text: str) -> None:
        """Take a sentence of our own about the processes."""


class Console:
    """Lines on a stream, each with a prefix; coloured and short on a terminal, verbatim elsewhere.

    Children log one JSON object a line, because they do not write to a terminal. A person reads it
    better as a line of text; a file or a pipe gets what the child wrote.
    """

    def __init__(
        self, names: Iterable[str], *, stream: TextIO | None = None, colour: bool | None = None
    ) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._human = self._stream.isatty()
        wanted = self._human and not os.environ.get("NO_COLOR")
        self._colour = wanted if colour is None else colour
        self._names = (OWN_NAME, *names)
        self._width = max(map(len, self._names))

    def line(self, name: str, text: str) -> None:
        """Write what a process wrote."""
        for each in self._rendered(text).splitlines():
            self.write(f"{self._prefix(name)} {each}")

    def say(self, text: str) -> None:
        """Write a sentence of our own."""
        for each in text.splitlines():
            self.write(f"{self._prefix(OWN_NAME)} {self.emphasised(each)}")

    def write(self, text: str) -> None:
        """Write a line without a prefix; if nobody reads any more, ask this process to stop."""
        try:
            print(text, file=self._stream, flush=True)
        except BrokenPipeError:
            write_to_nowhere(self._stream)
            signal.raise_signal(signal.SIGTERM)

    def emphasised(self, text: str) -> str:
        """Return a text so that it stands out, where that is possible."""
        return f"\x1b[1m{text}\x1b[0m" if self._colour else text

    def _prefix(self, name: str) -> str:
        padded = f"{name:<{self._width}} |"
        if not self._colour:
            return padded
        colour = _COLOURS[self._names.index(name) % len(_COLOURS)]
        return f"\x1b[{colour}m{padded}\x1b[0m"

    def _rendered(self, text: str) -> str:
        if not self._human:
            return text
        try:
            event = json.loads(text)
            return human_line(event, colour=self._colour)
        except (ValueError, KeyError, TypeError):
            return text  # not a log line of ours: whatever a step or a library printed
