"""`holdfast-store` whose database is away for as long as a file of the test exists."""

import os
import sys
from pathlib import Path

from holdfast_store.__main__ import main
from holdfast_store.storage import StorageUnavailable

OUTAGE_VARIABLE = "MONITORING_OUTAGE"


def reached(point: str) -> None:
    """Break the transaction that is under way, as a connection that is lost would."""
    if point == "loaded" and Path(os.environ[OUTAGE_VARIABLE]).exists():
        raise StorageUnavailable("the test says that the database is away")


if __name__ == "__main__":
    sys.exit(main(reached=reached))
