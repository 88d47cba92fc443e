"""The page of the shop; every part of it that changes is rendered here, the countdown too."""

import math
import secrets
import time
from http import HTTPStatus
from typing import Annotated, Final

from litestar import Response, Router, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, QueryParameter

from holdfast.errors import PromiseNotFound
from holdfast_gateway.gateway import Gateway
from holdfast_gateway.outcomes import Done, Outcome, Processing, Rejected, outcome_of
from holdfast_gateway.paths import flaw_of_key, id_from_path
from holdfast_gateway.routes.shop import Cancel, Purchase, buy
from holdfast_gateway.ui.rendering import page

WINDOW_SECONDS: Final = 5


@get("/shop")
async def shop_page() -> Response[str]:
    """Show the widget. The key is made here, so that sending the form again buys nothing twice."""
    return page("shop.html", key=_new_key())


@post("/shop/buy/{key:str}", status_code=HTTPStatus.OK)
async def submit(key: FromPath[str], gateway: NamedDependency[Gateway]) -> Response[str]:
    """Buy; answer with what makes the page follow the purchase."""
    key = id_from_path(key)
    await buy(gateway, key, Purchase())
    return _progress(key, Processing(), seconds=WINDOW_SECONDS, is_first=True)


@post("/shop/cancel/{key:str}", status_code=HTTPStatus.OK)
async def cancel_purchase(
    key: FromPath[str], gateway: NamedDependency[Gateway], cancel: NamedDependency[Cancel]
) -> Response[str]:
    """Ask for the end of the window; the page learns by polling how it ended."""
    await cancel(gateway, id_from_path(key))
    return page("shop_cancel.html")


@get("/shop/progress/{key:str}")
async def progress(
    key: FromPath[str],
    gateway: NamedDependency[Gateway],
    again: Annotated[int, QueryParameter(name="again", required=False)] = 0,
) -> Response[str]:
    """Answer with what has changed, or with everything to a page that was loaded again."""
    key = id_from_path(key)
    if flaw_of_key(key):
        return _progress(key, None, seconds=0, is_first=True)
    try:
        promise = await gateway.resonate.promises.get(f"checkout/{key}")
    except PromiseNotFound:
        return _progress(key, None, seconds=0, is_first=True)
    seconds = WINDOW_SECONDS - (time.time() - promise.created_at_ms / 1000)
    left = min(max(math.ceil(seconds), 0), WINDOW_SECONDS)
    return _progress(key, outcome_of(promise), seconds=left, is_first=not again)


def _progress(key: str, outcome: Outcome | None, *, seconds: int, is_first: bool) -> Response[str]:
    state, detail = "failed", ""
    match outcome:
        case Processing():
            state = "pending"
        case Done(result):
            state, detail = result["state"], result.get("orderId", "")
        case Rejected(error):
            detail = f"The order failed: {error}"
        case None:
            detail = "This order does not exist."
    return page(
        "shop_progress.html",
        hash_=key if state == "pending" and is_first else None,
        key=key,
        next_key=_new_key(),
        state=state,
        detail=detail,
        seconds=seconds,
        is_first=is_first,
    )


def _new_key() -> str:
    return f"buy-{time.time_ns() // 1_000_000}-{secrets.token_hex(4)}"


def routes(cancel: Cancel) -> Router:
    """Return the routes of the page, which stays at the root."""
    return Router(
        "/",
        route_handlers=[shop_page, submit, cancel_purchase, progress],
        dependencies={"cancel": Provide(lambda: cancel, sync_to_thread=False)},
        include_in_schema=False,
    )
