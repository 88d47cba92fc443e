"""The Orders application in its split form; the numbers are those of its failure modes."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.integration.apps.split import Split, address_of, ended

ONCE = {
    "validateOrder": 1,
    "reserveInventory": 1,
    "chargePayment": 1,
    "db.recordCharge": 1,
    "sendConfirmation": 1,
}


def order(order_id: str, **changes: object) -> dict[str, Any]:
    item = {"sku": "mug", "qty": 2, "price": 2999}
    customer = {"id": "c", "email": "ada@example.com"}
    return {"id": order_id, "items": [item], "customer": customer, **changes}


@pytest.fixture
def order_id() -> str:
    return f"ord-{uuid4().hex}"


async def post(http: httpx.AsyncClient, body: dict[str, Any]) -> None:
    assert (await http.post("/orders", json=body)).status_code == 202


async def done(split: Split, order_id: str) -> dict[str, Any]:
    """Wait for the end of an order, which must be a good one; return its row in the books."""
    status = await split.ended(f"/orders/{order_id}/status")
    assert (status["status"], status["result"]["total"]) == ("done", 5998)
    options = split.resonate.options(target="db")
    row: dict[str, Any] = await split.resonate.rpc(
        f"ask/{order_id}/{uuid4().hex}", "db.getOrder", order_id, options
    )
    return row


async def test_o1_the_same_order_again_and_again_runs_each_step_once(
    split: Split, order_id: str
) -> None:
    await post(split.http, order(order_id))
    await asyncio.gather(
        *(post(http, order(order_id)) for http in (split.http, split.elsewhere) for _ in range(4))
    )
    row = await done(split, order_id)
    await post(split.http, order(order_id))

    assert await done(split, order_id) == row
    assert split.entered(f"order/{order_id}") == ONCE


async def test_o2_crash_mode_reserves_twice_two_seconds_apart(split: Split, order_id: str) -> None:
    await post(split.strict, order(order_id))

    await done(split, order_id)
    assert split.entered(f"order/{order_id}") == {**ONCE, "reserveInventory": 2}
    first, second = (
        entry["at_ms"]
        for entry in split.entries(f"order/{order_id}")
        if entry["step"] == "reserveInventory"
    )
    assert second - first >= 2_000


async def test_o3_a_failing_charge_runs_steps_one_and_two_once(split: Split, order_id: str) -> None:
    split.cues.fail("chargePayment", f"order/{order_id}")

    await post(split.http, order(order_id))

    await done(split, order_id)
    assert split.entered(f"order/{order_id}") == {**ONCE, "chargePayment": 2}


async def test_o4_an_order_whose_worker_is_killed_while_it_charges_is_charged_once(
    split: Split, order_id: str
) -> None:
    origin = f"order/{order_id}"
    split.cues.hold("chargePayment", origin)
    await post(split.http, order(order_id))
    await split.begun(origin, "chargePayment")
    split.stage.dismiss()
    split.cues.let_go("chargePayment", origin)

    split.stage.hire()

    await done(split, order_id)
    assert split.entered(origin) == {**ONCE, "chargePayment": 2}


async def test_o4_an_order_whose_worker_is_killed_while_the_db_group_reserves_reserves_once(
    split: Split, order_id: str
) -> None:
    origin = f"order/{order_id}"
    split.cues.hold("reserveInventory", origin)
    await post(split.http, order(order_id))
    await split.begun(origin, "reserveInventory")
    split.stage.dismiss()
    split.cues.let_go("reserveInventory", origin)

    split.stage.hire()

    await done(split, order_id)
    assert split.entered(origin) == ONCE


async def test_o4_an_order_whose_db_worker_is_killed_while_it_reserves_is_reserved_by_another(
    split: Split, order_id: str
) -> None:
    origin = f"order/{order_id}"
    split.cues.hold("reserveInventory", origin)
    await post(split.http, order(order_id))
    await split.begun(origin, "reserveInventory")
    split.stage.dismiss_db()
    split.cues.let_go("reserveInventory", origin)

    split.stage.hire_db()

    row = await done(split, order_id)
    assert row["itemsReserved"] == 1
    assert split.entered(origin) == {**ONCE, "reserveInventory": 2}


async def test_o5_a_slow_step_does_not_slow_the_status(split: Split, order_id: str) -> None:
    split.cues.hold("chargePayment", f"order/{order_id}")
    await post(split.http, order(order_id))
    await split.begun(f"order/{order_id}", "chargePayment")

    answer = await split.http.get(f"/orders/{order_id}/status")

    assert answer.json() == {"status": "processing"}
    split.cues.let_go("chargePayment", f"order/{order_id}")
    await done(split, order_id)


async def test_o6_an_unknown_order_is_not_found(split: Split, order_id: str) -> None:
    answer = await split.http.get(f"/orders/{order_id}/status")

    assert (answer.status_code, answer.json()) == (404, {"status": "not_found"})


async def test_o7_an_order_of_nobody_is_rejected_at_the_first_attempt(
    split: Split, order_id: str
) -> None:
    await post(split.http, order(order_id, customer={}))

    status = await split.ended(f"/orders/{order_id}/status")

    assert status == {"status": "rejected", "error": "customer.id is missing"}
    assert split.entered(f"order/{order_id}") == {"validateOrder": 1}


async def test_o8_a_workflow_that_raises_is_rejected_and_not_unknown(
    split: Split, order_id: str
) -> None:
    """Started past the route, with what the route would have refused."""
    options = split.resonate.options(target="workers")
    odd = {"id": order_id}
    await split.resonate.begin_rpc(f"order/{order_id}", "processOrder", odd, options)

    status = await split.ended(f"/orders/{order_id}/status")

    assert status == {"status": "rejected", "error": "order needs id, customer and items"}


async def test_o9_another_gateway_than_the_one_that_was_killed_tells_the_same(
    split: Split, order_id: str
) -> None:
    gateway = split.stage.gateway()
    async with httpx.AsyncClient(base_url=await address_of(gateway)) as http:
        await post(http, order(order_id))
        before = await ended(http, f"/orders/{order_id}/status")
    gateway.kill()
    successor = split.stage.gateway()
    async with httpx.AsyncClient(base_url=await address_of(successor)) as http:
        after = (await http.get(f"/orders/{order_id}/status")).json()
    successor.kill()

    assert before["status"] == "done"
    assert after == before
