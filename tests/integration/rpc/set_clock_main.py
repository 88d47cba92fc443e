"""`holdfast-store` on a machine whose clock was set, by as many milliseconds as a variable says."""

import os
import sys
import time

AHEAD = "SET_CLOCK_AHEAD_MS"

_true_ns = time.time_ns


def _set_ns() -> int:
    return _true_ns() + int(os.environ[AHEAD]) * 1_000_000


if __name__ == "__main__":
    time.time_ns = _set_ns
    # Not before: modules keep the function that they find.
    from holdfast_store.__main__ import main

    sys.exit(main())
