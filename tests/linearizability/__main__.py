"""`make linearizability`: record racing clients, kill stores, and look for an explanation.

Ends with 1 when an answer cannot be explained, a rule is broken, or too little happened.
"""

import argparse
import random
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from tests.integration.postgres import PostgresMissing, Server, running_server
from tests.linearizability.trial import Outcome, Plan, on_postgres, on_sqlite

ROUND_S = 20.0


def main() -> int:
    """Run rounds until the time is over, on SQLite and on PostgreSQL in turn."""
    parser = argparse.ArgumentParser(
        prog="make linearizability", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--seconds", type=float, default=60, help="how long rounds are begun")
    parser.add_argument("--seed", type=int, help="seed of the first round; default: a new one")
    parser.add_argument("--clients", type=int, default=8, help="clients that race")
    parser.add_argument("--replicas", type=int, default=3, help="stores on PostgreSQL")
    parser.add_argument("--keep", type=Path, help="folder for recordings of rounds that failed")
    parsed = parser.parse_args()
    seed = random.randrange(1_000_000) if parsed.seed is None else parsed.seed
    plan = Plan(seed=seed, clients=parsed.clients, seconds=min(ROUND_S, parsed.seconds / 2))
    try:
        with running_server() as server:
            return _rounds(parsed, plan, server)
    except PostgresMissing as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2


def _rounds(parsed: argparse.Namespace, plan: Plan, server: Server) -> int:
    until_s = time.monotonic() + parsed.seconds
    number = 0
    while time.monotonic() < until_s or number < 2:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            if number % 2:
                outcome = on_postgres(folder, server, plan, replicas=parsed.replicas)
            else:
                outcome = on_sqlite(folder, plan)
            print(outcome.table(), flush=True)  # noqa: T201
            if flaws := outcome.flaws():
                print("\n".join(flaws))  # noqa: T201
                _keep(outcome, parsed.keep)
                return 1
        number += 1
        plan = replace(plan, seed=plan.seed + 1)
    print(f"{number} recordings, all explained")  # noqa: T201
    return 0


def _keep(outcome: Outcome, folder: Path | None) -> None:
    if folder is None or outcome.kept is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for path in outcome.kept.parent.glob("recording.*"):
        (folder / path.name).write_bytes(path.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
