"""The applications in their split form, on SQLite and on PostgreSQL: processes are killed for real.

Store, two gateways and the db worker are those of the module; each test starts its own workers, and
they end with it.
"""

import asyncio
import csv
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from holdfast import PromiseNotFound, Resonate
from tests.integration.apps.processes import PORT_0, SECONDS_MAX, Process, get_until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

SLOW = {"DELAY_FACTOR": "20", "STEP_DELAY_MS": "600000"}  # a step lasts until its process is killed
FAST = {"DELAY_FACTOR": "0"}


@dataclass
class Split:
    """What all tests of the module share."""

    store_url: str
    gateways: list[httpx.AsyncClient]
    resonate: Resonate
    journal: Path

    @property
    def http(self) -> httpx.AsyncClient:
        return self.gateways[0]

    def entered(self, *origins: str) -> Counter[str]:
        """How often each step of a workflow was entered, in all processes together."""
        return Counter(entry["step"] for entry in self.entries() if entry["origin"] in origins)

    def entries(self) -> list[dict[str, Any]]:
        if not self.journal.exists():
            return []
        *lines, _being_written = self.journal.read_text().split("\n")
        return [json.loads(line) for line in lines]

    async def begun(self, origin: str, step: str) -> None:
        """Return when a step of a workflow has been entered."""
        async with asyncio.timeout(SECONDS_MAX):
            while True:
                if self.entered(origin)[step]:
                    return
                await asyncio.sleep(0.02)

    async def awaited(self, promise_id: str) -> Any:
        """Return a promise once it exists."""
        async with asyncio.timeout(SECONDS_MAX):
            while True:
                try:
                    return await self.resonate.promises.get(promise_id)
                except PromiseNotFound:
                    await asyncio.sleep(0.02)

    async def ended(self, url: str) -> dict[str, Any]:
        """Return the answer that is neither pending nor processing any more."""
        answer = await get_until(
            self.http, url, lambda answer: answer.json()["status"] not in {"pending", "processing"}
        )
        body: dict[str, Any] = answer.json()
        return body


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=["sqlite", "postgres"])
async def split(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Split]:
    directory = tmp_path_factory.mktemp("split")
    store_database = f"sqlite:///{directory}/store.db"
    application_database = f"sqlite:///{directory}/app.db"
    if request.param == "postgres":
        server = request.getfixturevalue("postgres_server")
        store_database, application_database = server.empty_database(), server.bare_database()
    journal = directory / "attempts.jsonl"
    async with AsyncExitStack() as stack:

        def start(service: str, **settings: str) -> Process:
            process = Process(service, directory, **settings)
            stack.callback(process.kill)
            return process

        store = start("store", LISTEN=PORT_0, DATABASE_URL=store_database)
        await store.ready()
        url = f"grpc://{(await store.logged('store_listening'))['address']}"
        start(
            "db",
            STORE_URL=url,
            DATABASE_URL=application_database,
            ATTEMPTS_FILE=str(journal),
            DELAY_FACTOR="0",
        )
        listens = {"LISTEN": PORT_0, "BRIDGE_LISTEN": PORT_0}
        gateways = [start("gateway", STORE_URL=url, **listens) for _ in range(2)]
        clients = []
        for gateway in gateways:
            await gateway.ready()
            address = (await gateway.logged("gateway_started"))["address"]
            client = httpx.AsyncClient(base_url=f"http://{address}", timeout=SECONDS_MAX)
            clients.append(await stack.enter_async_context(client))
        resonate = await stack.enter_async_context(Resonate(url, env={}))
        yield Split(url, clients, resonate, journal)


Hire = Callable[..., Process]


@pytest.fixture
def hire(split: Split, tmp_path: Path) -> Iterator[Hire]:
    """Start workers that write to the journal, and end them with the test."""
    with ExitStack() as stack:

        def hire(**settings: str) -> Process:
            common = {"LEASE_TTL_MS": "1000", "ATTEMPTS_FILE": str(split.journal)}
            worker = Process("worker", tmp_path, STORE_URL=split.store_url, **common, **settings)
            stack.callback(worker.kill)
            return worker

        yield hire


async def test_r5_a_report_whose_worker_is_killed_after_the_query_repeats_no_step(
    split: Split, hire: Hire
) -> None:
    """R7 as well: another gateway than the one that took the form tells the status."""
    first = hire(DELAY_FACTOR="1")
    answer = await split.http.post("/api/reports", data={"type": "sales"})
    report_id = answer.json()["id"]
    file = f"file/reports/{report_id}.csv"  # a step with an id of its own is an origin, too
    await split.begun(file, "generateFile")
    first.kill()

    hire(**FAST)

    done = await split.ended(f"/api/status/{report_id}")
    elsewhere = await split.gateways[1].get(f"/api/status/{report_id}")
    assert elsewhere.json() == done
    assert split.entered(f"report/{report_id}", file) == {
        "validateRequest": 1,
        "db.queryWarehouse": 1,
        "generateFile": 2,
        "notifyUser": 1,
    }
    text = (await split.gateways[1].get(done["result"]["fileUrl"])).text
    [row] = csv.DictReader(text.splitlines())
    assert int(row["rows"]) == done["result"]["rowCount"]


async def test_r1_and_r2_the_form_and_the_status_do_not_wait_for_a_worker(split: Split) -> None:
    """There is none."""
    async with asyncio.timeout(5):
        answer = await split.http.post("/api/reports", data={"type": "sales"})
        status = await split.http.get(f"/api/status/{answer.json()['id']}")

    assert (answer.status_code, status.json()) == (200, {"status": "processing"})


