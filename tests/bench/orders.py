"""W7: orders through the gateway, as the example application takes them.

The system has the workers of that application, not those of the other workloads: the workflow of an
order has three steps and two calls of the group `db`, which writes into a database of its own.
"""

import asyncio
import itertools
from dataclasses import replace
from typing import Final

from holdfast_cli.ports import HOST
from tests.bench.closed_loop import Effort, drive
from tests.bench.http import Pool
from tests.bench.shapes import Workload
from tests.bench.subject import RESULT_SECONDS_MAX, BatchCounts, WrongResult
from tests.bench.system import Setup, System

ACCEPTED: Final = Workload("w7a", adds=0, durable_steps=1)
COMPLETED: Final = Workload("w7b", adds=0, durable_steps=5)
POLL_S: Final = 0.02


def setup_of(setup: Setup) -> Setup:
    """Take the other workloads' workers out of a setup."""
    return replace(setup, groups={})


class Orders:
    """A system with a gateway, driven over HTTP."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._numbers = itertools.count()
        self._pool: Pool
        self.name = system.name

    async def start(self) -> None:
        """Start the application's processes and wait until they are ready."""
        system = self._system
        port, bridge = system.free_port(), system.free_port()
        store = system.url
        folder = system.setup.folder
        await system.start_services(
            {
                "gateway": (
                    "holdfast_gateway",
                    {
                        "HOLDFAST_GATEWAY_STORE_URL": store,
                        "HOLDFAST_GATEWAY_LISTEN": f"{HOST}:{port}",
                        "HOLDFAST_GATEWAY_BRIDGE_LISTEN": f"{HOST}:{bridge}",
                    },
                ),
                "worker": ("holdfast_worker", {"HOLDFAST_WORKER_STORE_URL": store}),
                "db": (
                    "holdfast_db",
                    {
                        "HOLDFAST_DB_STORE_URL": store,
                        "HOLDFAST_DB_DATABASE_URL": f"sqlite:///{folder / 'books.db'}",
                    },
                ),
            }
        )
        self._pool = Pool(HOST, port)

    def stop(self) -> None:
        """Let go of the connections."""
        self._pool.close()

    def pids(self) -> dict[str, int]:
        """Tell the processes."""
        return dict(self._system.pids())

    def check_alive(self) -> None:
        """Raise ProcessFailed if anything has ended."""
        self._system.check_alive()

    def pause(self) -> None:
        """Do nothing: an idle system is quiet."""

    def resume(self) -> None:
        """Do nothing."""

    def counts(self) -> BatchCounts:
        """Ask the store's metrics."""
        return self._system.counts()

    async def drive(self, workload: Workload, *, in_flight: int, effort: Effort) -> list[float]:
        """Place orders, and with W7b wait for each to be done."""
        # Others were measured meanwhile: a server closes connections that are quiet for seconds.
        self._pool.close()
        once = self._complete if workload == COMPLETED else self._accept
        return await drive(once, in_flight=in_flight, effort=effort)

    async def _accept(self) -> None:
        await self._place()

    async def _place(self) -> str:
        order_id = f"bench-{next(self._numbers)}"
        order = {
            "id": order_id,
            "items": [{"sku": "a", "qty": 1, "price": 100}],
            "customer": {"id": "c", "email": "c@example.com"},
        }
        async with self._pool.connection() as connection:
            answer = await connection.post("/orders", order)
        if answer.status != 202:
            raise WrongResult(f"order {order_id}: {answer.status} {answer.body!r}")
        return order_id

    async def _complete(self) -> None:
        order_id = await self._place()
        async with asyncio.timeout(RESULT_SECONDS_MAX):
            while not await self._is_done(order_id):  # noqa: ASYNC110 - polling is what W7b is
                await asyncio.sleep(POLL_S)

    async def _is_done(self, order_id: str) -> bool:
        async with self._pool.connection() as connection:
            answer = await connection.get(f"/orders/{order_id}/status")
        status = answer.json()["status"]
        if status not in {"processing", "done"}:
            raise WrongResult(f"order {order_id}: {answer.body!r}")
        return bool(status == "done")
