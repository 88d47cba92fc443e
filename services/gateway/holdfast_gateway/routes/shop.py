"""The shop: buy with one click, cancel while the window is open, tell how a purchase stands."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from litestar import Response, Router, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from msgspec import Meta

from holdfast.errors import PromiseNotFound
from holdfast_chassis.logs import get_logger
from holdfast_gateway import answers
from holdfast_gateway.bodies import AnyRequest, convert, invalid, read_json
from holdfast_gateway.gateway import Gateway
from holdfast_gateway.openapi import operation, problems
from holdfast_gateway.outcomes import Outcome, read_outcome, status_answer
from holdfast_gateway.paths import flaw_of_key, id_from_path

log = get_logger(__name__)

Cancel = Callable[[Gateway, str], Awaitable[None]]
"""Ends the window of a purchase; does nothing when there is none."""


class Purchase(msgspec.Struct, rename="camel"):
    """What to buy."""

    item_id: Annotated[str, Meta(min_length=1, max_length=256, pattern=r"\A[^\x00]*\Z")] = (
        "widget-001"
    )


@post(
    "/buy/{key:str}",
    status_code=HTTPStatus.OK,
    summary="Buy",
    description="The same key again is the same purchase, whatever the item.",
    operation_class=operation(
        Purchase,
        examples=[{"itemId": "mug"}],
        is_required=False,
        answers=answers.BOUGHT,
    ),
    responses=problems(400, 413, 415, 500, 503),
)
async def post_buy(
    key: FromPath[str], request: AnyRequest, gateway: NamedDependency[Gateway]
) -> Response[dict[str, str]]:
    """Store the promise of the purchase, then answer."""
    key = id_from_path(key)
    body = await read_json(request)
    await buy(gateway, key, convert({} if body is None else body, Purchase))
    return Response({"status": "pending", "key": key})


async def buy(gateway: Gateway, key: str, purchase: Purchase) -> None:
    """Store the promise of a purchase."""
    if flaw := flaw_of_key(key):
        raise invalid(f"The key {flaw}.")
    log.info(f"[api]       POST /buy/{key} — item: {purchase.item_id}")  # noqa: G004 - for people
    await gateway.begin(f"checkout/{key}", "oneClickBuy", purchase.item_id, key)


@post(
    "/cancel/{key:str}",
    status_code=HTTPStatus.OK,
    summary="Cancel",
    description="The answer is the same for purchases that are unknown or decided.",
    operation_class=operation(answers=answers.CANCELED),
    responses=problems(400, 500, 503),
)
async def post_cancel(
    key: FromPath[str], gateway: NamedDependency[Gateway], cancel: NamedDependency[Cancel]
) -> Response[dict[str, str]]:
    """Ask for the end of the window; how it ended is told by the status."""
    key = id_from_path(key)
    log.info(f"[api]       POST /cancel/{key} — cancellation requested")  # noqa: G004 - for people
    await cancel(gateway, key)
    return Response({"status": "ok"})


async def resolve_cancel(gateway: Gateway, key: str) -> None:
    """Resolve the promise that the workflow waits for; a key that nobody bought is ignored."""
    promises = gateway.resonate.promises
    if flaw_of_key(key):
        return
    try:
        checkout = await promises.get(f"checkout/{key}")
    except PromiseNotFound:
        return
    if checkout.is_pending:
        # The workflow may not have come to its wait yet: it adopts the promise that it finds. One
        # that is settled already, because the window is over, stays as it is.
        await promises.create(f"cancel/{key}", timeout_at=checkout.timeout_at_ms)
        await promises.resolve(f"cancel/{key}")


@get(
    "/status/{key:str}",
    summary="Tell how a purchase stands",
    operation_class=operation(answers=answers.PURCHASE_STATUS),
    responses=problems(400, 404, 500, 503),
)
async def purchase_status(
    key: FromPath[str], gateway: NamedDependency[Gateway]
) -> Response[dict[str, Any]]:
    """Read the promise; never wait."""
    return status_answer(await read_purchase(gateway, id_from_path(key)), processing="pending")


async def read_purchase(gateway: Gateway, key: str) -> Outcome | None:
    """Read how a purchase stands; its steps are no purchases."""
    return None if flaw_of_key(key) else await read_outcome(gateway.resonate, f"checkout/{key}")


def routes(prefix: str, cancel: Cancel) -> Router:
    """Return the routes below the application's mount point."""
    return Router(
        prefix or "/",
        route_handlers=[post_buy, post_cancel, purchase_status],
        dependencies={"cancel": Provide(lambda: cancel, sync_to_thread=False)},
        tags=["shop"],
    )