async def test_o4_an_order_whose_worker_is_killed_while_it_charges_is_charged_once(
    split: Split, hire: Hire
) -> None:
    first = hire(STEP_DELAY_MS="1500")
    order = {
        "id": "o4",
        "items": [{"sku": "mug", "qty": 2, "price": 2999}],
        "customer": {"id": "c", "email": "ada@example.com"},
    }
    await split.http.post("/orders", json=order)
    await split.begun("order/o4", "chargePayment")
    first.kill()

    hire()

    done = await split.ended("/orders/o4/status")
    assert (done["status"], done["result"]["total"]) == ("done", 5998)
    assert split.entered("order/o4") == {
        "validateOrder": 1,
        "reserveInventory": 1,
        "chargePayment": 2,
        "db.recordCharge": 1,
        "sendConfirmation": 1,
    }


async def test_j4_a_job_whose_worker_is_killed_while_it_waits_goes_on_when_it_is_approved(
    split: Split, hire: Hire
) -> None:
    first = hire()
    job = (await split.http.post("/jobs", json={"accountId": "acct-7"})).json()["id"]
    await split.awaited(f"approve/{job}")
    first.kill()
    body = {"promiseId": f"approve/{job}", "approved": True}
    approved = await split.gateways[1].post("/webhooks/approval", json=body)

    hire()

    done = await split.ended(f"/jobs/{job}")
    assert approved.status_code == 204
    assert done["result"]["result"]["balance"] == 7_000
    assert split.entered(job) == {"db.getAccount": 1, "processAccount": 1, "db.saveResult": 1}


async def test_a1_what_a_killed_worker_was_doing_is_done_by_another(
    split: Split, hire: Hire
) -> None:
    first = hire(**SLOW)
    await split.http.post("/begin?id=a1", json={"n": 1})
    await split.begun("a1", "foo")
    first.kill()

    hire()

    ended = await split.ended("/wait?id=a1")
    assert (ended["status"], ended["result"]["result"]) == ("resolved", 'Processed: {"n":1}')
    assert split.entered("a1") == {"foo": 2}


async def test_a4_twenty_waits_for_a_slow_function_are_pending_at_once(
    split: Split, hire: Hire
) -> None:
    hire(**SLOW)
    await split.http.post("/begin?id=a4")
    await split.begun("a4", "foo")

    async with asyncio.timeout(5):
        answers = [await split.http.get("/wait?id=a4") for _ in range(20)]

    assert {answer.json()["status"] for answer in answers} == {"pending"}


async def test_a7_what_waits_for_a_worker_is_done_as_soon_as_one_connects(
    split: Split, hire: Hire
) -> None:
    await split.http.post("/begin?id=a7")
    waiting = await split.http.get("/wait?id=a7")

    worker = hire()

    await worker.ready()
    began = time.monotonic()
    ended = await split.ended("/wait?id=a7")
    assert waiting.json()["status"] == "pending"
    assert ended["status"] == "resolved"
    assert time.monotonic() - began < 10  # and not after the thirty seconds of a blind retry


async def test_a8_two_workers_share_fifty_calls_and_each_is_done_once(
    split: Split, hire: Hire
) -> None:
    workers = [hire(MAX_CONCURRENCY="2", STEP_DELAY_MS="50") for _ in range(2)]
    for worker in workers:
        await worker.ready()
    ids = [f"a8-{number}" for number in range(50)]

    await asyncio.gather(*(split.http.post("/begin", params={"id": each}) for each in ids))
    ended = [await split.ended(f"/wait?id={each}") for each in ids]

    assert {each["status"] for each in ended} == {"resolved"}
    entries = [entry for entry in split.entries() if entry["id"] in ids]
    assert sorted(entry["id"] for entry in entries) == sorted(ids)
    assert {entry["os_pid"] for entry in entries} == {worker.popen.pid for worker in workers}


async def test_b1_a_window_outlives_its_worker_with_its_deadline(split: Split, hire: Hire) -> None:
    first = hire(**FAST)
    await split.http.post("/buy/b1")
    timer = await split.awaited("checkout/b1.1")
    first.kill()

    hire(**FAST)

    done = await split.ended("/status/b1")
    after = await split.resonate.promises.get("checkout/b1.1")
    assert done["result"]["state"] == "PURCHASE_CONFIRMED"
    assert after.timeout_at_ms == timer.timeout_at_ms
    assert split.entered("checkout/b1") == {"checkoutItem": 1, "db.createOrder": 1}


async def test_b2_a_decision_is_not_asked_again_when_its_worker_is_killed(
    split: Split, hire: Hire
) -> None:
    """B10 as well: it is cancelled at another gateway than the one where it was bought."""
    first = hire(**SLOW)
    await split.gateways[0].post("/buy/b2")
    await split.awaited("cancel/b2")
    await split.gateways[1].post("/cancel/b2")
    await split.begun("checkout/b2", "cancelledPurchase")
    first.kill()

    hire(**FAST)

    done = await split.ended("/status/b2")
    assert done["result"] == {"state": "PURCHASE_CANCELLED", "itemId": "widget-001"}
    assert split.entered("checkout/b2") == {"cancelledPurchase": 2, "db.releaseItem": 1}


async def test_b3_an_order_that_was_made_is_not_made_again_when_its_worker_is_killed(
    split: Split, hire: Hire
) -> None:
    first = hire(**FAST)
    await split.http.post("/buy/b3")
    await split.begun("checkout/b3", "db.createOrder")  # so that checkoutItem is over
    first.kill()

    hire(**FAST)

    done = await split.ended("/status/b3")
    created = [e["event"] for e in first.events() if "Order created" in e["event"]]
    assert created == [f"[checkout]  Order created: {done['result']['orderId']}"]
    assert split.entered("checkout/b3") == {"checkoutItem": 1, "db.createOrder": 1}
