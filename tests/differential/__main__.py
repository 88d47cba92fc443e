"""`make differential`: play random sequences to the model and to every store, for hours if asked.

Ends with 1 when a store did not do what the model did; the shortest sequence that shows it is told.
"""

import argparse
import asyncio
import random
import sys
import tempfile
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

from tests.differential.bridged import bridged
from tests.differential.coverage import DERIVED
from tests.differential.dice import HTTP_KINDS, KINDS
from tests.differential.exploring import Exploration
from tests.differential.opening import NAMES, opened
from tests.differential.pairing import DEFAULT, OVER_HTTP, PAIRS
from tests.differential.plays import Backend, Disagreement
from tests.integration.postgres import Server, running_server

BY_NAME = {pair.name: pair for pair in (DEFAULT, *PAIRS)}
FOR_EVER = 10**9
BRIDGE = "bridge"


def names_of(text: str) -> tuple[str, ...]:
    """Read which backends are played to."""
    names = tuple(text.split(","))
    if unknown := {*names} - {*NAMES, BRIDGE}:
        raise argparse.ArgumentTypeError(f"{sorted(unknown)} are none of {[*NAMES, BRIDGE]}")
    return names


async def explore(
    options: argparse.Namespace, folder: Path, server: Server | None, bridge: Backend | None
) -> int:
    """Play until the time is over, or nothing new has come for long."""
    pair = OVER_HTTP if bridge else BY_NAME[options.profile]
    postgres = server.empty_database if server else str
    async with AsyncExitStack() as stack:
        backends = [
            await stack.enter_async_context(opened(name, pair, folder=folder, postgres=postgres))
            for name in options.backends
            if name != BRIDGE
        ]
        exploration = Exploration(
            pair.make_model,
            [*backends, bridge] if bridge else backends,
            HTTP_KINDS if bridge else KINDS,
            seconds=options.seconds,
            patience=options.patience,
            is_wild=options.wild,
            looks_every=options.looks_every,
        )
        try:
            await exploration.run(options.seed)
        except Disagreement as found:
            print(exploration.report(), found, sep="\n\n")  # noqa: T201
            return 1
    print(exploration.report())  # noqa: T201
    for missed in exploration.coverage.missed({*exploration.kinds, *DERIVED}):
        print("  not met:", *missed)  # noqa: T201
    return 0


def main() -> int:
    """Read the options and play."""
    parser = argparse.ArgumentParser(prog="make differential", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, help="default: a new one")
    parser.add_argument(
        "--backends",
        type=names_of,
        default=(*NAMES, BRIDGE),
        help=f"some of {','.join((*NAMES, BRIDGE))}; default: all",
    )
    parser.add_argument("--wild", action="store_true", help="members of any type; bridge only")
    parser.add_argument("--profile", choices=BY_NAME, default=DEFAULT.name, help="set of knobs")
    parser.add_argument("--patience", type=int, default=FOR_EVER, help="sequences without news")
    parser.add_argument("--looks-every", type=int, default=5, help="steps between whole pictures")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.randrange(10**9)
    print(f"--seed {options.seed}", flush=True)  # noqa: T201
    if options.wild:
        options.backends = (BRIDGE,)
    if options.profile != DEFAULT.name:  # the processes behind the bridge run with the default
        options.backends = tuple(name for name in options.backends if name != BRIDGE)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = bridge = None
        if "postgresql" in options.backends:
            server = stack.enter_context(running_server())
        if BRIDGE in options.backends:
            bridge = stack.enter_context(bridged(folder))
        return asyncio.run(explore(options, folder, server, bridge))


if __name__ == "__main__":
    sys.exit(main())
