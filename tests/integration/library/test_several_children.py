"""`ctx.all`, `ctx.race` and their kin, in both styles of workflows."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from holdfast import Context, Never, PromiseCanceled
from holdfast.core.requests import TaskFence, TaskHalt, TaskSuspend
from holdfast.runtime import execution, fenced, writer
from tests.integration.library.world import World, held, until

Command = Any
Make = Callable[[Context], Command]


def in_both_styles(make: Make) -> list[Any]:
    """Write the workflow that answers what a command answers, as a generator and as `async def`."""

    def generated(ctx: Context) -> Any:
        return (yield make(ctx))

    async def awaited(ctx: Context) -> Any:
        return await make(ctx)

    return [generated, awaited]


def outcome(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def fails(_ctx: Context, what: str) -> None:
    raise KeyError(what)


def say(_ctx: Context, what: str) -> str:
    return what


@pytest.fixture(params=["generated", "awaited"])
def style(request: pytest.FixtureRequest) -> int:
    return int(request.param == "awaited")


async def test_all_answers_values_in_order_and_wakes_once(world: World, style: int) -> None:
    """S18, and wait modes: one suspend for many children."""
    resonate, store = world.recording()
    resonate.register("say", say)

    def make(ctx: Context) -> Command:
        return ctx.all(*(ctx.rpc("say", str(n)) for n in range(30)), ctx.run(say, "local"))

    workflow = resonate.register("workflow", in_both_styles(make)[style])

    value = await resonate.run(world.new_id(), workflow)

    assert value == [*(str(n) for n in range(30)), "local"]
    suspends = [r for r in store.requests if isinstance(r, TaskSuspend)]
    assert len(suspends) <= 2  # the second one if the first was asked too early


def mixed(ctx: Context) -> list[Command]:
    return [ctx.rpc("say", "a"), ctx.rpc("fails", "b"), ctx.run(fails, "c"), ctx.sleep(0.01)]


async def test_all_raises_the_first_error_in_order(world: World, style: int) -> None:
    resonate = world.client(retry_policy=Never())
    resonate.register("say", say)
    resonate.register("fails", fails)
    resonate.register("workflow", in_both_styles(lambda ctx: ctx.all(*mixed(ctx)))[style])

    with pytest.raises(KeyError, match="b"):
        await resonate.run(world.new_id(), "workflow")


async def test_all_settled_answers_values_and_exceptions(world: World, style: int) -> None:
    resonate = world.client(retry_policy=Never())
    resonate.register("say", say)
    resonate.register("fails", fails)

    def generated(ctx: Context) -> Any:
        found = yield ctx.all_settled(*mixed(ctx))
        return [each if isinstance(each, str | None) else outcome(each) for each in found]

    async def awaited(ctx: Context) -> Any:
        found = await ctx.all_settled(*mixed(ctx))
        return [each if isinstance(each, str | None) else outcome(each) for each in found]

    resonate.register("workflow", [generated, awaited][style])

    value = await resonate.run(world.new_id(), "workflow")

    assert value == ["a", "KeyError: 'b'", "KeyError: 'c'", None]


async def test_nothing_at_all_is_there_at_once(world: World, style: int) -> None:
    resonate = world.client()
    resonate.register("workflow", in_both_styles(lambda ctx: ctx.all())[style])

    assert await resonate.run(world.new_id(), "workflow") == []


@pytest.mark.parametrize("winner", ["promise", "sleep"])
async def test_the_winner_of_a_race_is_the_same_in_every_pass(
    world: World, style: int, winner: str
) -> None:
    """S19: after the race both are settled; a pass that looks again must not change its mind."""
    resonate = world.client()
    gate = world.new_id("gate")
    passes: list[Any] = []

    def generated(ctx: Context) -> Any:
        answer = yield ctx.promise(id=gate)
        pause = yield ctx.begin_run(slow if winner == "promise" else quick)
        first = yield ctx.race(answer, pause)
        yield ctx.sleep(0.05)  # meanwhile the loser is settled as well
        passes.append(first)
        yield ctx.all(answer, pause)
        return first

    async def awaited(ctx: Context) -> Any:
        answer = ctx.promise(id=gate)
        pause = ctx.begin_run(slow if winner == "promise" else quick)
        first = await ctx.race(answer, pause)
        await ctx.sleep(0.05)
        passes.append(first)
        await ctx.all(answer, pause)
        return first

    def slow(ctx: Context) -> Any:
        yield (yield ctx.promise(id=f"{gate}/slow"))
        return "pause"

    def quick(ctx: Context) -> Any:
        yield ctx.sleep(0.01)
        return "pause"

    resonate.register("workflow", [generated, awaited][style])
    handle = await resonate.begin_run(world.new_id(), "workflow")
    await world.existing(resonate, gate)
    if winner == "promise":
        await resonate.promises.resolve(gate, "answer")
        await world.existing(resonate, f"{gate}/slow")
        await until(lambda: bool(passes))
        await resonate.promises.resolve(f"{gate}/slow", None)
    else:
        await until(lambda: bool(passes))
        await resonate.promises.resolve(gate, "answer")

    expected = "answer" if winner == "promise" else "pause"
    assert await handle.result(timeout=10) == expected
    assert set(passes) == {expected}


async def test_of_several_that_are_settled_when_the_worker_looks_the_earliest_wins(
    world: World, style: int
) -> None:
    """A worker that was away finds both settled: what came first counts, not what was named so."""
    gates = [world.new_id("gate") for _ in range(2)]
    resonate = world.client(accept_tasks=False)

    def make(ctx: Context) -> Command:
        return ctx.race(*(ctx.promise(id=gate) for gate in gates))

    resonate.register("workflow", in_both_styles(make)[style])
    run_id = world.new_id()
    handle = await resonate.begin_run(run_id, "workflow")
    await world.existing(resonate, gates[1])
    await until(lambda: held(resonate) == 0)
    await resonate.promises.resolve(gates[1], "early")
    await asyncio.sleep(0.005)
    await resonate.promises.resolve(gates[0], "late")
    await resonate.begin_run(run_id, "workflow")

    assert await handle.result(timeout=10) == "early"


async def test_a_loser_that_is_canceled_delays_nothing(world: World, style: int) -> None:
    resonate = world.client()
    gate = world.new_id("gate")

    def make(ctx: Context) -> Command:
        return ctx.select(ctx.sleep(0.01), ctx.promise(id=gate), cancel_rest=True)

    resonate.register("workflow", in_both_styles(make)[style])

    assert await resonate.run(world.new_id(), "workflow") == 0
    assert (await resonate.promises.get(gate)).state == "rejected_canceled"


async def test_a_loser_that_is_not_canceled_is_waited_for(world: World, style: int) -> None:
    resonate = world.client()
    gate = world.new_id("gate")

    def make(ctx: Context) -> Command:
        return ctx.race(ctx.sleep(0.01), ctx.promise(id=gate))

    resonate.register("workflow", in_both_styles(make)[style])
    handle = await resonate.begin_run(world.new_id(), "workflow")
    await world.existing(resonate, gate)
    with pytest.raises(TimeoutError):
        await handle.result(timeout=0.2)

    await resonate.promises.resolve(gate, None)

    assert await handle.result(timeout=10) is None


async def test_any_is_the_first_that_succeeds(world: World, style: int) -> None:
    resonate = world.client(retry_policy=Never())
    resonate.register("say", say)
    resonate.register("fails", fails)

    def make(ctx: Context) -> Command:
        return ctx.any(ctx.run(fails, "a"), ctx.rpc("fails", "b"), ctx.rpc("say", "c"))

    resonate.register("workflow", in_both_styles(make)[style])

    assert await resonate.run(world.new_id(), "workflow") == "c"


async def test_any_of_nothing_but_failures_raises_all_of_them(world: World, style: int) -> None:
    resonate = world.client(retry_policy=Never())
    resonate.register("fails", fails)

    def make(ctx: Context) -> Command:
        return ctx.any(ctx.run(fails, "a"), ctx.rpc("fails", "b"))

    resonate.register("workflow", in_both_styles(make)[style])

    with pytest.raises(ExceptionGroup) as caught:
        await resonate.run(world.new_id(), "workflow")
    assert [outcome(each) for each in caught.value.exceptions] == ["KeyError: 'a'", "KeyError: 'b'"]


async def test_a_race_raises_the_error_of_its_winner(world: World, style: int) -> None:
    resonate = world.client(retry_policy=Never())
    gate = world.new_id("gate")

    def make(ctx: Context) -> Command:
        return ctx.race(ctx.promise(id=gate), ctx.sleep(60), cancel_rest=True)

    resonate.register("workflow", in_both_styles(make)[style])
    handle = await resonate.begin_run(world.new_id(), "workflow")
    await world.existing(resonate, gate)
    await resonate.promises.cancel(gate)

    with pytest.raises(PromiseCanceled):
        await handle.result(timeout=10)


async def test_what_a_pass_saw_first_counts_even_if_something_else_was_settled_before(
    world: World, style: int
) -> None:
    """The step settles the promise and returns: the pass sees the step, the records the promise."""
    resonate = world.client()
    gate = world.new_id("gate")
    passes: list[int] = []

    async def settles(_ctx: Context) -> None:
        await resonate.promises.resolve(gate, None)

    def generated(ctx: Context) -> Any:
        place = yield ctx.select(ctx.promise(id=gate), ctx.run(settles))
        passes.append(place)
        yield ctx.sleep(0.02)
        return place

    async def awaited(ctx: Context) -> Any:
        place = await ctx.select(ctx.promise(id=gate), ctx.run(settles))
        passes.append(place)
        await ctx.sleep(0.02)
        return place

    resonate.register("workflow", [generated, awaited][style])

    assert await resonate.run(world.new_id(), "workflow") == 1
    assert set(passes) == {1}
    assert len(passes) == (2 if world.replays else 1)


async def test_the_choice_is_recorded_before_anything_follows_from_it(
    world: World, style: int
) -> None:
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

    async def look(_ctx: Context) -> None:  # on the loop: nothing comes in between
        seen.append(list(answered))

    def generated(ctx: Context) -> Any:
        first = yield ctx.begin_run(say, "a")
        yield first
        yield ctx.run(look)
        yield ctx.sleep(0.001)  # all of that is durable now, so that only the choice is not
        place = yield ctx.select(first, ctx.sleep(60), cancel_rest=True)
        yield ctx.run(look)
        return place

    async def awaited(ctx: Context) -> Any:
        first = ctx.begin_run(say, "a")
        await first
        await ctx.run(look)
        await ctx.sleep(0.001)
        place = await ctx.select(first, ctx.sleep(60), cancel_rest=True)
        await ctx.run(look)
        return place

    resonate.register("workflow", [generated, awaited][style])
    run_id = world.new_id()

    assert await resonate.run(run_id, "workflow") == 0
    assert f"{run_id}.0" in seen[0]
    assert f"{run_id}.4" in seen[-1]
    record = await resonate.promises.get(f"{run_id}.4")
    assert (record.param, record.value) == ({"func": "select", "version": 1}, 0)


@pytest.mark.parametrize(
    "make", [lambda ctx: ctx.race(), lambda ctx: ctx.all(1)], ids=["no part", "no child"]
)
async def test_what_cannot_be_waited_for_is_a_type_error(world: World, make: Make) -> None:
    resonate = world.client()

    def workflow(ctx: Context) -> Any:
        yield ctx.sleep(0)
        make(ctx)

    resonate.register("workflow", workflow)

    with pytest.raises(TypeError, match="part"):
        await resonate.run(world.new_id(), "workflow")


def waits_for_each_of(ctx: Context, ids: list[str]) -> Any:
    return (yield ctx.all(*(ctx.promise(id=each) for each in ids)))


async def test_more_children_than_a_suspend_names_are_waited_for_one_part_after_the_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fenced, "SURELY_NAMEABLE", 1)
    monkeypatch.setattr(fenced, "ALL_BYTES_MAX", 150)
    resonate, store = world.recording()
    resonate.register("workflow", waits_for_each_of)
    ids = [world.new_id("p") for _ in range(7)]

    handle = await resonate.begin_run(world.new_id(), "workflow", ids)
    for part, start in enumerate((0, 3, 6), 1):
        await store.until(TaskSuspend, part)
        for each in ids[start : start + 3]:
            await resonate.promises.resolve(each, each)

    assert await handle.result() == ids
    suspends = [r for r in store.requests if isinstance(r, TaskSuspend)]
    assert [a.awaited for suspend in suspends for a in suspend.actions] == ids
    assert [len(suspend.actions) for suspend in suspends] == [3, 3, 1]


async def test_a_join_is_read_as_far_as_it_is_settled_before_its_task_is_suspended_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is adopted from elsewhere comes with no preload."""
    monkeypatch.setattr(execution, "GETS_PER_CHAIN", 2)
    resonate, store = world.recording()
    resonate.register("workflow", waits_for_each_of)
    ids = [world.new_id("p") for _ in range(9)]

    handle = await resonate.begin_run(world.new_id(), "workflow", ids)
    await store.until(TaskSuspend)
    for each in ids:
        await resonate.promises.resolve(each, each)

    assert await handle.result() == ids
    assert len([r for r in store.requests if isinstance(r, TaskSuspend)]) == 1


