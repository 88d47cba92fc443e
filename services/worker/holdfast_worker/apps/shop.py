"""The shop: one click buys, and for five seconds another one takes it back.

The promise of a purchase is `checkout/<key>`. There is no variable for its state: how far the body
has come is the state. The window is a race of two promises, `cancel/<key>` and a timer, so that it
outlives every process, and whoever can reach the store can cancel.
"""

from collections.abc import Generator
from typing import Any, Final

from holdfast import Context, Resonate
from holdfast_worker.outside import DEPENDENCY, Outside

DB: Final = "poll://any@db"
WINDOW_MS: Final = 5_000
CONFIRMED: Final = "PURCHASE_CONFIRMED"
CANCELLED: Final = "PURCHASE_CANCELLED"

Outcome = dict[str, str]


def one_click_buy(ctx: Context, item_id: str, key: str) -> Generator[Any, Any, Outcome]:
    """Wait for a change of mind, then confirm or cancel, once."""
    cancel = yield ctx.promise(id=f"cancel/{key}")
    first = yield ctx.select(cancel, ctx.sleep(WINDOW_MS / 1000), cancel_rest=True)
    return (yield from finish(ctx, item_id, key, is_cancelled=first == 0))


def finish(
    ctx: Context, item_id: str, key: str, *, is_cancelled: bool
) -> Generator[Any, Any, Outcome]:
    """Do what was decided; the books of the db group keep it under the key of the purchase."""
    if is_cancelled:
        yield ctx.run(cancelled_purchase, item_id)
        yield ctx.rpc("db.releaseItem", key, item_id, ctx.options(target=DB))
        return {"state": CANCELLED, "itemId": item_id}
    order_id = yield ctx.run(checkout_item, item_id)
    order_id = yield ctx.rpc("db.createOrder", key, item_id, order_id, ctx.options(target=DB))
    return {"state": CONFIRMED, "itemId": item_id, "orderId": order_id}


def checkout_item(ctx: Context, item_id: str) -> str:
    """Order the item; return the id of the order."""
    outside = _enter(ctx, "checkoutItem")
    outside.tell(f"[checkout]  Processing item: {item_id}")
    outside.take(200)
    order_id = f"order-{outside.now_ms()}"
    outside.tell(f"[checkout]  Order created: {order_id}")
    return order_id


def cancelled_purchase(ctx: Context, item_id: str) -> None:
    """Put the item back."""
    outside = _enter(ctx, "cancelledPurchase")
    outside.take(100)
    outside.tell(f"[checkout]  Purchase cancelled for item: {item_id}")


def register(resonate: Resonate) -> None:
    """Register the workflow and its steps under the names that callers and records use."""
    resonate.register("oneClickBuy", one_click_buy)
    register_steps(resonate)


def register_steps(resonate: Resonate) -> None:
    """Register what both variants of the workflow end with."""
    resonate.register("checkoutItem", checkout_item)
    resonate.register("cancelledPurchase", cancelled_purchase)


def _enter(ctx: Context, step: str) -> Outside:
    outside: Outside = ctx.get_dependency(DEPENDENCY)
    outside.enter(ctx, step)
    return outside
