"""Workflows that are `async def`: what generators can do, and what only they can get wrong."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from holdfast import Constant, Context, Never, NonDurableAwait, PromiseCanceled
from holdfast.core.requests import TaskFence, TaskHalt, TaskSuspend
from holdfast.testing.clock import FakeClock
from tests.integration.library.world import RecordingStore, World, held, until

T = TypeVar("T")


class Log:
    """What ran, in order."""

    def __init__(self) -> None:
        self.entries: list[str] = []

    def note(self, _ctx: Context, name: str) -> str:
        self.entries.append(name)
        return name


@pytest.fixture
def log() -> Log:
    return Log()


def double(_ctx: Context, number: int) -> int:
    return 2 * number


async def increment(_ctx: Context, number: int) -> int:
    await asyncio.sleep(0)
    return number + 1


async def halted(store: RecordingStore) -> str:
    [halt] = await store.until(TaskHalt)
    return str(halt.reason)


# What generators can do


async def test_steps_run_once_although_the_body_is_entered_again(world: World, log: Log) -> None:
    resonate = world.client()
    passes: list[int] = []

    @resonate.register
    async def workflow(ctx: Context) -> list[str]:
        passes.append(1)
        first = await ctx.run(log.note, "first")
        await ctx.sleep(0.05)
        second = await ctx.run(log.note, "second")
        await ctx.sleep(0.05)
        return [first, second, await ctx.run(log.note, "third")]

    assert await resonate.run(world.new_id(), workflow) == ["first", "second", "third"]
    assert log.entries == ["first", "second", "third"]
    assert len(passes) == (3 if world.replays else 1)


async def test_workflows_of_both_styles_call_each_other(world: World) -> None:
    resonate = world.client()

    def generator(ctx: Context, number: int) -> Any:
        number = yield ctx.run(increment, number)
        yield ctx.sleep(0.01)
        return (yield ctx.run(inner, number))

    async def inner(ctx: Context, number: int) -> int:
        await ctx.sleep(0.01)
        return await ctx.run(double, number)

    @resonate.register
    async def workflow(ctx: Context, number: int) -> Any:
        first = await ctx.run(generator, number)
        return [first, await ctx.rpc("inner", first), await ctx.run(inner, first)]

    resonate.register("inner", inner)

    assert await resonate.run(world.new_id(), workflow, 1) == [4, 8, 8]


async def test_what_is_asked_for_begins_before_it_is_awaited(world: World) -> None:
    resonate = world.client()
    meeting = threading.Barrier(3, timeout=10)

    def meet(_ctx: Context, number: int) -> int:
        meeting.wait()
        return number

    @resonate.register
    async def workflow(ctx: Context) -> list[int]:
        calls: list[Awaitable[int]] = [ctx.run(meet, 0), ctx.begin_run(meet, 1), ctx.run(meet, 2)]
        return [await call for call in reversed(calls)]

    assert await resonate.run(world.new_id(), workflow) == [2, 1, 0]


async def test_both_styles_leave_the_same_records(world: World) -> None:
    """S16: a worker of one style can go on where one of the other stopped."""
    resonate = world.client()
    resonate.register("callee", double)

    def fails(_ctx: Context) -> None:
        raise KeyError("gone")

    def generated(ctx: Context) -> Any:
        local = yield ctx.run(double, 1)
        begun = yield ctx.begin_run(double, 2)
        remote = yield ctx.rpc("callee", 3)
        now = yield ctx.date.now()
        yield ctx.sleep(0.01)
        caught = ""
        try:
            yield ctx.run(fails, ctx.options(retry_policy=Never()))
        except KeyError as error:
            caught = str(error)
        adopted = yield ctx.run(double, 4, ctx.options(id=f"{ctx.id}/own", tags={"a": "b"}))
        detached = yield ctx.detached("callee", 5)
        return [local, (yield begun), remote, now > 0, caught, adopted, (yield detached)]

    async def awaited(ctx: Context) -> Any:
        local = await ctx.run(double, 1)
        begun = ctx.begin_run(double, 2)
        remote = await ctx.rpc("callee", 3)
        now = await ctx.date.now()
        await ctx.sleep(0.01)
        caught = ""
        try:
            await ctx.run(fails, ctx.options(retry_policy=Never()))
        except KeyError as error:
            caught = str(error)
        own = ctx.options(id=f"{ctx.id}/own", tags={"a": "b"})
        adopted = await own.run(double, 4)
        detached = ctx.detached("callee", 5)
        return [local, await begun, remote, now > 0, caught, adopted, await detached]

    resonate.register("generated", generated)
    resonate.register("awaited", awaited)
    records = []
    for name in ("generated", "awaited"):
        run_id = world.new_id()
        value = await resonate.run(run_id, name)
        assert value == [2, 4, 6, True, "'gone'", 8, 10]
        ids = [run_id, f"{run_id}/own", *(f"{run_id}.{n}" for n in (0, 1, 2, 4))]
        read = [await resonate.promises.get(promise_id, raw=True) for promise_id in ids]
        records.append(
            [
                (
                    r.id.replace(run_id, "R"),
                    r.state,
                    (r.param or "") if r.id != run_id else None,
                    r.value,
                    {k: v.replace(run_id, "R") for k, v in r.tags.items() if "pid" not in k},
                )
                for r in read
            ]
        )

    assert records[0] == records[1]


async def test_children_that_were_never_awaited_end_before_their_parent(
    world: World, log: Log
) -> None:
    resonate = world.client()
    resonate.register("remote", log.note)

    async def slow(ctx: Context) -> None:
        await asyncio.sleep(0.05)
        log.note(ctx, "local")

    @resonate.register
    async def workflow(ctx: Context) -> str:
        ctx.begin_run(slow)
        ctx.begin_rpc("remote", "remote")
        ctx.sleep(0.02)
        return "value"

    assert await resonate.run(world.new_id(), workflow) == "value"
    assert sorted(log.entries) == ["local", "remote"]


async def test_a_workflow_holds_nothing_while_it_waits(world: World) -> None:
    resonate = world.client()

    @resonate.register
    async def workflow(ctx: Context, gate: str) -> Any:
        try:
            return await ctx.promise(id=gate)
        except PromiseCanceled:
            return "canceled"

    for settle in (resonate.promises.resolve, resonate.promises.cancel):
        gate = world.new_id("gate")
        handle = await resonate.begin_run(world.new_id(), workflow, gate)
        await world.existing(resonate, gate)
        await until(lambda: held(resonate) == 0)
        await settle(gate, "value")
        expected = "value" if settle == resonate.promises.resolve else "canceled"
        assert await handle.result(timeout=10) == expected


# asyncio's own tools


async def test_gather_waits_for_children_of_every_kind_and_keeps_their_order(
    world: World, log: Log
) -> None:
    resonate = world.client()
    resonate.register("remote", double)

    @resonate.register
    async def workflow(ctx: Context) -> Any:
        first = await asyncio.gather(
            ctx.run(log.note, "a"), ctx.rpc("remote", 1), ctx.sleep(0.05), ctx.run(log.note, "b")
        )
        second = await asyncio.gather(*(ctx.rpc("remote", n) for n in range(20)))
        return [first, second]

    value = await resonate.run(world.new_id(), workflow)

    assert value == [["a", 2, None, "b"], [2 * n for n in range(20)]]
    assert sorted(log.entries) == ["a", "b"]


async def test_a_workflow_that_gathers_holds_nothing_while_it_waits(world: World) -> None:
    resonate = world.client()

    @resonate.register
    async def workflow(ctx: Context, gates: list[str]) -> Any:
        return await asyncio.gather(*(ctx.promise(id=gate) for gate in gates))

    gates = [world.new_id("gate") for _ in range(3)]
    handle = await resonate.begin_run(world.new_id(), workflow, gates)
    for gate in gates:
        await world.existing(resonate, gate)
        await until(lambda: held(resonate) == 0)
        await resonate.promises.resolve(gate, gate)

    assert await handle.result(timeout=10) == gates


async def test_gather_collects_exceptions_and_nothing_else(world: World) -> None:
    """What ends a pass must not look like an exception of a child."""
    resonate = world.client()
    resonate.register("fails", lambda ctx: 1 / 0, retry_policy=Never())

    @resonate.register
    async def workflow(ctx: Context) -> Any:
        found = await asyncio.gather(
            ctx.rpc("fails"), ctx.sleep(0.02), ctx.rpc("fails"), return_exceptions=True
        )
        return [type(each).__name__ for each in found]

    value = await resonate.run(world.new_id(), workflow)

    assert value == ["ZeroDivisionError", "NoneType", "ZeroDivisionError"]


async def test_a_task_group_may_wait_for_children(world: World) -> None:
    resonate = world.client()
    resonate.register("remote", double)

    async def wait(call: Awaitable[T]) -> T:
        return await call

    @resonate.register
    async def workflow(ctx: Context) -> Any:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(wait(ctx.rpc("remote", n))) for n in range(3)]
            group.create_task(wait(ctx.sleep(0.02)))
        return [task.result() for task in tasks]

    assert await resonate.run(world.new_id(), workflow) == [0, 2, 4]


# Step or workflow


async def test_an_async_function_without_durable_calls_is_a_step_and_is_retried(
    world: World,
) -> None:
    clock = FakeClock()
    resonate = world.client(clock=clock)
    attempts: list[int] = []

    @resonate.register
    async def step(ctx: Context) -> str:
        attempts.append(ctx.info.attempt)
        if len(attempts) == 1:
            raise ConnectionError
        return "done"

    handle = await resonate.begin_run(world.new_id(), step)
    await clock.someone_sleeps()
    clock.advance(2)

    assert await handle == "done"
    assert attempts == [1, 2]


@pytest.mark.parametrize("how", ["root", "child"])
async def test_once_it_made_a_durable_call_it_is_not_retried_as_a_whole(
    world: World, how: str
) -> None:
    resonate = world.client()
    entered: list[str] = []

    @resonate.register
    async def fails(ctx: Context) -> None:
        entered.append(ctx.id)
        await ctx.run(double, 1)
        raise ConnectionError("meant")

    @resonate.register
    async def parent(ctx: Context) -> None:
        await ctx.run(fails)

    with pytest.raises(ConnectionError, match="meant"):
        await resonate.run(world.new_id(), fails if how == "root" else parent)
    assert len(entered) == 1


async def test_asked_to_it_is_retried_and_its_steps_are_not(world: World, log: Log) -> None:
    resonate = world.client()
    entered: list[int] = []

    async def child(ctx: Context) -> str:
        entered.append(ctx.info.attempt)
        note = await ctx.run(log.note, "step")
        if len(entered) == 1:
            raise ConnectionError
        return note

    @resonate.register
    async def workflow(ctx: Context) -> Any:
        return await ctx.options(retry_policy=Constant(delay=0.01)).run(child)

    assert await resonate.run(world.new_id(), workflow) == "step"
    assert entered == [1, 2]
    assert log.entries == ["step"]


async def test_registered_as_a_workflow_it_is_never_a_step(world: World) -> None:
    clock = FakeClock()
    resonate = world.client(clock=clock)

    @resonate.register(kind="workflow")
    async def refuses(_ctx: Context, _order: object) -> None:
        raise ValueError("at once")

    with pytest.raises(ValueError, match="at once"):
        await resonate.run(world.new_id(), refuses, {})
    assert clock.slept == []


async def test_registered_as_a_step_it_makes_no_durable_calls(world: World) -> None:
    resonate, store = world.recording()

    @resonate.register(kind="step")
    async def step(ctx: Context) -> None:
        await ctx.run(double, 1)

    await resonate.begin_run(world.new_id(), step)

    assert "it is a step" in await halted(store)


# What goes wrong


async def test_a_workflow_that_awaits_what_no_promise_records_is_halted(world: World) -> None:
    resonate, store = world.recording()

    @resonate.register(kind="workflow")
    async def workflow(ctx: Context) -> None:
        await ctx.run(double, 1)
        await asyncio.get_running_loop().create_future()

    await resonate.begin_run(world.new_id(), workflow)

    reason = await halted(store)
    assert reason.startswith("NonDurableAwait: workflow (")
    assert "do it in a step" in reason


async def test_of_one_that_is_not_registered_as_a_workflow_the_log_warns(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    resonate = world.client()

    @resonate.register
    async def workflow(ctx: Context) -> int:
        number = await ctx.run(double, 1)
        await asyncio.sleep(0.05)
        return number

    with caplog.at_level(logging.WARNING, "holdfast"):
        assert await resonate.run(world.new_id(), workflow) == 2

    assert [r.message for r in caplog.records] == ["non_durable_await"]


async def test_a_durable_call_of_another_task_is_halted(world: World) -> None:
    """Which of the two helpers comes first to its second call is a matter of timing."""
    resonate, store = world.recording()

    async def helper(ctx: Context) -> int:
        return await ctx.run(double, await ctx.run(double, 1))

    @resonate.register
    async def workflow(ctx: Context) -> Any:
        return await asyncio.gather(helper(ctx), helper(ctx), return_exceptions=True)

    await resonate.begin_run(world.new_id(), workflow)

    assert "in another asyncio task than the function's own" in await halted(store)


async def test_helpers_that_run_beside_each_other_are_children_of_their_own(world: World) -> None:
    resonate = world.client()

    async def helper(ctx: Context, number: int) -> int:
        await ctx.sleep(0.01)
        return await ctx.run(double, await ctx.run(double, number))

    @resonate.register
    async def workflow(ctx: Context) -> Any:
        return await asyncio.gather(*(ctx.run(helper, n) for n in range(5)))

    assert await resonate.run(world.new_id(), workflow) == [4 * n for n in range(5)]


async def test_a_helper_that_is_awaited_is_a_part_of_the_body(world: World) -> None:
    resonate = world.client()

    async def helper(ctx: Context, number: int) -> int:
        await ctx.sleep(0.01)
        return await ctx.run(double, number)

    @resonate.register
    async def workflow(ctx: Context) -> list[str | int]:
        return [await helper(ctx, 1), await helper(ctx, 2), (await ctx.run(lambda ctx: ctx.id))]

    run_id = world.new_id()
    assert await resonate.run(run_id, workflow) == [2, 4, f"{run_id}.4"]


@pytest.mark.parametrize("what", ["promise", "step"])
async def test_a_timeout_around_a_durable_wait_is_halted(world: World, what: str) -> None:
    resonate, store = world.recording(parked_max=16)
    may_end = asyncio.Event()

    async def slow(_ctx: Context) -> None:
        await may_end.wait()

    @resonate.register
    async def workflow(ctx: Context) -> str:
        try:
            async with asyncio.timeout(0.05):
                await (ctx.promise() if what == "promise" else ctx.run(slow))
        except Exception:  # noqa: BLE001 - swallowing it must not help
            return "late"
        return "in time"

    handle = await resonate.begin_run(world.new_id(), workflow)
    reason = await halted(store)
    may_end.set()

    assert "Use ctx.race() with ctx.sleep()" in reason
    assert await handle.state() == "pending"


async def test_a_call_after_the_end_is_an_error_of_whoever_makes_it(world: World) -> None:
    resonate = world.client()
    late: list[asyncio.Task[Any]] = []
    may_call = asyncio.Event()

    @resonate.register
    async def workflow(ctx: Context) -> str:
        async def calls_late() -> None:
            await may_call.wait()
            ctx.begin_run(double, 1)

        late.append(asyncio.create_task(calls_late()))
        return await ctx.run(lambda _ctx: "value")

    assert await resonate.run(world.new_id(), workflow) == "value"
    may_call.set()
    (error,) = await asyncio.gather(*late, return_exceptions=True)

    assert isinstance(error, NonDurableAwait)
    assert "was called after the function had returned" in str(error)


async def test_panic_halts_whatever_the_body_catches(world: World) -> None:
    resonate, store = world.recording()

    @resonate.register
    async def workflow(ctx: Context, value: int) -> str:
        try:
            await ctx.run(double, 1)
            await ctx.panic(condition=False)
            await ctx.assert_(value > 0, "value must be positive")  # noqa: PT009 - the context's
        except Exception:  # noqa: BLE001 - swallowing it must not help
            return "swallowed"
        return "done"

    await resonate.begin_run(world.new_id(), workflow, 0)

    assert await halted(store) == "Panic: value must be positive"


async def test_a_step_in_another_place_halts(world: World) -> None:
    resonate, store = world.recording(parked_max=0)
    steps: list[Callable[..., Any]] = [double, increment]

    @resonate.register
    async def workflow(ctx: Context) -> int:
        number: int = await ctx.run(steps[0], 1)
        steps.reverse()
        await ctx.sleep(0.01)
        return number

    await resonate.begin_run(world.new_id(), workflow)

    assert (await halted(store)).startswith("NonDeterminism: ")


async def test_clean_up_runs_when_the_client_stops_and_begins_nothing(world: World) -> None:
    resonate = world.client()
    cleaned: list[str] = []
    gate = world.new_id("gate")

    @resonate.register
    async def workflow(ctx: Context) -> None:
        try:
            await ctx.promise(id=gate)
        except BaseException:  # noqa: BLE001 - swallowing it must not help
            cleaned.append("caught")
            await ctx.run(lambda _ctx: cleaned.append("ran"))
        finally:
            cleaned.append("finally")

    await resonate.begin_run(world.new_id(), workflow)
    await world.existing(resonate, gate)
    await until(lambda: held(resonate) == 0)
    await resonate.stop()

    assert cleaned in (["caught", "finally"], ["finally", "caught"], ["caught", "finally"] * 2)


async def test_options_come_before_the_call(world: World) -> None:
    resonate = world.client()

    @resonate.register
    async def workflow(ctx: Context) -> Any:
        call = ctx.run(double, 1)
        try:
            call.options(timeout=5)
        except TypeError as error:
            return [str(error), await call, call.id, call.done]

    run_id = world.new_id()
    message, *rest = await resonate.run(run_id, workflow)

    assert message == "ctx.run(double) has begun; options come first: ctx.options(...).run()"
    assert rest == [2, f"{run_id}.0", True]


async def test_the_next_step_waits_for_the_record_of_the_one_before(world: World) -> None:
    resonate, store = world.recording()
    answered: list[str] = []
    seen: list[list[str]] = []
    submit = store.submit

    def watching(chain: Any, **options: Any) -> Any:
        future = submit(chain, **options)
        ids = [r.action.id for r in chain if isinstance(r, TaskFence)]
        future.add_done_callback(lambda _: answered.extend(ids))
        return future

    store.submit = watching  # type: ignore[method-assign]

    async def look(_ctx: Context) -> None:
        seen.append(list(answered))

    @resonate.register(kind="workflow")
    async def workflow(ctx: Context) -> Any:
        await ctx.run(look)
        await ctx.run(look)
        await asyncio.gather(ctx.run(look), ctx.run(look))
        await ctx.run(look)

    run_id = world.new_id()
    await resonate.run(run_id, workflow)

    assert seen[0] == []
    assert f"{run_id}.0" in seen[1]
    assert f"{run_id}.1" in seen[2]
    assert {f"{run_id}.2", f"{run_id}.3"} <= set(seen[4])


async def test_a_workflow_is_not_suspended_while_what_it_began_here_runs(world: World) -> None:
    resonate, store = world.recording(accept_tasks=False)
    gate = world.new_id("gate")
    running, may_end = asyncio.Event(), asyncio.Event()

    async def step(_ctx: Context) -> None:
        running.set()
        await may_end.wait()

    @resonate.register
    async def workflow(ctx: Context) -> Any:
        ctx.begin_run(step)
        return await ctx.promise(id=gate)

    await resonate.begin_run(world.new_id(), workflow)
    await world.existing(resonate, gate)
    await running.wait()
    early = [r for r in store.requests if isinstance(r, TaskSuspend)]
    may_end.set()
    await until(lambda: held(resonate) == 0)

    assert early == []
    assert len([r for r in store.requests if isinstance(r, TaskSuspend)]) == 1


async def test_a_fan_out_and_the_suspend_are_one_transaction(world: World) -> None:
    resonate, store = world.recording(accept_tasks=False)

    @resonate.register
    async def workflow(ctx: Context) -> Any:
        return await asyncio.gather(*(ctx.rpc("elsewhere", n) for n in range(50)))

    await resonate.begin_run(world.new_id(), workflow)
    await until(lambda: held(resonate) == 0)

    operations = [kind for kinds in store.kinds() for kind in kinds]
    assert operations.count("PromiseCreate") == 50
    assert len(store.kinds()) <= 3
