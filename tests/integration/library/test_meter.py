"""What a process tells whoever counts: each task that left it, each attempt at a step."""

import asyncio
from collections import Counter
from typing import Any

from holdfast import Constant, Context, Never
from holdfast.core.records import TARGET
from holdfast.meter import OTHER, StepEnd, TaskEnd
from tests.integration.library.world import World, held, until


class Counting:
    """A meter that a test can read."""

    def __init__(self) -> None:
        self.tasks: Counter[tuple[str, str]] = Counter()
        self.steps: Counter[tuple[str, str]] = Counter()
        self.seconds: list[float] = []

    def task_ended(self, *, func: str, outcome: TaskEnd) -> None:
        self.tasks[func, outcome] += 1

    def step_ended(self, *, func: str, outcome: StepEnd, seconds: float) -> None:
        self.steps[func, outcome] += 1
        self.seconds.append(seconds)


def fails(ctx: Context) -> None:
    raise ConnectionError("no")


async def test_tasks_and_steps_are_counted_by_registered_name(world: World) -> None:
    meter = Counting()
    resonate = world.client(meter=meter)
    resonate.register("fails", fails, retry_policy=Never())
    resonate.register("double", lambda ctx, n: 2 * n)

    @resonate.register(name="adds")
    def workflow(ctx: Context) -> Any:
        doubled = yield ctx.run("double", 2)
        added = yield ctx.run(lambda ctx: doubled + 1)
        now_ms = yield ctx.date.now()
        assert now_ms
        return added

    assert await resonate.run(world.new_id(), workflow) == 5
    handle = await resonate.begin_run(world.new_id(), "fails")
    await asyncio.wait([asyncio.ensure_future(handle.result())])

    assert meter.tasks == {("adds", "resolved"): 1, ("fails", "rejected"): 1}
    assert meter.steps == {
        ("double", "succeeded"): 1,
        (OTHER, "succeeded"): 1,
        ("fails", "failed"): 1,
    }
    assert len(meter.seconds) == 3
    assert min(meter.seconds) >= 0


async def test_each_attempt_at_a_step_counts(world: World) -> None:
    meter = Counting()
    resonate = world.client(meter=meter)
    left = ["once", "twice"]

    @resonate.register(retry_policy=Constant(delay=0.01, max_retries=5))
    def flaky(ctx: Context) -> str:
        if left:
            raise ConnectionError(left.pop())
        return "done"

    assert await resonate.run(world.new_id(), flaky) == "done"

    assert meter.steps == {("flaky", "failed"): 2, ("flaky", "succeeded"): 1}
    assert meter.tasks == {("flaky", "resolved"): 1}


async def test_a_suspended_task_counts_each_time_it_is_given_up(world: World) -> None:
    meter = Counting()
    resonate = world.client(meter=meter)

    @resonate.register
    def waits(ctx: Context) -> Any:
        answer = yield ctx.promise()
        return (yield answer)

    run_id = world.new_id()
    handle = await resonate.begin_run(run_id, waits)
    await until(lambda: meter.tasks["waits", "suspended"] == 1)
    assert resonate.held == held(resonate) == 0
    await resonate.promises.resolve(f"{run_id}.0", "yes")

    assert await handle == "yes"
    assert meter.tasks == {("waits", "suspended"): 1, ("waits", "resolved"): 1}


async def test_a_task_for_an_unknown_function_counts_without_its_name(world: World) -> None:
    meter = Counting()
    resonate = world.client(meter=meter)
    resonate.register("known", fails)
    await resonate.start()

    # Without the header that names the function, the store does not see that nobody here has it.
    await resonate.promises.create(
        world.new_id(),
        data={"func": "no.such", "args": []},
        tags={TARGET: f"poll://any@{world.group}"},
    )

    await until(lambda: meter.tasks[OTHER, "unknown_function"] > 0)
    assert set(meter.tasks) == {(OTHER, "unknown_function")}


async def test_tasks_given_back_by_a_stop_are_counted_as_released(world: World) -> None:
    meter = Counting()
    resonate = world.client(meter=meter)
    entered = asyncio.Event()

    @resonate.register
    async def endless(ctx: Context) -> None:
        entered.set()
        await asyncio.Event().wait()

    await resonate.begin_run(world.new_id(), endless)
    await entered.wait()
    assert resonate.held == 1
    await resonate.stop(grace=0)

    assert meter.tasks == {("endless", "released"): 1}
    assert meter.steps == {("endless", "canceled"): 1}
