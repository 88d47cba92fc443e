"""`python -m tests.bench`: Holdfast beside the limits of this machine, through real processes.

Nothing here passes or fails by time, except when `--check-floors` asks for it.
"""

import argparse
import asyncio
import secrets
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from time import perf_counter

from holdfast import Resonate
from holdfast_chassis.lifecycle import new_event_loop
from tests.bench.limits import EchoClient, commit_rate, echo_client
from tests.bench.processes import ProcessFailed
from tests.bench.profiling import Target, profile
from tests.bench.report import FLOOR_IN_FLIGHT, Journal, LimitResult, Results, WorkloadResult
from tests.bench.system import NAMES, System, running_system
from tests.bench.workloads import CLIENT, WORKLOADS, Driver, Effort

ECHO_MESSAGES_IN_FLIGHT = 64
ECHO_OPERATIONS = 16
SECONDS_MIN, SECONDS_MAX = 0.5, 600.0  # processor time is counted in steps of 10 ms


def main() -> int:
    """Measure as the arguments say; return the exit code."""
    options = _parser().parse_args()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        loop = runner.get_loop()
        try:
            return runner.run(_main(options, loop))
        except ProcessFailed as error:
            print(error, file=sys.stderr)
            return 1
        except (KeyboardInterrupt, asyncio.CancelledError):
            print("stopped; every process has ended", file=sys.stderr)
            return 130


async def _main(options: argparse.Namespace, loop: asyncio.AbstractEventLoop) -> int:
    task = asyncio.current_task()
    assert task is not None
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    if options.profile is not None:
        await _profile(options)
        return 0
    results = await _measure(options)
    if options.check_floors:
        print()
        return 0 if results.check_floors() else 1
    return 0


async def _profile(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder:
        target = Target(
            process=options.profile,
            workload=WORKLOADS[options.workloads[0]],
            in_flight=options.in_flight[-1],
            seconds=options.seconds,
            steps=options.steps,
        )
        await profile(target, folder=Path(folder), connected=_connected)


async def _measure(options: argparse.Namespace) -> Results:
    """Run all rounds; a round starts everything anew, with an empty database."""
    results = Results()
    journal = Journal(options.json, settings=_settings(options))
    started = perf_counter()
    async with echo_client() as echo:
        for number in range(1, options.rounds + 1):
            with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder:
                await _round(
                    options,
                    number=number,
                    echo=echo,
                    folder=Path(folder),
                    results=results,
                    journal=journal,
                )
    results.print_limits()
    results.print_workloads()
    results.print_processes()
    print(f"\nmedians of {options.rounds} rounds, {perf_counter() - started:.0f} s in all")
    return results


async def _round(
    options: argparse.Namespace,
    *,
    number: int,
    echo: EchoClient,
    folder: Path,
    results: Results,
    journal: Journal,
) -> None:
    """Measure everything once: each workload between two halves of what it is compared with."""
    limit_seconds = options.seconds / 2

    def keep(limit: LimitResult) -> None:
        results.limits.append(limit)
        journal.limit(limit, round_number=number)

    commits = await asyncio.to_thread(commit_rate, folder, seconds=limit_seconds)
    keep(LimitResult("SQLite commits of one insert", commits))
    many = await echo.rate(
        in_flight=ECHO_MESSAGES_IN_FLIGHT, operations=ECHO_OPERATIONS, seconds=limit_seconds
    )
    keep(LimitResult(f"operations by {ECHO_OPERATIONS} per echo x{ECHO_MESSAGES_IN_FLIGHT}", many))
    effort = Effort(seconds=options.seconds, count=options.count)
    async with running_system(folder, steps=options.steps) as system, _connected(system) as driver:
        for name in options.workloads:
            for in_flight in options.in_flight:
                half = partial(
                    echo.rate, in_flight=in_flight, operations=1, seconds=limit_seconds / 2
                )
                before = await half()
                measured = await driver.measure(
                    system, WORKLOADS[name], in_flight=in_flight, effort=effort
                )
                one = before + await half()
                keep(LimitResult(f"echoes of one operation x{in_flight}", one))
                result = WorkloadResult(measured, one, commits)
                results.workloads.append(result)
                journal.workload(result, round_number=number)
                print(
                    f"round {number}: {name.upper()} x{in_flight}: {measured.per_second:,.0f}/s,"
                    f" {result.echo_ratio:.3f} of {one.per_second:,.0f} echoes/s",
                    flush=True,
                )


@asynccontextmanager
async def _connected(system: System) -> AsyncIterator[Driver]:
    """Connect a client of the library that runs no functions itself."""
    async with Resonate(url=system.url, group="bench-client") as resonate:
        yield Driver(resonate, run_id=secrets.token_hex(4))


def _settings(options: argparse.Namespace) -> dict[str, object]:
    return {
        name: getattr(options, name)
        for name in ("workloads", "in_flight", "seconds", "count", "rounds", "steps")
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--workloads",
        type=_workloads,
        default=list(WORKLOADS),
        metavar="NAMES",
        help="which, with commas between (default: %(default)s)",
    )
    parser.add_argument(
        "--in-flight",
        type=_numbers,
        default=[1, FLOOR_IN_FLIGHT],
        metavar="NUMBERS",
        help="workflows under way at the same time (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=4.0,
        help="length of a measurement; limits take half of it (default: %(default)s)",
    )
    parser.add_argument(
        "--count", type=_number, help="measure this many workflows, however long it takes"
    )
    parser.add_argument(
        "--rounds", type=_number, default=3, help="how often everything is measured (default: 3)"
    )
    parser.add_argument(
        "--steps",
        choices=("plain", "async"),
        default="async",
        help="how steps are written: as functions, which run in threads, or as coroutines",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="append each result to a file")
    parser.add_argument(
        "--check-floors",
        action="store_true",
        help=f"exit 1 if a workload x{FLOOR_IN_FLIGHT} is below its least ratio to the echo rate",
    )
    parser.add_argument(
        "--profile",
        choices=(*NAMES, CLIENT),
        help="run the first workload once and print the dearest functions of one process",
    )
    return parser


def _workloads(text: str) -> list[str]:
    names = text.lower().split(",")
    unknown = [name for name in names if name not in WORKLOADS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(WORKLOADS)}")
    return names


def _numbers(text: str) -> list[int]:
    return [_number(part) for part in text.split(",")]


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, not {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not SECONDS_MIN <= seconds <= SECONDS_MAX:
        raise argparse.ArgumentTypeError(f"must be from {SECONDS_MIN:g} to {SECONDS_MAX:g}")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
