"""`python -m tests.bench`: Holdfast beside the limits of this machine, through real processes.

Nothing here passes or fails by time, except when `--check-floors` asks for it.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from time import perf_counter

from tests.bench import options
from tests.bench.databases import NAMES as DATABASES
from tests.bench.databases import POSTGRESQL, SQLITE, Database, Sqlite, postgresql
from tests.bench.journal import Journal
from tests.bench.limits import echo_client
from tests.bench.orders import ACCEPTED, COMPLETED, Orders, setup_of
from tests.bench.profiling import Target, profile
from tests.bench.report import FLOOR_IN_FLIGHT, FLOOR_SUBJECT, Results
from tests.bench.rounds import Round, Scale
from tests.bench.running import run
from tests.bench.shapes import CRASH_WORKFLOWS, SLEEPERS, WORKLOADS
from tests.bench.sizes import Sizes, measure_sizes
from tests.bench.subject import CLIENT
from tests.bench.system import NAMES, Setup, System, fresh_folder, running_system

EVERYTHING = [*WORKLOADS, options.CRASH, options.SLEEPERS, options.ORDERS, options.SIZES]


def main() -> int:
    """Measure as the arguments say; return the exit code."""
    arguments = _parser().parse_args()
    return run(_main(arguments))


async def _main(arguments: argparse.Namespace) -> int:
    with ExitStack() as stack:
        databases = [
            Sqlite() if name == SQLITE else stack.enter_context(postgresql())
            for name in arguments.databases
        ]
        if arguments.profile is not None:
            await _profile(arguments, databases[0])
            return 0
        results = await _measure(arguments, databases)
    if arguments.check_floors:
        print()
        return 0 if results.check_floors() else 1
    return 0


async def _profile(arguments: argparse.Namespace, database: Database) -> None:
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder:
        target = Target(
            process=arguments.profile,
            workload=WORKLOADS[options.rate_workloads(arguments.workloads)[0]],
            in_flight=arguments.in_flight[-1],
            seconds=arguments.seconds,
            steps=arguments.steps,
        )
        await profile(target, database, folder=Path(folder))


async def _measure(arguments: argparse.Namespace, databases: Sequence[Database]) -> Results:
    """Run all rounds; a round starts everything anew, with empty databases."""
    results = Results()
    journal = Journal(
        arguments.json,
        settings={
            name: getattr(arguments, name)
            for name in ("workloads", "in_flight", "seconds", "count", "rounds", "steps")
        },
        versions={database.name: database.version() for database in databases},
    )
    scale = Scale(
        seconds=arguments.seconds,
        count=arguments.count,
        crash_workflows=arguments.crash_workflows,
        sleepers=arguments.sleepers,
    )
    started = perf_counter()
    async with echo_client() as echo:
        for number in range(1, arguments.rounds + 1):
            one = Round(number, echo=echo, scale=scale, results=results, journal=journal)
            with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder:
                await _round(arguments, one, databases, Path(folder))
            if number == 1 and options.SIZES in arguments.workloads:
                await _sizes(arguments, one, databases)
    results.print_all()
    if len(databases) > 1:
        results.print_ratios(of=databases[1].name, to=[databases[0].name])
    print(f"\nmedians of {arguments.rounds} rounds, {perf_counter() - started:.0f} s in all")
    return results


async def _round(
    arguments: argparse.Namespace, one: Round, databases: Sequence[Database], folder: Path
) -> None:
    await one.limits(databases, folder)
    async with AsyncExitStack() as stack:
        systems: list[System] = []
        for database in databases:
            setup = _setup(database, fresh_folder(folder, database.name), arguments.steps)
            systems.append(await stack.enter_async_context(running_system(setup)))
        for name in options.rate_workloads(arguments.workloads):
            workload = WORKLOADS[name]
            for in_flight in [workload.in_flight] if workload.in_flight else arguments.in_flight:
                await one.rate(systems, workload, in_flight=in_flight)
        for system in systems:
            if options.CRASH in arguments.workloads:
                await one.crash(system)
            if options.SLEEPERS in arguments.workloads:
                await one.sleepers(system)
    if options.ORDERS in arguments.workloads:
        await _orders(arguments, one, databases, folder)


async def _orders(
    arguments: argparse.Namespace, one: Round, databases: Sequence[Database], folder: Path
) -> None:
    """Measure W7, the waiting kind first: the other leaves orders behind that are still done."""
    async with AsyncExitStack() as stack:
        systems: list[Orders] = []
        for database in databases:
            own = fresh_folder(folder, f"orders-{database.name}")
            setup = setup_of(_setup(database, own, arguments.steps))
            orders = Orders(await stack.enter_async_context(running_system(setup)))
            await orders.start()
            stack.callback(orders.stop)
            systems.append(orders)
        for workload in (COMPLETED, ACCEPTED):
            for in_flight in arguments.in_flight:
                await one.rate(systems, workload, in_flight=in_flight)


async def _sizes(arguments: argparse.Namespace, one: Round, databases: Sequence[Database]) -> None:
    """Measure W8 once: filling databases takes longer than measuring them."""
    sizes = Sizes(
        settled=arguments.settled,
        parked=arguments.parked,
        parked_by_worker=arguments.parked_by_worker,
        children=arguments.children,
    )
    for database in databases:
        with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder:
            for outcome in await measure_sizes(database, Path(folder), sizes=sizes):
                one.tell(database.name, outcome)


def _setup(database: Database, folder: Path, steps: str) -> Setup:
    return Setup(
        name=database.name,
        database_url=database.create(folder, "store"),
        folder=folder,
        steps=steps,
        database_pid=database.pid(),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    options.common(parser, workloads=EVERYTHING, rounds=3)
    parser.add_argument(
        "--databases",
        type=options.names_among(DATABASES),
        default=list(DATABASES),
        metavar="NAMES",
        help=f"{SQLITE}, {POSTGRESQL} or both with a comma between (default: both)",
    )
    parser.add_argument(
        "--steps",
        choices=("plain", "async"),
        default="async",
        help="how steps are written: as functions, which run in threads, or as coroutines",
    )
    parser.add_argument(
        "--crash-workflows",
        type=options.number,
        default=CRASH_WORKFLOWS,
        help="workflows under way when W5 kills the worker (default: %(default)s)",
    )
    parser.add_argument(
        "--sleepers", type=options.number, default=SLEEPERS, help="of W6 (default: %(default)s)"
    )
    parser.add_argument(
        "--settled",
        type=options.numbers,
        default=[1_000, 100_000],
        metavar="NUMBERS",
        help="settled promises of W8; what comes after the first number is compared with it"
        " (default: %(default)s; 10000000 takes minutes and gigabytes)",
    )
    parser.add_argument(
        "--parked",
        type=options.number,
        default=100_000,
        help="workflows that wait in the database of W8 (default: %(default)s)",
    )
    parser.add_argument(
        "--parked-by-worker",
        type=options.number,
        default=10_000,
        help="workflows that the worker itself begins and parks (default: %(default)s)",
    )
    parser.add_argument(
        "--children",
        type=options.number,
        default=100_000,
        help="children of the one large tree of W8 (default: %(default)s)",
    )
    parser.add_argument(
        "--check-floors",
        action="store_true",
        help=f"exit 1 if a workload x{FLOOR_IN_FLIGHT} on {FLOOR_SUBJECT} is below its least"
        " ratio to the echo rate",
    )
    parser.add_argument(
        "--profile",
        choices=(*NAMES, CLIENT),
        help="run the first workload once and print the dearest functions of one process",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
