"""A step whose promise somebody else settles while its body runs."""

import threading
from collections.abc import Generator
from typing import Any

import pytest

from holdfast import Context, PromiseCanceled, PromiseNotFound, Resonate


@pytest.mark.parametrize("ending", ["return", "rpc"])
async def test_a_workflow_goes_on_from_what_is_recorded_and_from_nothing_else(ending: str) -> None:
    """The value is passed on before it is durable; what it led to must not happen either."""
    resonate = Resonate.local(slow_step_ms=5)
    may_end = threading.Event()
    shipped: list[str] = []

    def charge(ctx: Context) -> str:
        may_end.wait(20)
        return "charged"

    def ship(ctx: Context, how: str) -> str:
        shipped.append(how)
        return "shipped"

    def order(ctx: Context) -> Generator[Any, Any, str]:
        try:
            charged = yield ctx.run(charge)
        except PromiseCanceled:
            return "not charged"
        if ending == "rpc":
            yield ctx.rpc("ship", charged)
        return str(charged)

    resonate.register("charge", charge)
    resonate.register("ship", ship)
    resonate.register("order", order)
    async with resonate:
        handle = await resonate.begin_run("o", "order")
        while not await _exists(resonate, "o.0"):
            pass
        await resonate.promises.cancel("o.0")

        may_end.set()

        assert await handle.result(timeout=20) == "not charged"
    assert shipped == []


async def _exists(resonate: Resonate, promise_id: str) -> bool:
    try:
        await resonate.promises.get(promise_id)
    except PromiseNotFound:
        return False
    return True
