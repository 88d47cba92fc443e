"""Work of every kind, faults included, for as long as the tests look."""

import asyncio
import itertools
import threading
from typing import Any, Final

import httpx

from holdfast import Resonate
from holdfast.core.records import TARGET
from holdfast.rpc.admin import Admin
from tests.integration.monitoring.cluster import change_its_mind, operated
from tests.integration.monitoring.system import DOOMED, System

WORKERS: Final = "poll://any@workers"
BURST: Final = 600
"""More operations at once than the store's queue holds."""


class Load:
    """A thread that sends requests until it is stopped; a failure of its own is raised then."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="load")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; raise what made it end before."""
        self._stopping.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            asyncio.run(self._work())
        except BaseException as failure:  # noqa: BLE001 - raised on the test's thread
            self._failure = failure

    async def _work(self) -> None:
        async with (
            httpx.AsyncClient(
                base_url=self._system.gateway_url, trust_env=False, timeout=30
            ) as http,
            Resonate(self._system.store_url, env={}, accept_tasks=False) as resonate,
            operated(self._system) as cluster,
        ):
            await self._lose_a_process(resonate)
            await resonate.schedules.create("tick", "* * * * * *", target=DOOMED, timeout=60)
            for number in itertools.count():
                if self._stopping.is_set():
                    return
                await self._round(http, resonate, number)
                await change_its_mind(cluster, number)

    async def _lose_a_process(self, resonate: Resonate) -> None:
        """Kill a process that holds a task: its lease is lost."""
        order = order_of("doomed")
        options = resonate.options(target=f"poll://any@{DOOMED}")
        await resonate.begin_rpc("order/doomed", "processOrder", order, options)
        async with Admin(self._system.store_url) as admin:
            while not (await admin.get_queues([DOOMED]))[0].running:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.1)
        self._system.kill("doomed")

    async def _round(self, http: httpx.AsyncClient, resonate: Resonate, number: int) -> None:
        await self._orders_and_jobs(http, number)
        await self._callers_mistakes(http)
        await self._faults(http, resonate, number)

    async def _orders_and_jobs(self, http: httpx.AsyncClient, number: int) -> None:
        """Start work of each kind, and wait a moment for the jobs."""
        # The customer without an id is refused by the workflow, and one of the approvals comes too
        # late: it never comes.
        orders = [order_of(str(number)), order_of(f"bad-{number}", customer={})]
        jobs = [{"accountId": "acct-1", "approvalTimeoutMs": 50}, {"accountId": "acct-1"}]
        answers = [await http.post("/orders", json=order) for order in orders]
        answers += [await http.post("/jobs", json=job) for job in jobs]
        # On a busy machine the store may take longer than the second that the gateway gives it.
        assert {answer.status_code for answer in answers} <= {202, 503}, [a.text for a in answers]
        for answer in answers:
            if answer.is_success and "id" in answer.json():
                await http.get(f"/jobs/{answer.json()['id']}", params={"wait": "0.3"})

    async def _callers_mistakes(self, http: httpx.AsyncClient) -> None:
        assert (await http.get("/orders/nobody/status")).status_code in {404, 503}
        assert (await http.get("/no/such/route")).status_code == 404

    async def _faults(self, http: httpx.AsyncClient, resonate: Resonate, number: int) -> None:
        with self._system.database_away():
            failed = await http.get("/orders/nobody/status")
        assert failed.status_code == 503, failed.text
        await resonate.promises.create(
            f"unknown/{number}",
            data={"func": "no.such.function", "args": []},
            tags={TARGET: WORKERS},
        )
        reads = (resonate.promises.get(f"absent/{n}") for n in range(BURST))
        await asyncio.gather(*reads, return_exceptions=True)


def order_of(name: str, customer: Any = None) -> dict[str, Any]:
    """Make an order; one of a customer without an id is rejected by the workflow."""
    return {
        "id": name,
        "items": [{"sku": "mug", "qty": 1, "price": 5}],
        "customer": {"id": "c", "email": "ada@example.com"} if customer is None else customer,
    }
