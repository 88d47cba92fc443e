"""What other groups may ask of the application database, by dotted names.

Every function may be called twice with the same key and does its work once: a worker that dies
after the commit and before the checkpoint is followed by another one that asks again. Arguments are
checked before anything is read; an argument that can never work is refused without retries.
"""

import json
import random
import time
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, Table, insert, select
from sqlalchemy.exc import IntegrityError

from holdfast import Context, Resonate
from holdfast_db.database import reading
from holdfast_db.outside import DEPENDENCY as OUTSIDE
from holdfast_db.outside import Outside
from holdfast_db.tables import accounts, charges, purchases, reservations, results

DATABASE: Final = "db.database"
"""Under this name functions find their Engine."""

KEY_BYTES_MAX: Final = 1024
CENTS_MAX: Final = 2**53 - 1
ROWS: Final = range(1_000, 51_000)  # how many the pretended warehouse may find


class InvalidArgument(ValueError):
    """An argument can never work; the message names it."""

    retryable = False


class UnknownAccount(LookupError):
    """There is no such account."""

    retryable = False


class UnknownOrder(LookupError):
    """There is no such order."""

    retryable = False


class WarehouseTimeout(TimeoutError):
    """The warehouse did not answer; it may next time."""


def get_account(ctx: Context, account_id: str) -> dict[str, object]:
    """Read an account; raise UnknownAccount."""
    _outside(ctx).enter(ctx, "db.getAccount")
    _check_key(account_id, "accountId")
    with reading(_database(ctx)) as connection:
        row = connection.execute(select(accounts).where(accounts.c.id == account_id)).one_or_none()
    if row is None:
        raise UnknownAccount(f"account {account_id} does not exist")
    return {"id": row.id, "owner": row.owner, "balance": row.balance_cents}


def save_result(ctx: Context, job: dict[str, Any]) -> dict[str, bool]:
    """Keep the result of a job; the first one counts."""
    _outside(ctx).enter(ctx, "db.saveResult")
    if "result" not in job:
        raise InvalidArgument("db.saveResult needs id and result")
    _check_key(job.get("id"), "id")
    with _database(ctx).begin() as connection:
        _insert_once(
            connection,
            results,
            job_id=job["id"],
            result=json.dumps(job["result"]),
            saved_at_ms=_now_ms(),
        )
    return {"ok": True}


def reserve_inventory(
    ctx: Context,
    order: dict[str, Any],
    simulate_crash: bool = False,  # noqa: FBT001, FBT002 - arguments of remote functions travel by position
) -> bool:
    """Reserve what an order needs; the warehouse behind it may be made to time out once."""
    outside = _outside(ctx)
    outside.enter(ctx, "reserveInventory")
    match order:
        case {"id": order_id, "items": list(items)}:
            _check_key(order_id, "order.id")
        case _:
            raise InvalidArgument("db.reserveInventory needs an order with id and items")
    outside.ask_warehouse()
    attempt = ctx.info.attempt
    if simulate_crash and attempt == 1:
        outside.tell(f"[inventory]  order {order_id} — warehouse API timeout (attempt 1)")
        raise WarehouseTimeout("Warehouse API timeout")
    with _database(ctx).begin() as connection:
        _insert_once(
            connection, reservations, order_id=order_id, items=len(items), reserved_at_ms=_now_ms()
        )
    suffix = f" (attempt {attempt})" if attempt > 1 else ""
    outside.tell(f"[inventory]  order {order_id} — reserved {len(items)} item(s){suffix}")
    return True


def record_charge(ctx: Context, order_id: str, charge_id: str, total: int) -> str:
    """Enter a charge in the books; return the id of the charge that counts, the first one."""
    _outside(ctx).enter(ctx, "db.recordCharge")
    _check_key(order_id, "orderId")
    _check_key(charge_id, "chargeId")
    if type(total) is not int or not 0 <= total <= CENTS_MAX:
        raise InvalidArgument(f"total must be a whole number of cents from 0 to {CENTS_MAX}")
    with _database(ctx).begin() as connection:
        row = _insert_once(
            connection,
            charges,
            order_id=order_id,
            charge_id=charge_id,
            total_cents=total,
            charged_at_ms=_now_ms(),
        )
    return str(row.charge_id)


