"""`python -m tests.bench.peers`: Holdfast and its peers, in turn, in one run.

Peers come from their packages into `.cache/bench-peers`. One that cannot be had is said so, and the
others are measured without it.
"""

import argparse
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Final

from tests.bench import options
from tests.bench.databases import Postgresql, postgresql
from tests.bench.journal import Journal
from tests.bench.limits import echo_client
from tests.bench.peers.dbos import subject as dbos
from tests.bench.peers.installing import PeerMissing, install
from tests.bench.peers.restate import subject as restate
from tests.bench.report import Results
from tests.bench.rounds import Round, Scale
from tests.bench.running import run
from tests.bench.shapes import WORKLOADS
from tests.bench.subject import Subject
from tests.bench.system import Setup, fresh_folder, running_system

HOLDFAST: Final = "holdfast"
PACKAGES: Final = {each.name: each for each in (dbos.PACKAGES, restate.PACKAGES)}
EVERYTHING: Final = [*WORKLOADS, options.CRASH, options.SLEEPERS]


def main() -> int:
    """Measure as the arguments say; return the exit code."""
    arguments = _parser().parse_args()
    peers = _installed(arguments.peers)
    if not peers:
        print("no peer could be had", file=sys.stderr)
        return 1
    return run(_measure(arguments, peers))


def _installed(names: Sequence[str]) -> list[str]:
    peers = []
    for name in names:
        try:
            install(PACKAGES[name])
        except PeerMissing as error:
            print(f"{name} could not be had: {error}", file=sys.stderr)
        else:
            peers.append(name)
    return peers


async def _measure(arguments: argparse.Namespace, peers: Sequence[str]) -> int:
    results = Results()
    started = perf_counter()
    with postgresql() as database:
        journal = Journal(
            arguments.json,
            settings={
                name: getattr(arguments, name)
                for name in ("workloads", "in_flight", "seconds", "count", "rounds")
            },
            versions={
                database.name: database.version(),
                **{k: v for name in peers for k, v in PACKAGES[name].versions().items()},
            },
        )
        scale = Scale(seconds=arguments.seconds, count=arguments.count)
        async with echo_client() as echo:
            for number in range(1, arguments.rounds + 1):
                one = Round(number, echo=echo, scale=scale, results=results, journal=journal)
                with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder:
                    await _round(arguments, one, database, peers, Path(folder))
    results.print_all()
    results.print_ratios(of=HOLDFAST, to=peers)
    print(f"\nmedians of {arguments.rounds} rounds, {perf_counter() - started:.0f} s in all")
    return 0


async def _round(
    arguments: argparse.Namespace,
    one: Round,
    database: Postgresql,
    peers: Sequence[str],
    folder: Path,
) -> None:
    await one.limits([database], folder)
    async with AsyncExitStack() as stack:
        subjects: list[Subject] = []
        for name in (HOLDFAST, *peers):
            own = fresh_folder(folder, name)
            subject = await stack.enter_async_context(_running(name, database, own))
            subject.pause()
            subjects.append(subject)
        for name in options.rate_workloads(arguments.workloads):
            workload = WORKLOADS[name]
            for in_flight in [workload.in_flight] if workload.in_flight else arguments.in_flight:
                await one.rate(subjects, workload, in_flight=in_flight)
        if options.CRASH in arguments.workloads:
            for subject in subjects:
                await one.crash(subject)
        if options.SLEEPERS in arguments.workloads:
            for subject in subjects:
                await one.sleepers(subject)


@asynccontextmanager
async def _running(name: str, database: Postgresql, folder: Path) -> AsyncIterator[Subject]:
    if name == restate.PACKAGES.name:
        async with restate.running_restate(folder) as server:
            yield server
    elif name == dbos.PACKAGES.name:
        url, pid = database.create_empty(), database.pid()
        async with dbos.running_dbos(folder, database_url=url, database_pid=pid) as library:
            yield library
    else:
        setup = Setup(
            name=name,
            database_url=database.create(folder, "store"),
            folder=folder,
            database_pid=database.pid(),
        )
        async with running_system(setup) as system:
            yield system


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers", description=__doc__)
    options.common(parser, workloads=EVERYTHING, rounds=3)
    parser.add_argument(
        "--peers",
        type=options.names_among(list(PACKAGES)),
        default=list(PACKAGES),
        metavar="NAMES",
        help=f"which, with commas between (default: {','.join(PACKAGES)})",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
