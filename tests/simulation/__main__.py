"""`make simulation`: stores, workers and clients on virtual time, and everything that goes wrong.

Ends with 1 when a rule was broken, something did not come to its end, or a fault never happened.
"""

import argparse
import os
import random
import sys

from tests.simulation.campaign import Campaign, options_of
from tests.simulation.world import simulate


def main() -> int:
    """Run worlds, or one of them again."""
    parser = argparse.ArgumentParser(prog="make simulation", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="how long worlds are begun")
    parser.add_argument("--seed", type=int, help="seed of the first world; default: a new one")
    parser.add_argument("--one", type=int, metavar="SEED", help="run this world alone")
    parsed = parser.parse_args()
    if parsed.one is not None:
        report = simulate(options_of(parsed.one))
        print(f"{report.digest} {report.turns} turns {dict(sorted(report.counts.items()))}")  # noqa: T201
        print("\n".join(report.broken) or "nothing was found")  # noqa: T201
        return 1 if report.broken else 0
    seed = random.randrange(1_000_000) if parsed.seed is None else parsed.seed
    campaign = Campaign(seed)
    campaign.run(seconds=parsed.seconds)
    print(campaign.table())  # noqa: T201
    print(campaign.verdict())  # noqa: T201
    return 0 if campaign.is_clean else 1


if __name__ == "__main__":
    # The order of sets of texts differs from process to process otherwise, and with it what a seed
    # does.
    if os.environ.get("PYTHONHASHSEED") != "0":
        module = [sys.executable, "-m", "tests.simulation", *sys.argv[1:]]
        os.execve(sys.executable, module, {**os.environ, "PYTHONHASHSEED": "0"})
    sys.exit(main())
