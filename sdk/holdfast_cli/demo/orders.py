"""`holdfast demo orders`: the order example, as its original plays it.

The happy story places the same order twice, half a second apart, and each step runs once. The other
one lets the warehouse fail the first time, and only that step is tried again.
"""

import asyncio
import json
import time
from collections import Counter

from holdfast_cli import signals
from holdfast_cli.demo.narration import Narrator
from holdfast_cli.demo.rest import Orders
from holdfast_cli.demo.stage import Backstage, stage
from holdfast_cli.dev import EXAMPLE_ORDER
from holdfast_cli.errors import CommandFailed, UsageError
from holdfast_cli.plan import Options

PAUSE_SECONDS = 0.5
PLAY_SECONDS_MAX = 75.0
RETRIED = "reserveInventory"  # the step whose first attempt fails in the crash story


def command(*, crash: bool, gateway: str | None) -> int:
    """Play, on processes of its own unless the address of a gateway is given."""
    if crash and gateway is not None:
        raise UsageError(
            "--crash needs a gateway that was started with"
            " HOLDFAST_GATEWAY_ORDERS_SIMULATE_CRASH=1; leave --gateway out to get one."
        )
    narrator = Narrator()
    play = _play_here(narrator, crash=crash) if gateway is None else _play_at(narrator, gateway)
    return narrator.exit_code(signals.run(play, interrupted=130))


async def _play_at(narrator: Narrator, gateway: str) -> int:
    narrator.title("The same order is placed twice.")
    try:
        async with asyncio.timeout(PLAY_SECONDS_MAX):
            await _twice(narrator, gateway)
    except TimeoutError as error:
        msg = f"The order was not done within {PLAY_SECONDS_MAX:.0f} s; are workers running?"
        raise CommandFailed(msg) from error
    narrator.detail("The logs of the workers show each step once.")
    return 0


async def _play_here(narrator: Narrator, *, crash: bool) -> int:
    narrator.title(
        "The warehouse fails at the first try of an order."
        if crash
        else "The same order is placed twice."
    )
    narrator.happens("Starting a promise store, a gateway, a worker and a db worker")
    backstage = Backstage(on_step=lambda _, text: narrator.detail(text), on_event=narrator.detail)
    options = Options(settings={"HOLDFAST_GATEWAY_ORDERS_SIMULATE_CRASH": str(int(crash))})
    try:
        async with asyncio.timeout(PLAY_SECONDS_MAX):
            async with stage(options, backstage=backstage) as running:
                gateway = running.system.plan.gateway[0]
                await (_once if crash else _twice)(narrator, gateway)
                _judge(narrator, running.journal.runs(), crash=crash)
                narrator.happens("Stopping everything")
    except TimeoutError as error:
        msg = f"The order was not done within {PLAY_SECONDS_MAX:.0f} s.\n{backstage.log()}"
        raise CommandFailed(msg) from error
    if narrator.failed:
        raise CommandFailed(f"Not everything held: {'; '.join(narrator.failed)}.")
    return 0


async def _once(narrator: Narrator, gateway: str) -> None:
    async with Orders(gateway) as orders:
        order = _order()
        await _place(narrator, orders, order)
        await _result(narrator, orders, order)


async def _twice(narrator: Narrator, gateway: str) -> None:
    async with Orders(gateway) as orders:
        order = _order()
        await _place(narrator, orders, order)
        await asyncio.sleep(PAUSE_SECONDS)
        await _place(narrator, orders, order)
        await _result(narrator, orders, order)


async def _place(narrator: Narrator, orders: Orders, order: dict[str, object]) -> None:
    narrator.happens(f"Placing order {order['id']}: POST {orders.url}")
    narrator.detail(await orders.place(order))


async def _result(narrator: Narrator, orders: Orders, order: dict[str, object]) -> None:
    status = await orders.done(str(order["id"]))
    narrator.happens("The order is done")
    narrator.detail(json.dumps(status, indent=2))
    narrator.check("the order succeeded", held=status["status"] == "done")


def _judge(narrator: Narrator, runs: Counter[str], *, crash: bool) -> None:
    tries = 2 if crash else 1
    others = [count for step, count in runs.items() if step != RETRIED]
    narrator.check(f"{RETRIED} ran {'twice' if crash else 'once'}", held=runs[RETRIED] == tries)
    narrator.check("every other step ran once", held=bool(others) and set(others) == {1})


def _order() -> dict[str, object]:
    """Return the example under an id that no earlier run has used."""
    return {**EXAMPLE_ORDER, "id": f"demo-{time.time_ns() // 1_000_000}"}
