"""The Orders application in its embedded form; the numbers are those of its failure modes."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from holdfast_db.tables import charges, reservations
from holdfast_gateway.settings import GatewaySettings
from tests.integration.apps.embedded import System
from tests.integration.apps.world import World

LATE_SECONDS = 10
ONCE = {
    "validateOrder": 1,
    "reserveInventory": 1,
    "chargePayment": 1,
    "db.recordCharge": 1,
    "sendConfirmation": 1,
}


def order(order_id: str = "ord-123456", **changes: object) -> dict[str, Any]:
    return {
        "id": order_id,
        "items": [
            {"sku": "mug", "qty": 2, "price": 2999},
            {"sku": "pen", "qty": 1, "price": 999},
        ],
        "customer": {"id": "c-1", "email": "ada@example.com"},
        **changes,
    }


def result(order_id: str = "ord-123456", total: int = 6997) -> dict[str, Any]:
    return {
        "orderId": order_id,
        "inventoryReserved": True,
        "paymentCharged": True,
        "confirmationSent": True,
        "total": total,
    }


async def test_an_order_is_accepted_and_done(system: System, world: World) -> None:
    accepted = await system.http.post("/orders", json=order())

    assert accepted.status_code == 202
    assert accepted.json() == {
        "status": "accepted",
        "orderId": "ord-123456",
        "statusUrl": "/orders/ord-123456/status",
    }
    assert await system.outcome("order/ord-123456") == result()
    status = await system.http.get(accepted.json()["statusUrl"])
    assert status.status_code == 200
    assert status.json() == {"status": "done", "result": result()}
    [charge] = system.rows(charges)
    mail = "confirmation sent to ada@example.com"
    assert world.lines == [
        "[validate]   order ord-123456 — 2 item(s), total $69.97",
        "[inventory]  order ord-123456 — reserved 2 item(s)",
        f"[payment]    order ord-123456 — charged $69.97 → {charge.charge_id}",
        f"[email]      order ord-123456 — {mail} (charge: {charge.charge_id})",
    ]


async def test_o1_the_same_order_again_and_again_runs_each_step_once(
    system: System, world: World
) -> None:
    first = await system.http.post("/orders", json=order())
    concurrent = await asyncio.gather(
        *(system.http.post("/orders", json=order()) for _ in range(8))
    )
    await system.outcome("order/ord-123456")
    late = await system.http.post("/orders", json=order())

    assert {answer.status_code for answer in (first, *concurrent, late)} == {202}
    assert {answer.text for answer in (first, *concurrent, late)} == {first.text}
    assert world.counts() == ONCE
    assert len(system.rows(charges)) == 1


async def test_o2_crash_mode_reserves_twice_two_seconds_apart(tmp_path: Path, world: World) -> None:
    settings = GatewaySettings(orders_simulate_crash=True)
    async with System(tmp_path, world, settings=settings) as system:
        await system.http.post("/orders", json=order())

        assert await system.outcome("order/ord-123456") == result()
    first, second = (entry for entry in world.entries if entry.step == "reserveInventory")
    # Twice the pause and more would be another policy; a busy machine is late by less than that.
    assert 2 <= second.at_s - first.at_s < 2 + LATE_SECONDS
    assert world.counts() == {**ONCE, "reserveInventory": 2}
    assert "[inventory]  order ord-123456 — warehouse API timeout (attempt 1)" in world.lines
    assert "[inventory]  order ord-123456 — reserved 2 item(s) (attempt 2)" in world.lines


async def test_o3_a_failing_charge_runs_steps_one_and_two_once(
    system: System, world: World
) -> None:
    world.fail("chargePayment")

    await system.http.post("/orders", json=order())

    assert await system.outcome("order/ord-123456") == result()
    assert world.counts() == {**ONCE, "chargePayment": 2}


async def test_o4_a_restart_between_reservation_and_charge_repeats_nothing(
    system: System, world: World
) -> None:
    """Stops in the middle; the tests with real processes kill it instead."""
    world.fail("chargePayment", times=1)  # its retry waits for two seconds: time to stop
    await system.http.post("/orders", json=order())
    await world.entered("chargePayment")

    await system.restart()

    assert await system.outcome("order/ord-123456") == result()
    assert world.counts() == {**ONCE, "chargePayment": 2}
    assert len(system.rows(charges)) == 1
    assert len(system.rows(reservations)) == 1


async def test_o4_a_charge_that_is_repeated_after_its_row_was_written_charges_once(
    system: System, world: World
) -> None:
    """What a db worker leaves that dies between its commit and its checkpoint."""
    await system.http.post("/orders", json=order())
    await system.outcome("order/ord-123456")
    [before] = system.rows(charges)

    again = await system.resonate.rpc(
        "again",
        "db.recordCharge",
        "ord-123456",
        "ch_other",
        1,
        system.resonate.options(target="db"),
    )

    assert again == before.charge_id
    assert system.rows(charges) == [before]


async def test_o5_a_slow_step_does_not_slow_the_status(system: System, world: World) -> None:
    world.hold("chargePayment")
    await system.http.post("/orders", json=order())
    await world.entered("chargePayment")

    answer = await system.http.get("/orders/ord-123456/status")

    assert answer.json() == {"status": "processing"}
    world.let_go("chargePayment")
    assert await system.outcome("order/ord-123456") == result()


async def test_o6_an_unknown_order_is_not_found(system: System) -> None:
    answer = await system.http.get("/orders/ord-none/status")

    assert answer.status_code == 404
    assert answer.json() == {"status": "not_found"}


@pytest.mark.parametrize("customer", [{}, {"id": ""}, {"id": None}, {"email": "a@b"}])
async def test_o7_an_order_of_nobody_is_rejected_at_the_first_attempt(
    system: System, world: World, customer: dict[str, object]
) -> None:
    accepted = await system.http.post("/orders", json=order(customer=customer))

    await system.outcome("order/ord-123456")
    status = await system.http.get("/orders/ord-123456/status")
    assert accepted.status_code == 202
    assert status.status_code == 200
    assert status.json() == {"status": "rejected", "error": "customer.id is missing"}
    assert world.counts() == {"validateOrder": 1}


async def test_o8_a_workflow_that_raises_is_rejected_and_not_unknown(system: System) -> None:
    """Started past the route, with what the route would have refused."""
    options = system.resonate.options(target="workers")
    await system.resonate.begin_rpc("order/odd", "processOrder", {"id": "odd"}, options)

    await system.outcome("order/odd")
    status = await system.http.get("/orders/odd/status")

    assert status.status_code == 200
    assert status.json() == {
        "status": "rejected",
        "error": "order needs id, customer and items",
    }


async def test_o9_a_restart_of_the_gateway_changes_no_status(system: System) -> None:
    await system.http.post("/orders", json=order())
    await system.outcome("order/ord-123456")

    await system.restart()

    status = await system.http.get("/orders/ord-123456/status")
    assert status.json() == {"status": "done", "result": result()}


@pytest.mark.parametrize(
    "order_id", ["a b", "café ☕", "a/b", "a%2Fb", "a?b#c", "a" * 256, "v1.2b"]
)
async def test_any_id_can_be_followed_by_its_status_url(system: System, order_id: str) -> None:
    accepted = await system.http.post("/orders", json=order(order_id))

    assert accepted.status_code == 202
    assert await system.outcome(f"order/{order_id}") == result(order_id)
    status = await system.http.get(accepted.json()["statusUrl"])
    assert status.json()["result"]["orderId"] == order_id


async def test_steps_of_an_order_are_no_orders(system: System) -> None:
    await system.http.post("/orders", json=order())
    await system.outcome("order/ord-123456")

    status = await system.http.get("/orders/ord-123456.1/status")
    posted = await system.http.post("/orders", json=order("ord-123456.1"))

    assert status.status_code == 404
    assert posted.status_code == 400
    assert "must not end in a dot and a number" in posted.json()["detail"]


async def test_the_same_id_with_another_body_is_answered_with_the_first_order(
    system: System,
) -> None:
    await system.http.post("/orders", json=order())
    await system.outcome("order/ord-123456")

    other = order(items=[{"sku": "mug", "qty": 1, "price": 1}])
    accepted = await system.http.post("/orders", json=other)

    assert accepted.status_code == 202
    status = await system.http.get("/orders/ord-123456/status")
    assert status.json()["result"]["total"] == 6997


async def test_the_same_id_with_another_body_is_refused_when_asked_for(
    tmp_path: Path, world: World
) -> None:
    settings = GatewaySettings(orders_refuse_conflicts=True)
    async with System(tmp_path, world, settings=settings) as system:
        first = await system.http.post("/orders", json=order())
        same = await system.http.post("/orders", json=order())
        other = await system.http.post("/orders", json=order(customer={"id": "c-2"}))
        await system.outcome("order/ord-123456")

    assert (first.status_code, same.status_code, other.status_code) == (202, 202, 409)
    assert other.json()["code"] == "idempotency_conflict"


async def test_what_the_books_know_of_an_order_can_be_asked(system: System) -> None:
    await system.http.post("/orders", json=order())
    await system.outcome("order/ord-123456")
    [charge] = system.rows(charges)
    to_db = system.resonate.options(target="db")

    known = await system.resonate.rpc("ask/1", "db.getOrder", "ord-123456", to_db)

    assert known == {
        "orderId": "ord-123456",
        "itemsReserved": 2,
        "chargeId": charge.charge_id,
        "total": 6997,
    }
    await system.resonate.begin_rpc("ask/2", "db.getOrder", "ord-none", to_db)
    assert "ord-none does not exist" in str(await system.outcome("ask/2"))
