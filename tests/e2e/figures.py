"""Figures that the tests found, printed at the end of the run."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Figures:
    """Lines for people, in the order in which they were found."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, name: str, value: object) -> None:
        """Note a figure."""
        self.lines.append(f"{name}: {value}")

    @contextmanager
    def seconds(self, name: str) -> Iterator[None]:
        """Note how long something took, if it ended well."""
        begin = time.monotonic()
        yield
        self.add(name, f"{time.monotonic() - begin:.1f} s")
