"""What the command lines of the benchmarks have in common."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.report import FLOOR_IN_FLIGHT
from tests.bench.shapes import WORKLOADS

SECONDS_MIN, SECONDS_MAX = 0.1, 600.0
CRASH, SLEEPERS, ORDERS, SIZES = "w5", "w6", "w7", "w8"


def common(parser: argparse.ArgumentParser, *, workloads: Sequence[str], rounds: int) -> None:
    """Add what every run of workloads can be told."""
    parser.add_argument(
        "--workloads",
        type=names_among([*workloads, "w4"]),
        default=list(workloads),
        metavar="NAMES",
        help=f"which, with commas between (default: {','.join(workloads)})",
    )
    measuring(parser, in_flight=[1, FLOOR_IN_FLIGHT], rounds=rounds)


def measuring(parser: argparse.ArgumentParser, *, in_flight: Sequence[int], rounds: int) -> None:
    """Add how much and how often is measured."""
    parser.add_argument(
        "--in-flight",
        type=numbers,
        default=list(in_flight),
        metavar="NUMBERS",
        help="how many are under way at the same time (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=seconds,
        default=3.0,
        help="length of a measurement; limits take half of it (default: %(default)s)",
    )
    parser.add_argument(
        "--count", type=number, help="measure this many workflows, however long it takes"
    )
    parser.add_argument(
        "--rounds",
        type=number,
        default=rounds,
        help="how often everything is measured (default: %(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="append each result to a file")


def rate_workloads(chosen: Sequence[str]) -> list[str]:
    """Pick those of which the rate is measured; w4 stands for both of its kinds."""
    return [
        name for name in WORKLOADS if name in chosen or (name.startswith("w4") and "w4" in chosen)
    ]


def names_among(known: Sequence[str]) -> Callable[[str], list[str]]:
    """Accept some of the known names."""

    def parse(text: str) -> list[str]:
        names = text.lower().split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return names

    return parse


def numbers(text: str) -> list[int]:
    """Accept whole numbers with commas between."""
    return [number(part) for part in text.split(",")]


def number(text: str) -> int:
    """Accept a whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, not {text!r}")
    return int(text)


def seconds(text: str) -> float:
    """Accept a span that is neither too short to say anything nor without end."""
    value = float(text)
    if not SECONDS_MIN <= value <= SECONDS_MAX:
        raise argparse.ArgumentTypeError(f"must be from {SECONDS_MIN:g} to {SECONDS_MAX:g}")
    return value
