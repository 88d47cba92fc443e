"""`python -m tests.bench.store`: what the store itself can do, without workers and workflows.

One client sends operations over a real gRPC stream, the one that workers use, to a store process on
each kind of storage in turn: half of them create a promise, half resolve one.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final

from tests.bench import options
from tests.bench.databases import MEMORY, POSTGRESQL, SQLITE, Database, Memory, Sqlite, postgresql
from tests.bench.journal import Journal
from tests.bench.limits import echo_client
from tests.bench.report import Results, WorkloadResult
from tests.bench.rounds import Round, Scale
from tests.bench.running import run
from tests.bench.store.client import OPERATIONS, Client
from tests.bench.system import Setup, fresh_folder, running_system
from tests.bench.tables import print_table, span

KINDS: Final = (MEMORY, SQLITE, POSTGRESQL)
IN_FLIGHT: Final = (1, 64, 512)


def main() -> int:
    """Measure as the arguments say; return the exit code."""
    return run(_main(_parser().parse_args()))


async def _main(arguments: argparse.Namespace) -> int:
    started = perf_counter()
    results = Results()
    with ExitStack() as stack:
        databases: list[Database] = []
        for kind in arguments.storages:
            if kind == POSTGRESQL:
                databases.append(stack.enter_context(postgresql()))
            else:
                databases.append(Sqlite() if kind == SQLITE else Memory())
        journal = Journal(
            arguments.json,
            settings={
                name: getattr(arguments, name)
                for name in ("storages", "in_flight", "seconds", "count", "rounds")
            },
            versions={database.name: database.version() for database in databases},
        )
        scale = Scale(seconds=arguments.seconds, count=arguments.count)
        async with echo_client() as echo:
            for number in range(1, arguments.rounds + 1):
                one = Round(number, echo=echo, scale=scale, results=results, journal=journal)
                with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder:
                    await _round(one, databases, arguments.in_flight, Path(folder))
    _print(results)
    print(f"\nmedians of {arguments.rounds} rounds, {perf_counter() - started:.0f} s in all")
    return 0


async def _round(
    one: Round, databases: Sequence[Database], in_flight: Sequence[int], folder: Path
) -> None:
    await one.limits(databases, folder)
    async with AsyncExitStack() as stack:
        clients: list[Client] = []
        for database in databases:
            own = fresh_folder(folder, database.name)
            setup = Setup(
                name=database.name,
                database_url=database.create(own, "store"),
                folder=own,
                groups={},
                database_pid=database.pid(),
            )
            client = Client(await stack.enter_async_context(running_system(setup)))
            await client.start()
            stack.push_async_callback(client.stop)
            clients.append(client)
        for number in in_flight:
            await one.rate(clients, OPERATIONS, in_flight=number)


def _print(results: Results) -> None:
    header = ["storage", "operations/s (least-most)", "/echo", "/commit", "p50 ms", "p99 ms"]
    header += ["ops/batch", "stmts/batch", "stmts/op", "store µs/op", "database µs/op"]
    rows = []
    for (subject, (_, in_flight)), group in results.groups():
        runs = [result.measurement for result in group]
        rows.append(
            [
                f"{subject} x{in_flight}",
                span(runs, lambda m: m.per_second),
                f"{median(result.echo_ratio for result in group):.2f}",
                f"{median(result.commit_ratio for result in group):.2f}",
                f"{median(m.latency_ms(0.5) for m in runs):.2f}",
                f"{median(m.latency_ms(0.99) for m in runs):.2f}",
                f"{median(m.operations_per_batch for m in runs):.1f}",
                f"{median(m.statements_per_batch for m in runs):.1f}",
                f"{median(map(statements_per_operation, group)):.2f}",
                f"{median(m.cpu_us_by_process['store'] for m in runs):.0f}",
                f"{median(m.cpu_us_by_process.get('database', 0.0) for m in runs):.0f}",
            ]
        )
    results.print_limits()
    print_table(header, rows)


def statements_per_operation(result: WorkloadResult) -> float:
    """Tell how many statements one operation came to; falls as batches grow."""
    batches = result.measurement.batches
    return batches.statements / max(batches.operations, 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.store", description=__doc__)
    options.measuring(parser, in_flight=IN_FLIGHT, rounds=3)
    parser.add_argument(
        "--storages",
        type=options.names_among(KINDS),
        default=list(KINDS),
        metavar="NAMES",
        help=f"which, with commas between (default: {','.join(KINDS)})",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
