from typing import Any

import pytest

from holdfast_worker.apps.orders import charge_id_of, dollars, flaw_of, total_of


def order(**changes: object) -> dict[str, Any]:
    return {
        "id": "ord-1",
        "items": [{"sku": "a", "qty": 2, "price": 2999}, {"sku": "b", "qty": 1, "price": 999}],
        "customer": {"id": "c-1", "email": "ada@example.com"},
        **changes,
    }


def test_a_complete_order_has_no_flaw() -> None:
    assert flaw_of(order()) is None


def test_the_total_is_the_sum_of_prices_times_quantities() -> None:
    assert total_of(order()) == 6997


@pytest.mark.parametrize(
    ("broken", "flaw"),
    [
        (order(id=""), "order id is missing"),
        (order(customer={}), "customer.id is missing"),
        (order(customer={"id": ""}), "customer.id is missing"),
        (order(items=[]), "items are missing"),
        (order(items="abc"), "order needs id, customer and items"),
        (order(id=7), "order needs id, customer and items"),
        (None, "order needs id, customer and items"),
        (
            order(items=[{"sku": "a", "price": 1}]),
            "items[0] needs price and qty, both whole numbers from 0",
        ),
        (
            order(items=[{"sku": "a", "qty": -1, "price": 1}]),
            "items[0] needs price and qty, both whole numbers from 0",
        ),
        (
            order(items=[{"sku": "a", "qty": 1, "price": "1"}]),
            "items[0] needs price and qty, both whole numbers from 0",
        ),
        (
            order(items=[{"sku": "a", "qty": 2**53, "price": 1}]),
            f"total is more than {2**53 - 1} cents",
        ),
    ],
)
def test_an_order_that_cannot_be_processed_says_why(broken: object, flaw: str) -> None:
    assert flaw_of(broken) == flaw


@pytest.mark.parametrize(
    ("cents", "text"), [(0, "0.00"), (5, "0.05"), (6997, "69.97"), (100_000, "1000.00")]
)
def test_cents_are_written_as_dollars(cents: int, text: str) -> None:
    assert dollars(cents) == text


def test_a_charge_is_named_after_its_order_and_stays_the_same() -> None:
    charge = charge_id_of("order-123456")

    assert charge == charge_id_of("order-123456")
    assert charge != charge_id_of("other-123456")
    prefix, last, digits = charge.split("_")
    assert (prefix, last) == ("ch", "123456")
    assert len(digits) == 6
    assert digits.isalnum()


def test_a_charge_of_a_short_id_uses_all_of_it() -> None:
    assert charge_id_of("7").startswith("ch_7_")
