"""The shop in its split form, its durable variant; the numbers are those of its failure modes."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.integration.apps import plain_asgi
from tests.integration.apps.embedded import client_of
from tests.integration.apps.rehearsal import LONG, SHORT
from tests.integration.apps.split import Split

CONFIRMED = {"checkoutItem": 1, "db.createOrder": 1}
CANCELLED = {"cancelledPurchase": 1, "db.releaseItem": 1}


@pytest.fixture
def long_key() -> str:
    """Name a purchase whose window is open for as long as a slow machine may need."""
    return f"{LONG}{uuid4().hex}"


@pytest.fixture
def short_key() -> str:
    """Name a purchase whose window is over soon."""
    return f"{SHORT}{uuid4().hex}"


@pytest.fixture
def real_key() -> str:
    """Name a purchase whose window is that of the application."""
    return f"real-{uuid4().hex}"


async def buy(http: httpx.AsyncClient, key: str, item: str = "widget-001") -> None:
    answer = await http.post(f"/buy/{key}", json={"itemId": item})
    assert answer.json() == {"status": "pending", "key": key}


async def cancel(http: httpx.AsyncClient, key: str) -> None:
    answer = await http.post(f"/cancel/{key}")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def result(split: Split, key: str) -> dict[str, Any]:
    found: dict[str, Any] = (await split.ended(f"/status/{key}"))["result"]
    return found


async def test_b1_a_window_outlives_its_worker_with_its_deadline(
    split: Split, real_key: str
) -> None:
    await buy(split.http, real_key)
    timer = await split.awaited(f"checkout/{real_key}.1")
    split.stage.dismiss()

    split.stage.hire()

    assert (await result(split, real_key))["state"] == "PURCHASE_CONFIRMED"
    after = await split.resonate.promises.get(f"checkout/{real_key}.1")
    assert after.timeout_at_ms == timer.timeout_at_ms
    assert split.entered(f"checkout/{real_key}") == CONFIRMED


async def test_b2_a_decision_is_not_asked_again_when_its_worker_is_killed(
    split: Split, long_key: str
) -> None:
    split.cues.hold("cancelledPurchase")
    await buy(split.http, long_key)
    await split.awaited(f"cancel/{long_key}")
    await cancel(split.http, long_key)
    await split.begun(f"checkout/{long_key}", "cancelledPurchase")
    split.stage.dismiss()
    split.cues.let_go("cancelledPurchase")

    split.stage.hire()

    found = await result(split, long_key)
    assert found == {"state": "PURCHASE_CANCELLED", "itemId": "widget-001"}
    assert split.entered(f"checkout/{long_key}") == {**CANCELLED, "cancelledPurchase": 2}


async def test_b3_an_order_that_was_made_is_not_made_again_when_its_worker_is_killed(
    split: Split, short_key: str
) -> None:
    split.cues.hold("db.createOrder")
    await buy(split.http, short_key)
    await split.begun(f"checkout/{short_key}", "db.createOrder")  # so that checkoutItem is over
    [worker] = split.stage.workers
    split.stage.dismiss()
    split.cues.let_go("db.createOrder")

    split.stage.hire()

    order_id = (await result(split, short_key))["orderId"]
    created = [e["event"] for e in worker.events() if order_id in e["event"]]
    assert created == [f"[checkout]  Order created: {order_id}"]
    assert split.entered(f"checkout/{short_key}") == CONFIRMED


async def test_b4_the_first_item_of_a_key_wins(split: Split, short_key: str) -> None:
    await buy(split.http, short_key, "first")
    await asyncio.gather(
        *(buy(http, short_key, "other") for http in (split.http, split.elsewhere) for _ in range(3))
    )

    assert (await result(split, short_key))["itemId"] == "first"
    assert split.entered(f"checkout/{short_key}") == CONFIRMED


async def test_b5_a_cancellation_after_the_window_changes_nothing(
    split: Split, short_key: str
) -> None:
    origin = f"checkout/{short_key}"
    split.cues.hold("checkoutItem", origin)
    await buy(split.http, short_key)
    await split.begun(origin, "checkoutItem")

    await cancel(split.http, short_key)  # the window is over, and the workflow is not

    split.cues.let_go("checkoutItem", origin)
    confirmed = await result(split, short_key)
    await cancel(split.http, short_key)
    assert confirmed["state"] == "PURCHASE_CONFIRMED"
    assert await result(split, short_key) == confirmed


async def test_b6_an_unknown_purchase_is_not_found(split: Split, long_key: str) -> None:
    answer = await split.http.get(f"/status/{long_key}")

    assert (answer.status_code, answer.json()) == (404, {"status": "not_found"})


async def test_b7_a_purchase_that_is_cancelled_in_time_is_cancelled_at_once(
    split: Split, long_key: str
) -> None:
    """Its window has a minute, for which the test does not wait."""
    await buy(split.http, long_key)
    await split.awaited(f"cancel/{long_key}")

    await cancel(split.http, long_key)

    found = await result(split, long_key)
    assert found == {"state": "PURCHASE_CANCELLED", "itemId": "widget-001"}
    assert split.entered(f"checkout/{long_key}") == CANCELLED


async def test_b8_a_cancelled_key_stays_cancelled(split: Split, long_key: str) -> None:
    await buy(split.http, long_key)
    await cancel(split.http, long_key)
    before = await result(split, long_key)

    await buy(split.http, long_key)

    assert await result(split, long_key) == before
    assert before["state"] == "PURCHASE_CANCELLED"
    assert split.entered(f"checkout/{long_key}") == CANCELLED


async def test_b9_a_cancellation_before_its_purchase_is_ignored(
    split: Split, short_key: str
) -> None:
    await cancel(split.http, short_key)
    await buy(split.http, short_key)

    assert (await result(split, short_key))["state"] == "PURCHASE_CONFIRMED"


async def test_b10_a_purchase_can_be_cancelled_at_another_gateway(
    split: Split, long_key: str
) -> None:
    await buy(split.http, long_key)

    await cancel(split.elsewhere, long_key)

    assert (await result(split, long_key))["state"] == "PURCHASE_CANCELLED"


async def test_b11_a_purchase_is_confirmed_when_its_five_seconds_are_over(
    split: Split, real_key: str
) -> None:
    """By the store's clock, which is the same for all instants."""
    await buy(split.http, real_key)

    found = await result(split, real_key)

    purchase = await split.resonate.promises.get(f"checkout/{real_key}")
    timer = await split.resonate.promises.get(f"checkout/{real_key}.1")
    assert found["state"] == "PURCHASE_CONFIRMED"
    assert purchase.settled_at_ms is not None
    assert timer.timeout_at_ms - timer.created_at_ms <= 5_000
    assert purchase.created_at_ms + 4_900 <= timer.timeout_at_ms <= purchase.settled_at_ms


async def test_x2_the_workflow_of_the_shop_runs_behind_a_plain_asgi_function(
    split: Split, long_key: str
) -> None:
    async with client_of(plain_asgi.shop(split.resonate)) as http:
        await buy(http, long_key)
        await split.awaited(f"cancel/{long_key}")
        await cancel(http, long_key)
        await result(split, long_key)
        done = await http.get(f"/status/{long_key}")

    assert done.json()["result"] == {"state": "PURCHASE_CANCELLED", "itemId": "widget"}
