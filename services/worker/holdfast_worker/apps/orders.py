"""Orders: validate, reserve, charge and confirm, each exactly once per order id.

The promise of an order is `order/<order id>`. What must survive in the application's own books, the
reservation and the charge, is written by the `db` group, which this module reaches by name only.
"""

import hashlib
from collections.abc import Generator
from typing import Any, Final

from holdfast import Context, Resonate
from holdfast_worker.outside import DEPENDENCY, Outside

DB: Final = "poll://any@db"
CENTS_MAX: Final = 2**53 - 1  # the largest integer that every JSON reader keeps
CHARGE_DIGITS: Final = 6
BASE_36: Final = "0123456789abcdefghijklmnopqrstuvwxyz"

Order = dict[str, Any]


class OrderInvalid(ValueError):
    """The order can never be processed; trying again would not help."""

    retryable = False


def process_order(
    ctx: Context,
    order: Order,
    simulate_crash: bool = False,  # noqa: FBT001, FBT002 - arguments of a workflow travel by position
) -> Generator[Any, Any, dict[str, object]]:
    """Take an order from its arrival to the customer's mail."""
    yield ctx.run(validate_order, order)
    reserved = yield ctx.rpc("db.reserveInventory", order, simulate_crash, ctx.options(target=DB))
    charge = yield ctx.run(charge_payment, order)
    # The books decide which charge counts, whatever a repeated step came up with.
    charge = yield ctx.rpc(
        "db.recordCharge", order["id"], charge, total_of(order), ctx.options(target=DB)
    )
    confirmed = yield ctx.run(send_confirmation, order, charge)
    return {
        "orderId": order["id"],
        "inventoryReserved": reserved,
        "paymentCharged": bool(charge),
        "confirmationSent": confirmed,
        "total": total_of(order),
    }


def validate_order(ctx: Context, order: Order) -> bool:
    """Refuse an order that no later step could handle; raise OrderInvalid."""
    outside = _outside(ctx)
    outside.enter(ctx, "validateOrder")
    flaw = flaw_of(order)
    if flaw is not None:
        raise OrderInvalid(flaw)
    outside.tell(
        f"[validate]   order {order['id']} — {len(order['items'])} item(s),"
        f" total ${dollars(total_of(order))}"
    )
    return True


def charge_payment(ctx: Context, order: Order) -> str:
    """Charge the customer; return the id of the charge."""
    outside = _outside(ctx)
    outside.enter(ctx, "chargePayment")
    charge = charge_id_of(order["id"])
    outside.tell(
        f"[payment]    order {order['id']} — charged ${dollars(total_of(order))} → {charge}"
    )
    return charge


def send_confirmation(ctx: Context, order: Order, charge: str) -> bool:
    """Tell the customer."""
    outside = _outside(ctx)
    outside.enter(ctx, "sendConfirmation")
    outside.tell(
        f"[email]      order {order['id']} — confirmation sent to"
        f" {order['customer'].get('email')} (charge: {charge})"
    )
    return True


def flaw_of(order: object) -> str | None:
    """Say what keeps an order from being processed, or answer `None`."""
    match order:
        case {"id": str(order_id), "customer": dict(customer), "items": list(items)}:
            if not order_id:
                return "order id is missing"
            if not customer.get("id"):
                return "customer.id is missing"
            return _flaw_of_items(items)
        case _:
            return "order needs id, customer and items"


def _flaw_of_items(items: list[object]) -> str | None:
    if not items:
        return "items are missing"
    total = 0
    for index, item in enumerate(items):
        match item:
            case {"price": int(price), "qty": int(qty)} if price >= 0 and qty >= 0:
                total += price * qty
            case _:
                return f"items[{index}] needs price and qty, both whole numbers from 0"
    return f"total is more than {CENTS_MAX} cents" if total > CENTS_MAX else None


def total_of(order: Order) -> int:
    """Add up an order, in cents."""
    return sum(item["price"] * item["qty"] for item in order["items"])


def dollars(cents: int) -> str:
    """Write cents as dollars."""
    return f"{cents // 100}.{cents % 100:02d}"


def charge_id_of(order_id: str) -> str:
    """Derive the id of an order's charge.

    A payment provider that is given the order as idempotency key answers a repeated call with the
    same charge; deriving the id from the key is how this stand-in does it.
    """
    number = int.from_bytes(hashlib.sha256(order_id.encode(errors="replace")).digest()[:8])
    digits = ""
    for _ in range(CHARGE_DIGITS):
        number, digit = divmod(number, len(BASE_36))
        digits += BASE_36[digit]
    return f"ch_{order_id[-6:]}_{digits}"


def _outside(ctx: Context) -> Outside:
    outside: Outside = ctx.get_dependency(DEPENDENCY)
    return outside


def register(resonate: Resonate) -> None:
    """Register the workflow and its steps under the names that callers and records use."""
    resonate.register("processOrder", process_order)
    resonate.register("validateOrder", validate_order)
    resonate.register("chargePayment", charge_payment)
    resonate.register("sendConfirmation", send_confirmation)
