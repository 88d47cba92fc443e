"""Orders: accept one, tell how it is getting on."""

from http import HTTPStatus
from typing import Annotated, Any, Final
from urllib.parse import quote

import msgspec
from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta

from holdfast_gateway import answers
from holdfast_gateway.bodies import AnyRequest, convert, invalid, read_json
from holdfast_gateway.errors import Problem
from holdfast_gateway.gateway import Gateway
from holdfast_gateway.openapi import operation, problems
from holdfast_gateway.outcomes import read_outcome, status_answer
from holdfast_gateway.paths import flaw_of_key, id_from_path, names_a_step

INTEGER_MAX: Final = 2**53 - 1
MISSING: Final = {"error": "Missing required order fields"}


class Item(msgspec.Struct):
    """A line of an order; `price` is in cents."""

    sku: Annotated[str, Meta(min_length=1, max_length=256)]
    qty: Annotated[int, Meta(ge=1, le=INTEGER_MAX)]
    price: Annotated[int, Meta(ge=0, le=INTEGER_MAX)]


class Customer(msgspec.Struct):
    """Who ordered. The workflow, not the route, rejects a customer without an id."""

    id: Annotated[str, Meta(max_length=256)] | None = None
    email: Annotated[str, Meta(max_length=320)] | None = None


class Order(msgspec.Struct):
    """An order. More members may be sent and are handed on."""

    id: Annotated[str, Meta(min_length=1, max_length=256)]
    items: Annotated[list[Item], Meta(min_length=1, max_length=1000)]
    customer: Customer


EXAMPLE: Final = {
    "id": "ord-schema-1",
    "items": [{"sku": "mug", "qty": 2, "price": 2999}],
    "customer": {"id": "c-1", "email": "ada@example.com"},
}


@post(
    "/orders",
    status_code=HTTPStatus.ACCEPTED,
    summary="Accept an order",
    description="The same id again is the same order: it is processed once.",
    operation_class=operation(Order, examples=[EXAMPLE], answers=answers.ORDER_ACCEPTED),
    responses=problems(400, 409, 413, 415, 500, 503),
)
async def accept_order(
    request: AnyRequest, gateway: NamedDependency[Gateway]
) -> Response[dict[str, str]]:
    """Store the promise of the order, then answer."""
    value = await _read(request)
    if _is_missing_something(value):
        return Response(dict(MISSING), status_code=HTTPStatus.BAD_REQUEST)
    order = _parse(value)
    await gateway.begin(
        f"order/{order.id}",
        "processOrder",
        value,
        gateway.settings.orders_simulate_crash,
        refuse_conflict=gateway.settings.orders_refuse_conflicts,
    )
    status_url = f"{gateway.settings.prefix_of('orders')}/orders/{quote(order.id, safe='')}/status"
    return Response({"status": "accepted", "orderId": order.id, "statusUrl": status_url})


@get(
    "/orders/{order_id:str}/status",
    summary="Tell how an order is getting on",
    operation_class=operation(answers=answers.ORDER_STATUS),
    responses=problems(400, 404, 500, 503),
)
async def order_status(
    order_id: FromPath[str], gateway: NamedDependency[Gateway]
) -> Response[dict[str, Any]]:
    """Read the promise; never wait."""
    found = id_from_path(order_id)
    outcome = None
    if not names_a_step(found):
        outcome = await read_outcome(gateway.resonate, f"order/{found}")
    return status_answer(outcome)


def routes(prefix: str) -> Router:
    """Return the routes below the application's mount point."""
    return Router(prefix or "/", route_handlers=[accept_order, order_status], tags=["orders"])


async def _read(request: AnyRequest) -> object:
    try:
        return await read_json(request)
    except Problem as problem:
        raise _with_error(problem) from problem


def _is_missing_something(value: object) -> bool:
    """Tell whether a field is absent or empty, as the original example judges it."""
    return not (
        isinstance(value, dict)
        and value.get("id")
        and value.get("customer") is not None
        and value["customer"] not in ("", False)
        and value.get("items")
    )


def _parse(value: object) -> Order:
    try:
        order = convert(value, Order)
        total = sum(item.price * item.qty for item in order.items)
        if total > INTEGER_MAX:
            raise invalid(f"The total is {total} cents; it must be at most {INTEGER_MAX}.")
        if flaw := flaw_of_key(order.id):
            raise invalid(f"The id {flaw}.")
    except Problem as problem:
        raise _with_error(problem) from problem
    return order


def _with_error(problem: Problem) -> Problem:
    """Add the member `error`, which clients of the original example look for."""
    problem.members = {**problem.members, "error": problem.detail}
    return problem