def get_order(ctx: Context, order_id: str) -> dict[str, object]:
    """Read what the books know about an order; raise UnknownOrder when that is nothing."""
    _outside(ctx).enter(ctx, "db.getOrder")
    _check_key(order_id, "orderId")
    with reading(_database(ctx)) as connection:
        reservation = _find(connection, reservations, order_id)
        charge = _find(connection, charges, order_id)
    if reservation is None and charge is None:
        raise UnknownOrder(f"order {order_id} does not exist")
    return {
        "orderId": order_id,
        "itemsReserved": None if reservation is None else reservation.items,
        "chargeId": None if charge is None else charge.charge_id,
        "total": None if charge is None else charge.total_cents,
    }


def query_warehouse(ctx: Context, kind: str, period: str) -> int:
    """Count the rows of a report; the warehouse is pretended, and so is its answer."""
    outside = _outside(ctx)
    outside.enter(ctx, "db.queryWarehouse")
    _check_key(kind, "type")
    _check_key(period, "period")
    report = ctx.origin_id.replace("/", " ")  # the id of a report is `report/<request id>`
    outside.tell(f"[query]     {report} — querying {kind} data for {period}")
    outside.take(1_200)
    rows = random.choice(ROWS)  # noqa: S311 - nobody must not guess it
    outside.tell(f"[query]     {report} — {rows:,} rows retrieved")
    return rows


def create_order(ctx: Context, key: str, item_id: str, order_id: str) -> str:
    """Enter a purchase in the books; return the id of the order that counts, the first one."""
    _outside(ctx).enter(ctx, "db.createOrder")
    _check_key(order_id, "orderId")
    return str(_decide_purchase(ctx, key, item_id, order_id).order_id)


def release_item(ctx: Context, key: str, item_id: str) -> bool:
    """Enter in the books that a purchase was taken back."""
    _outside(ctx).enter(ctx, "db.releaseItem")
    _decide_purchase(ctx, key, item_id, None)
    return True


def _decide_purchase(ctx: Context, key: str, item_id: str, order_id: str | None) -> Row[Any]:
    _check_key(key, "key")
    _check_key(item_id, "itemId")
    with _database(ctx).begin() as connection:
        row = _insert_once(
            connection,
            purchases,
            key=key,
            item_id=item_id,
            order_id=order_id,
            decided_at_ms=_now_ms(),
        )
    if (row.order_id is None) != (order_id is None):
        raise InvalidArgument(f"the purchase {key} has been decided the other way before")
    return row


FUNCTIONS: Final[Mapping[str, Any]] = {
    "db.getAccount": get_account,
    "db.saveResult": save_result,
    "db.reserveInventory": reserve_inventory,
    "db.recordCharge": record_charge,
    "db.getOrder": get_order,
    "db.queryWarehouse": query_warehouse,
    "db.createOrder": create_order,
    "db.releaseItem": release_item,
}


def register(resonate: Resonate) -> None:
    """Register all functions by their dotted names."""
    for name, function in FUNCTIONS.items():
        resonate.register(name, function)


def _insert_once(connection: Connection, table: Table, **values: object) -> Row[Any]:
    """Insert a row unless its key exists; return the row that is there afterwards.

    A savepoint and a violated key instead of ON CONFLICT: the same on every database.
    """
    key = next(iter(table.primary_key.columns))
    try:
        with connection.begin_nested():
            connection.execute(insert(table).values(**values))
    except IntegrityError:
        pass  # somebody was here before, this very call's earlier attempt most likely
    row = _find(connection, table, values[key.name])
    assert row is not None, "inserted, or found to be there"
    return row


def _find(connection: Connection, table: Table, value: object) -> Row[Any] | None:
    key = next(iter(table.primary_key.columns))
    return connection.execute(select(table).where(key == value)).one_or_none()


def _check_key(value: object, name: str) -> None:
    if not isinstance(value, str) or not value or "\0" in value:
        raise InvalidArgument(f"{name} must be a text that is not empty and has no NUL")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise InvalidArgument(f"{name} must be valid Unicode") from None
    if size > KEY_BYTES_MAX:
        raise InvalidArgument(f"{name} must have at most {KEY_BYTES_MAX} bytes, it has {size}")


def _database(ctx: Context) -> Engine:
    engine: Engine = ctx.get_dependency(DATABASE)
    return engine


def _outside(ctx: Context) -> Outside:
    outside: Outside = ctx.get_dependency(OUTSIDE)
    return outside


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
