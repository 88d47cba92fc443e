"""Tables on a terminal."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import TypeVar

_T = TypeVar("_T")


def span(items: Sequence[_T], value: Callable[[_T], float]) -> str:
    """Write the median of a value, and the least and most when there are several."""
    values = sorted(map(value, items))
    if len(values) == 1:
        return f"{values[0]:,.0f}"
    return f"{median(values):,.0f} ({values[0]:,.0f}-{values[-1]:,.0f})"


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows of equal length; the first column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    print()
    for row in (header, *rows):
        first, *rest = (
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *rest]).rstrip())
