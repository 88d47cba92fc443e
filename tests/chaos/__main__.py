"""`make chaos`: three stores on PostgreSQL under load, one process killed every few seconds.

Ends with 1 when anything was lost, doubled, left undone, or cannot be explained.
"""

import argparse
import logging
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.chaos.killer import Weights
from tests.chaos.trial import Plan, run_trial, seed_of
from tests.integration.postgres import PostgresMissing, running_server


def weights_of(kinds: str) -> Weights:
    """Read which kinds are hit; the others are spared."""
    hit = kinds.split(",")
    every = asdict(Weights())
    if unknown := set(hit) - set(every):
        raise argparse.ArgumentTypeError(f"{sorted(unknown)} are none of {[*every]}")
    return Weights(**{kind: weight if kind in hit else 0 for kind, weight in every.items()})


def main() -> int:
    """Run one trial as the arguments say."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600, help="how long things are killed")
    parser.add_argument("--stores", type=int, default=3, help="stores on one database")
    parser.add_argument("--every", type=float, default=3, help="seconds between kills, on average")
    parser.add_argument("--kinds", type=weights_of, help="of store,worker,db,postgres,session")
    parser.add_argument("--seed", help="seed of an earlier trial; default: a new one")
    parser.add_argument("--keep", type=Path, help="folder for logs and journals")
    parsed = parser.parse_args()
    logging.getLogger("holdfast").addHandler(logging.NullHandler())  # stores go away all the time
    plan = Plan(
        stores=parsed.stores,
        seconds=parsed.seconds,
        every_s=(0.5 * parsed.every, 1.5 * parsed.every),
        seed=seed_of(parsed.seed),
        weights=parsed.kinds,
    )
    print(f"{plan.stores} stores, {plan.seconds:.0f} s, --seed {plan.seed}", flush=True)  # noqa: T201
    try:
        with running_server() as server, tempfile.TemporaryDirectory() as folder:
            kept: Path = parsed.keep or Path(folder)
            kept.mkdir(parents=True, exist_ok=True)
            outcome = run_trial(kept.resolve(), server, plan)
    except PostgresMissing as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    print(outcome.table())  # noqa: T201
    print(outcome.line())  # noqa: T201
    return 0 if outcome.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
