"""`holdfast demo first-order`: one order, five processes, one of them killed on the way.

Nothing here happens by the clock. The worker is killed when the journal says that step 2 has begun,
and the story goes on only while the store says that step 2 is still pending.
"""

import asyncio
import json
import os
import signal
from collections.abc import Collection, Mapping, Sequence

from holdfast import Resonate
from holdfast_cli import signals
from holdfast_cli.demo.journal import LOOK_EVERY_SECONDS, Attempt
from holdfast_cli.demo.narration import Narrator
from holdfast_cli.demo.rest import Orders
from holdfast_cli.demo.stage import Backstage, Stage, stage
from holdfast_cli.dev import EXAMPLE_ORDER
from holdfast_cli.errors import CommandFailed
from holdfast_cli.plan import Options

# Steps in the order in which they run; the db worker runs those that concern the books.
STEPS = (
    "validateOrder",
    "reserveInventory",
    "chargePayment",
    "db.recordCharge",
    "sendConfirmation",
)

RESULT = {
    "orderId": EXAMPLE_ORDER["id"],
    "inventoryReserved": True,
    "paymentCharged": True,
    "confirmationSent": True,
    "total": 2 * 2999 + 999,
}

PLAY_SECONDS_MAX = 75.0

OPTIONS = Options(
    workers=2,
    settings={
        "HOLDFAST_DB_STEP_DELAY_MS": "3000",  # step 2 takes this long; the kill must fit in
        "HOLDFAST_WORKER_STEP_DELAY_MS": "200",
    },
)


def command() -> int:
    """Play; return 0 when every check held, raise CommandFailed when one did not."""
    narrator = Narrator()
    return narrator.exit_code(signals.run(_play(narrator), interrupted=130))


async def _play(narrator: Narrator) -> int:
    narrator.title("One order passes through five processes, and one of them is killed on the way.")
    narrator.happens("Starting a promise store, a gateway, two workers and a db worker")
    backstage = Backstage(
        on_step=lambda name, text: narrator.detail(f"{name:<8} says: {text}"),
        on_event=narrator.detail,
    )
    try:
        async with asyncio.timeout(PLAY_SECONDS_MAX):
            async with stage(OPTIONS, backstage=backstage) as running:
                pids = await _tell(narrator, running)
                narrator.happens("Stopping everything")
    except TimeoutError as error:
        msg = f"The order was not done within {PLAY_SECONDS_MAX:.0f} s.\n{backstage.log()}"
        raise CommandFailed(msg) from error
    narrator.check("no process is left", held=not any(map(_lives, pids)))
    if narrator.failed:
        raise CommandFailed(f"Not everything held: {'; '.join(narrator.failed)}.")
    narrator.happens("That was it")
    narrator.detail(
        "What died here was the process that carries the order. When a process dies in the middle\n"
        "of a step, that step begins anew elsewhere; but once recorded, no step runs again.\n"
    )
    narrator.detail(
        "Next: `.venv/bin/holdfast dev` keeps all of this running, for your own orders."
    )
    return 0


async def _tell(narrator: Narrator, running: Stage) -> Collection[int]:
    """Tell the story; return the ids of all processes that took part."""
    pids = running.system.supervisor.pids
    names = {pid: name for name, pid in pids.items()}
    narrator.detail(", ".join(f"{name} {pid}" for name, pid in pids.items()) + "  (process ids)")

    async with (
        Orders(running.system.plan.gateway[0]) as orders,
        Resonate(url=running.system.plan.store[0], env={}) as store,
    ):
        order_id = str(EXAMPLE_ORDER["id"])
        narrator.happens(f"Placing an order: POST {orders.url}")
        narrator.detail(await orders.place(EXAMPLE_ORDER))
        killed, pending = await _kill_the_worker(narrator, running, store, names)
        narrator.happens(f"Waiting for the order: GET {orders.status_url(order_id)}")
        status = await orders.done(order_id)
        narrator.happens("The order is done")
        narrator.detail(json.dumps(status, indent=2))

    names |= {pid: name for name, pid in running.system.supervisor.pids.items()}
    attempts = running.journal.attempts()
    narrator.happens("Which step ran where")
    narrator.table(_rows(attempts, names, killed=killed.pid))
    after = [attempt for attempt in attempts if attempt.step in ("chargePayment", STEPS[-1])]
    runs = running.journal.runs()
    narrator.happens("Did it hold?")
    narrator.check("step 2 was still pending after the worker had died", held=pending)
    narrator.check(
        "another worker process finished what the killed one had begun",
        held=bool(after) and all(attempt.pid != killed.pid for attempt in after),
    )
    narrator.check("every step ran, and none ran twice", held=runs == dict.fromkeys(STEPS, 1))
    narrator.check(
        "the result is the one that an undisturbed order has",
        held=status == {"status": "done", "result": RESULT},
    )
    return names.keys()


async def _kill_the_worker(
    narrator: Narrator, running: Stage, store: Resonate, names: Mapping[int, str]
) -> tuple[Attempt, bool]:
    """Kill the worker of the order while step 2 is pending.

    Return what it had run, and whether step 2 was pending before and after.
    """
    first = await running.journal.begun(STEPS[0])
    second = await running.journal.begun(STEPS[1])
    narrator.happens("Step 1 is done; step 2 has begun, and the order waits for it")
    narrator.detail(f"step 1 ran on {names[first.pid]} (pid {first.pid})")
    narrator.detail(f"step 2 runs on {names[second.pid]} (pid {second.pid})")

    before = await store.promises.get(second.promise_id)
    narrator.happens(f"Killing {names[first.pid]} with SIGKILL (pid {first.pid})")
    os.kill(first.pid, signal.SIGKILL)
    await _gone(running, first.pid)
    after = await store.promises.get(second.promise_id)
    narrator.detail(f"promise {second.promise_id} of step 2 is {after.state} in the store")
    return first, before.state == after.state == "pending"


async def _gone(running: Stage, pid: int) -> None:
    """Return when the supervisor has noticed the end of a process."""
    while True:
        if pid not in running.system.supervisor.pids.values():
            return
        await asyncio.sleep(LOOK_EVERY_SECONDS)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _rows(
    attempts: Sequence[Attempt], names: Mapping[int, str], *, killed: int
) -> list[Sequence[object]]:
    rows: list[Sequence[object]] = [("step", "process", "pid", "")]
    rows += [
        (
            f"{STEPS.index(attempt.step) + 1} {attempt.step}",
            names.get(attempt.pid, "?"),
            attempt.pid,
            "killed afterwards" if attempt.pid == killed else "",
        )
        for attempt in attempts
    ]
    return rows
