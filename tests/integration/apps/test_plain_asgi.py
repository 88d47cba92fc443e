"""The shop's workflow behind another HTTP layer."""

import ast
import inspect

from tests.integration.apps import plain_asgi
from tests.integration.apps.embedded import System, client_of


async def test_x2_the_workflow_of_the_shop_runs_behind_a_plain_asgi_function(
    system: System,
) -> None:
    async with client_of(plain_asgi.shop(system.resonate)) as http:
        bought = await http.post("/buy/k")
        await system.awaited("cancel/k")
        pending = await http.get("/status/k")
        cancelled = await http.post("/cancel/k")
        await system.outcome("checkout/k")
        done = await http.get("/status/k")
        unknown = await http.get("/status/nobody")

    assert bought.json() == {"status": "pending", "key": "k"}
    assert pending.json() == {"status": "pending"}
    assert cancelled.json() == {"status": "ok"}
    assert done.json() == {
        "status": "done",
        "result": {"state": "PURCHASE_CANCELLED", "itemId": "widget"},
    }
    assert unknown.status_code == 404


def test_x2_the_function_is_as_short_as_it_is_said_to_be() -> None:
    [function] = ast.parse(inspect.getsource(plain_asgi.shop)).body

    assert function.end_lineno is not None
    assert function.end_lineno <= 30
