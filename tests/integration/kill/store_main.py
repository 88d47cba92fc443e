"""`holdfast-store` whose engine tells the test where each batch is, and whose database commits."""

import sys

from holdfast_store.__main__ import main
from holdfast_store.metrics import Metrics
from tests.integration.kill.points import points_of_this_process

POINTS = points_of_this_process()

count_statement = Metrics.count_statement


def tell_of_statement(metrics: Metrics, text: str) -> None:
    """Tell of each commit just before it, on the thread of the database.

    The event loop goes on meanwhile: an answer that did not wait for the commit is out by now.
    """
    if text == "COMMIT":
        POINTS.visit("committing")
    count_statement(metrics, text)


if __name__ == "__main__":
    setattr(Metrics, "count_statement", tell_of_statement)  # noqa: B010 - a method is no variable
    sys.exit(main(reached=POINTS.reached))
