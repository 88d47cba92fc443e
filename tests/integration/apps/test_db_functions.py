"""The functions of the db group, asked by rpc: what they refuse, and that they do so at once."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from holdfast_db.tables import charges, reservations, results
from tests.integration.apps.embedded import System
from tests.integration.apps.world import World


@pytest.fixture(params=["sqlite", "postgres"])
async def system(
    request: pytest.FixtureRequest, tmp_path: Path, world: World
) -> AsyncIterator[System]:
    """Take either application database."""
    on_server = request.param == "postgres"
    url = request.getfixturevalue("bare_postgres_url") if on_server else None
    async with System(tmp_path, world, application_url=url) as system:
        yield system


async def ask(system: System, function: str, *args: object) -> object:
    """Return the value of a function, or the exception it ended with."""
    await system.resonate.begin_rpc("ask", function, *args, system.resonate.options(target="db"))
    return await system.outcome("ask")


@pytest.mark.parametrize(
    ("function", "args", "message"),
    [
        ("db.getAccount", ("",), "accountId must be a text that is not empty"),
        ("db.getAccount", ("a\0",), "accountId must be a text that is not empty and has no NUL"),
        ("db.getAccount", ("é" * 513,), "accountId must have at most 1024 bytes, it has 1026"),
        ("db.getAccount", ("acct-0",), "account acct-0 does not exist"),
        ("db.saveResult", ({"id": "job/x"},), "db.saveResult needs id and result"),
        ("db.saveResult", ({"result": 1},), "id must be a text"),
        ("db.saveResult", ({"id": 7, "result": 1},), "id must be a text"),
        ("db.reserveInventory", ({"id": "a"},), "needs an order with id and items"),
        ("db.reserveInventory", ({"id": 7, "items": []},), "order.id must be a text"),
        ("db.recordCharge", ("", "ch", 1), "orderId must be a text"),
        ("db.recordCharge", ("a", "", 1), "chargeId must be a text"),
        ("db.recordCharge", ("a", "ch", -1), "total must be a whole number of cents from 0"),
        ("db.recordCharge", ("a", "ch", 2**53), "total must be a whole number of cents from 0"),
        ("db.getOrder", ("",), "orderId must be a text"),
    ],
)
async def test_what_can_never_work_is_refused_at_the_first_attempt(
    system: System, world: World, function: str, args: tuple[Any, ...], message: str
) -> None:
    error = await ask(system, function, *args)

    assert isinstance(error, Exception)
    assert message in str(error)
    assert len(world.entries) == 1
    assert not [*system.rows(charges), *system.rows(reservations), *system.rows(results)]


@pytest.mark.parametrize(
    ("function", "args"),
    [
        ("db.getAccount", (7,)),
        ("db.saveResult", ("x",)),
        ("db.reserveInventory", ([],)),
        ("db.recordCharge", ("a", "ch", "1")),
        ("db.recordCharge", ("a", "ch", 1.5)),
    ],
)
async def test_arguments_of_the_wrong_type_end_the_call(
    system: System, world: World, function: str, args: tuple[Any, ...]
) -> None:
    error = await ask(system, function, *args)

    assert isinstance(error, Exception)
    assert not [*system.rows(charges), *system.rows(reservations), *system.rows(results)]


async def test_an_account_is_found(system: System) -> None:
    assert await ask(system, "db.getAccount", "acct-1") == {
        "id": "acct-1",
        "owner": "Barbara",
        "balance": 1_000,
    }


async def test_a_reservation_that_is_repeated_reserves_once(system: System) -> None:
    order = {"id": "ord-1", "items": [{"sku": "mug"}]}
    to_db = system.resonate.options(target="db")

    first = await system.resonate.rpc("r/1", "db.reserveInventory", order, to_db)
    again = await system.resonate.rpc("r/2", "db.reserveInventory", order, to_db)

    assert (first, again) == (True, True)
    [row] = system.rows(reservations)
    assert (row.order_id, row.items) == ("ord-1", 1)
