"""The shop in its embedded form, both variants; the numbers are those of its failure modes."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from holdfast import Resonate
from holdfast_db.tables import purchases
from holdfast_gateway.app import create_app
from holdfast_gateway.settings import GatewaySettings
from holdfast_worker.apps import shop, shop_bus
from tests.integration.apps.embedded import SECONDS_MAX, System, client_of
from tests.integration.apps.world import World

LATE_SECONDS = 20  # by which a busy machine may miss an instant, and not a window of minutes
WINDOW_MS = 400  # long enough for a test to act in, short enough to wait for
CONFIRMED = {"checkoutItem": 1, "db.createOrder": 1}
CANCELLED = {"cancelledPurchase": 1, "db.releaseItem": 1}


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let windows be short."""
    for module in (shop, shop_bus):
        monkeypatch.setattr(module, "WINDOW_MS", WINDOW_MS)


@pytest.fixture
def long_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let windows be open for longer than any test lasts: what ends them is a cancellation."""
    for module in (shop, shop_bus):
        monkeypatch.setattr(module, "WINDOW_MS", 600_000)


@pytest.fixture(params=["durable", "bus"])
async def either(
    request: pytest.FixtureRequest, tmp_path: Path, world: World
) -> AsyncIterator[System]:
    """Run the system with one variant of the shop, then with the other."""
    async with System(tmp_path, world, shop=request.param) as system:
        yield system


async def buy(system: System, key: str = "buy-1", **body: str) -> None:
    answer = await system.http.post(f"/buy/{key}", json=body)
    assert answer.status_code == 200
    assert answer.json() == {"status": "pending", "key": key}


async def cancel(system: System, key: str = "buy-1") -> None:
    answer = await system.http.post(f"/cancel/{key}")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok"}


async def status(system: System, key: str = "buy-1") -> dict[str, Any]:
    answer = await system.http.get(f"/status/{key}")
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


async def window_open(system: System, world: World, key: str = "buy-1") -> None:
    """Return when the workflow waits."""
    if system.shop == "bus":
        await world.entered("waitForCancelOrTimeout")
        async with asyncio.timeout(SECONDS_MAX):
            while key not in system.bus._waiting:  # noqa: ASYNC110 - it waits on its own thread
                await asyncio.sleep(0.01)
    else:
        await system.awaited(f"cancel/{key}")


@pytest.mark.usefixtures("window")
async def test_a_purchase_that_nobody_cancels_is_confirmed(either: System, world: World) -> None:
    await buy(either, itemId="mug-7")
    pending = await status(either)

    await either.outcome("checkout/buy-1")

    done = await status(either)
    assert pending == {"status": "pending"}
    order_id = done["result"].pop("orderId")
    assert done == {"status": "done", "result": {"state": "PURCHASE_CONFIRMED", "itemId": "mug-7"}}
    assert re.fullmatch(r"order-[0-9]{13}", order_id)
    [row] = either.rows(purchases)
    assert (row.key, row.item_id, row.order_id) == ("buy-1", "mug-7", order_id)
    assert world.lines == [
        "[checkout]  Processing item: mug-7",
        f"[checkout]  Order created: {order_id}",
    ]


@pytest.mark.usefixtures("long_window")
async def test_b7_a_purchase_that_is_cancelled_in_time_is_cancelled_at_once(
    either: System, world: World
) -> None:
    await buy(either)
    await window_open(either, world)

    await cancel(either)

    await either.outcome("checkout/buy-1")
    assert await status(either) == {
        "status": "done",
        "result": {"state": "PURCHASE_CANCELLED", "itemId": "widget-001"},
    }
    assert world.lines == ["[checkout]  Purchase cancelled for item: widget-001"]
    assert world.times("checkoutItem") == 0
    [row] = either.rows(purchases)
    assert (row.key, row.order_id) == ("buy-1", None)


async def test_b11_a_purchase_is_confirmed_when_its_five_seconds_are_over(either: System) -> None:
    began = time.monotonic()
    await buy(either)

    await either.outcome("checkout/buy-1")

    assert 5.0 <= time.monotonic() - began < 5 + LATE_SECONDS
    assert (await status(either))["result"]["state"] == "PURCHASE_CONFIRMED"


@pytest.mark.usefixtures("window")
async def test_b1_durable_a_restart_in_the_window_keeps_its_deadline(
    system: System, world: World
) -> None:
    await buy(system)
    await system.awaited("checkout/buy-1.1")
    deadline_ms = (await system.resonate.promises.get("checkout/buy-1.1")).timeout_at_ms

    await system.restart()

    await system.outcome("checkout/buy-1")
    assert (await system.resonate.promises.get("checkout/buy-1.1")).timeout_at_ms == deadline_ms
    assert (await status(system))["result"]["state"] == "PURCHASE_CONFIRMED"
    assert world.counts() == CONFIRMED


@pytest.mark.usefixtures("window")
async def test_b1_bus_a_restart_in_the_window_opens_it_anew(tmp_path: Path, world: World) -> None:
    async with System(tmp_path, world, shop="bus") as system:
        world.hold("waitForCancelOrTimeout")
        await buy(system)
        await world.entered("waitForCancelOrTimeout")
        restart = asyncio.create_task(system.restart())
        world.let_go("waitForCancelOrTimeout")
        await restart

        await system.outcome("checkout/buy-1")

        assert (await status(system))["result"]["state"] == "PURCHASE_CONFIRMED"
    assert world.times("checkoutItem") == 1
    assert len(system.rows(purchases)) == 1


@pytest.mark.usefixtures("long_window")
async def test_b2_what_was_decided_is_not_asked_again(either: System, world: World) -> None:
    world.fail("cancelledPurchase")  # its retry waits for two seconds: time to stop
    await buy(either)
    await window_open(either, world)
    await cancel(either)
    await world.entered("cancelledPurchase")

    await either.restart()

    await either.outcome("checkout/buy-1")
    assert (await status(either))["result"]["state"] == "PURCHASE_CANCELLED"
    assert world.times("waitForCancelOrTimeout") == (1 if either.shop == "bus" else 0)
    assert world.times("checkoutItem") == 0


@pytest.mark.usefixtures("window")
async def test_b3_an_order_that_was_made_is_not_made_again(either: System, world: World) -> None:
    world.fail("db.createOrder")
    await buy(either)
    await world.entered("db.createOrder")
    [created] = [line for line in world.lines if "Order created" in line]

    await either.restart()

    await either.outcome("checkout/buy-1")
    order_id = (await status(either))["result"]["orderId"]
    assert created == f"[checkout]  Order created: {order_id}"
    assert world.times("checkoutItem") == 1


@pytest.mark.usefixtures("window")
async def test_b4_the_first_item_of_a_key_wins(either: System, world: World) -> None:
    await buy(either, itemId="first")
    await asyncio.gather(*(buy(either, itemId=f"other-{number}") for number in range(5)))

    await either.outcome("checkout/buy-1")

    assert (await status(either))["result"]["itemId"] == "first"
    assert world.times("checkoutItem") == 1
    assert len(either.rows(purchases)) == 1


@pytest.mark.usefixtures("window")
async def test_b5_a_cancellation_after_the_window_changes_nothing(
    either: System, world: World
) -> None:
    world.hold("checkoutItem")
    await buy(either)
    await world.entered("checkoutItem")

    await cancel(either)  # the window is over, and the workflow is not

    world.let_go("checkoutItem")
    await either.outcome("checkout/buy-1")
    confirmed = await status(either)
    await cancel(either)
    assert confirmed["result"]["state"] == "PURCHASE_CONFIRMED"
    assert await status(either) == confirmed


async def test_b6_an_unknown_purchase_is_not_found(either: System) -> None:
    answer = await either.http.get("/status/nobody")

    assert answer.status_code == 404
    assert answer.json() == {"status": "not_found"}


@pytest.mark.usefixtures("long_window")
async def test_b8_a_cancelled_key_stays_cancelled(either: System, world: World) -> None:
    await buy(either)
    await window_open(either, world)
    await cancel(either)
    await either.outcome("checkout/buy-1")

    await buy(either)

    assert (await status(either))["result"]["state"] == "PURCHASE_CANCELLED"
    assert world.times("cancelledPurchase") == 1


@pytest.mark.usefixtures("window")
async def test_b9_a_cancellation_before_its_purchase_is_ignored(either: System) -> None:
    await cancel(either)
    await buy(either)

    await either.outcome("checkout/buy-1")

    assert (await status(either))["result"]["state"] == "PURCHASE_CONFIRMED"


@pytest.mark.usefixtures("long_window")
async def test_a_cancellation_that_is_faster_than_the_worker_counts(
    system: System, world: World
) -> None:
    """The purchase is stored, and no worker has come to its window yet."""
    await system.restart(groups=(), group="nobody")
    await buy(system)
    await cancel(system)

    await system.restart()

    await system.outcome("checkout/buy-1")
    assert (await status(system))["result"]["state"] == "PURCHASE_CANCELLED"
    assert world.counts() == CANCELLED


@pytest.mark.usefixtures("long_window")
async def test_b10_a_purchase_can_be_cancelled_at_another_gateway(
    system: System, world: World
) -> None:
    """The processes of two gateways have nothing in common but the store; neither have these."""
    other: Any = create_app(GatewaySettings(), system.resonate)
    await buy(system)
    await window_open(system, world)

    async with client_of(other) as http:
        await http.post("/cancel/buy-1")

    await system.outcome("checkout/buy-1")
    assert (await status(system))["result"]["state"] == "PURCHASE_CANCELLED"


@pytest.mark.usefixtures("window")
@pytest.mark.parametrize("key", ["a%20b", "caf%C3%A9", "a%2Fb", "a%3Fb", "a" * 256])
async def test_any_key_can_be_bought_and_followed(system: System, key: str) -> None:
    answer = await system.http.post(f"/buy/{key}")
    await system.outcome(f"checkout/{answer.json()['key']}")

    assert (await status(system, key))["status"] == "done"


@pytest.mark.parametrize("key", ["x.0", "a%00b", "a" * 257, "%2E%2E"])
async def test_a_key_that_cannot_be_is_refused(system: System, world: World, key: str) -> None:
    bought = await system.http.post(f"/buy/{key}")
    cancelled = await system.http.post(f"/cancel/{key}")
    found = await system.http.get(f"/status/{key}")

    assert bought.status_code == 400
    assert bought.json()["code"] == "invalid_body"
    assert (cancelled.status_code, found.status_code) == (200, 404)
    assert world.entries == []


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'{"itemId":7}',
        b'{"itemId":""}',
        b'{"itemId":null}',
        b"7",
        b"{",
        b'{"itemId":"\\u0000"}',
    ],
)
async def test_a_purchase_that_does_not_fit_buys_nothing(system: System, body: bytes) -> None:
    headers = {"content-type": "application/json"}

    answer = await system.http.post("/buy/buy-1", content=body, headers=headers)

    assert answer.status_code == 400
    assert (await system.http.get("/status/buy-1")).status_code == 404


@pytest.mark.usefixtures("long_window")
async def test_steps_of_a_purchase_are_no_purchases(system: System, world: World) -> None:
    await buy(system)
    await window_open(system, world)

    answer = await system.http.get("/status/buy-1.1")

    assert answer.status_code == 404
    await cancel(system)
    await system.outcome("checkout/buy-1")


async def test_a_purchase_is_not_decided_both_ways(system: System) -> None:
    options = system.resonate.options(target="db")
    resonate: Resonate = system.resonate

    first = await resonate.rpc("a", "db.createOrder", "buy-1", "mug", "order-1", options)
    again = await resonate.rpc("b", "db.createOrder", "buy-1", "mug", "order-2", options)
    with pytest.raises(Exception, match="decided the other way"):
        await resonate.rpc("c", "db.releaseItem", "buy-1", "mug", options)

    assert (first, again) == ("order-1", "order-1")
    assert len(system.rows(purchases)) == 1
