"""`holdfast-gateway` whose connection to the store tells the test what is sent and answered."""

import asyncio
import sys
from collections.abc import Sequence

from holdfast.core.requests import PromiseCreate, PromiseSettle, Request
from holdfast.port import Answer
from holdfast.rpc import RemoteStore
from holdfast_gateway.__main__ import main
from tests.integration.kill.hurry import come_back_soon
from tests.integration.kill.points import points_of_this_process

POINTS = points_of_this_process()


class TellingStore(RemoteStore):
    """Tells of creates and settlements: before they are sent, and when the answer is here."""

    def submit(
        self, chain: Sequence[Request], *, credits: int = 0, timeout: float | None = None
    ) -> "asyncio.Future[Answer]":
        """Send a chain, as the remote store does."""
        for request in chain:
            _visit("before", request)
        future = super().submit(chain, credits=credits, timeout=timeout)

        def answered(_: "asyncio.Future[Answer]") -> None:
            for request in chain:
                _visit("after", request)

        # The first callback of the future: whoever waits for the answer does not have it yet.
        future.add_done_callback(answered)
        return future


def _visit(when: str, request: Request) -> None:
    match request:
        case PromiseCreate(id=promise_id):
            POINTS.visit(f"{when}_create", promise_id, promise_id)
        case PromiseSettle(id=promise_id):
            POINTS.visit(f"{when}_settle", promise_id, promise_id)


if __name__ == "__main__":
    come_back_soon()
    sys.exit(main(store_class=TellingStore))