async def test_a_race_of_more_than_a_suspend_names_halts_its_task_and_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fenced, "SURELY_NAMEABLE", 1)
    monkeypatch.setattr(fenced, "ANY_BYTES_MAX", 150)
    resonate, store = world.recording()

    def workflow(ctx: Context) -> Any:
        return (yield ctx.race(*(ctx.promise() for _ in range(7))))

    resonate.register("workflow", workflow)
    await resonate.begin_run(world.new_id(), "workflow")

    [halt] = await store.until(TaskHalt)
    assert "it waits for any of 7 promises, and a suspend has room for" in halt.reason
    assert "ctx.all" in halt.reason


async def test_a_suspend_that_may_fill_a_message_goes_by_itself(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "SURELY_NAMEABLE", 2)
    resonate, store = world.recording()

    def workflow(ctx: Context, count: int) -> Any:
        return (yield ctx.all(*(ctx.promise() for _ in range(count))))

    resonate.register("workflow", workflow)
    await resonate.begin_run(world.new_id(), "workflow", 2)
    await store.until_kinds([["PromiseCreate", "PromiseCreate", "TaskSuspend"]])
    await resonate.begin_run(world.new_id(), "workflow", 3)
    await store.until_kinds([["PromiseCreate"] * 3, ["TaskSuspend"]])
