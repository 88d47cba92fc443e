"""What a workflow can do, and that it does it once."""

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from holdfast import (
    Context,
    Never,
    Options,
    PromiseCanceled,
    PromiseTimedOut,
    Resonate,
)
from holdfast.core.records import BRANCH, ORIGIN, PARENT, PREFIX, SCOPE, TARGET, TIMER
from tests.integration.library.world import World, each, until


class Log:
    """What ran, in order; each workflow test counts with it."""

    def __init__(self) -> None:
        self.entries: list[str] = []

    def note(self, ctx: Context, name: str) -> str:
        self.entries.append(name)
        return name


@pytest.fixture
def log() -> Log:
    return Log()


async def test_steps_run_once_although_the_body_is_entered_again(world: World, log: Log) -> None:
    resonate = world.client()
    passes: list[int] = []

    @resonate.register
    def workflow(ctx: Context) -> Any:
        passes.append(1)
        first = yield ctx.run(log.note, "first")
        yield ctx.sleep(0.05)
        second = yield ctx.run(log.note, "second")
        yield ctx.sleep(timedelta(seconds=0.05))
        third = yield ctx.run(log.note, "third")
        return [first, second, third]

    value = await resonate.run(world.new_id(), workflow)

    assert value == ["first", "second", "third"]
    assert log.entries == ["first", "second", "third"]
    assert len(passes) == (3 if world.replays else 1)


async def test_async_steps_and_sync_steps_and_child_workflows_mix(world: World) -> None:
    resonate = world.client()

    async def on_the_loop(_ctx: Context, number: int) -> int:
        await asyncio.sleep(0.01)
        return number + 1

    def in_a_thread(_ctx: Context, number: int) -> Any:
        return [number + 1, threading.current_thread() is threading.main_thread()]

    def inner(ctx: Context, number: int) -> Any:
        a = yield ctx.run(on_the_loop, number)
        yield ctx.sleep(0.01)
        b = yield from ctx.run(in_a_thread, a)
        return b

    @resonate.register
    def outer(ctx: Context) -> Any:
        return (yield ctx.run(inner, 1))

    assert await resonate.run(world.new_id(), outer) == [3, False]


async def test_begun_children_run_side_by_side(world: World) -> None:
    resonate = world.client()
    meeting = threading.Barrier(3, timeout=10)

    def meet(_ctx: Context, number: int) -> int:
        meeting.wait()
        return number

    @resonate.register
    def workflow(ctx: Context) -> Any:
        futures = yield from each(ctx.begin_run(meet, number) for number in range(3))
        return (yield from each(futures))

    assert await resonate.run(world.new_id(), workflow) == [0, 1, 2]


async def test_many_remote_children_are_gathered_in_order(world: World) -> None:
    resonate = world.client()

    @resonate.register
    async def square(_ctx: Context, number: int) -> int:
        await asyncio.sleep(0.001 * (number % 7))
        return number * number

    @resonate.register
    def workflow(ctx: Context, count: int) -> Any:
        futures = yield from each(ctx.begin_rpc(square, number) for number in range(count))
        return (yield from each(futures))

    assert await resonate.run(world.new_id(), workflow, 60) == [n * n for n in range(60)]


async def test_recorded_readings_are_the_same_in_every_pass(world: World) -> None:
    resonate = world.client()
    readings: list[Any] = []

    @resonate.register
    def workflow(ctx: Context) -> Any:
        reading = [
            (yield ctx.date.now()),
            (yield ctx.math.random()),
            (yield ctx.time.time()),
            (yield ctx.random.randint(1, 10**9)),
            (yield ctx.uuid4()),
            (yield ctx.now()),
        ]
        readings.append(reading)
        yield ctx.sleep(0.02)
        return None

    before_ms = time.time() * 1000
    await resonate.run(world.new_id(), workflow)

    assert readings[0] == readings[-1]
    assert before_ms - 1 <= readings[0][0] <= time.time() * 1000
    assert isinstance(readings[0][5], datetime)


async def test_a_promise_with_an_id_is_settled_from_outside(world: World) -> None:
    resonate = world.client()
    approval = world.new_id("approve")

    @resonate.register
    def workflow(ctx: Context) -> Any:
        future = yield ctx.promise(id=approval, data={"ask": "please"})
        return (yield future)

    handle = await resonate.begin_run(world.new_id(), workflow)
    asked = await world.existing(resonate, approval)
    await resonate.promises.resolve(approval, value=True)
    late = await resonate.promises.resolve(approval, value=False)

    assert asked.param == {"ask": "please"}
    assert asked.is_pending
    assert await handle.result(timeout=10) is True
    assert late.value is True


async def test_a_promise_that_a_client_made_before_is_adopted(world: World) -> None:
    resonate = world.client()
    shared = world.new_id("shared")

    @resonate.register
    def workflow(ctx: Context) -> Any:
        return (yield (yield ctx.promise(id=shared)))

    await resonate.promises.create(shared, timeout=60, data=1)
    await resonate.promises.resolve(shared, {"ok": 1})

    assert await resonate.run(world.new_id(), workflow) == {"ok": 1}


async def test_two_workflows_share_an_operation_with_its_own_id(world: World, log: Log) -> None:
    resonate = world.client()
    operation = world.new_id("op")
    resonate.register("note", log.note)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        return (yield ctx.rpc("note", "once", ctx.options(id=operation)))

    values = await asyncio.gather(*(resonate.run(world.new_id(), workflow) for _ in range(3)))

    assert values == ["once"] * 3
    assert log.entries == ["once"]


async def test_ids_and_tags_are_those_of_the_official_sdk(world: World) -> None:
    resonate = world.client()
    resonate.register("child", lambda ctx: ctx.id)
    explicit = world.new_id("explicit")

    def inner(ctx: Context) -> Any:
        return [ctx.id, (yield ctx.run(lambda ctx: ctx.id))]

    @resonate.register
    def workflow(ctx: Context) -> Any:
        local = yield ctx.run(inner)
        remote = yield ctx.rpc("child", ctx.options(tags={"mine": "1"}))
        yield ctx.sleep(0.001)
        latent = yield ctx.promise(timeout=0.001)
        own = yield ctx.rpc("child", ctx.options(id=explicit))
        detached = yield ctx.detached("child")
        return [*local, remote, ctx.id + ".2", latent.id, own, (yield detached)]

    root = world.new_id()
    ids = await resonate.run(root, workflow)

    assert ids[:5] == [f"{root}.0", f"{root}.0.0", f"{root}.1", f"{root}.2", f"{root}.3"]
    assert ids[5] == explicit
    assert ids[6].startswith(f"{root}.d")
    tags = {promise_id: dict((await resonate.promises.get(promise_id)).tags) for promise_id in ids}
    inherited = {ORIGIN: root, PREFIX: root}
    here = f"poll://any@{world.group}"
    assert dict((await resonate.promises.get(root)).tags) == {
        **inherited,
        SCOPE: "global",
        BRANCH: root,
        PARENT: root,
        TARGET: f"{here}/{resonate.pid}",
    }
    assert tags[ids[0]] == {**inherited, SCOPE: "local", BRANCH: root, PARENT: root}
    assert tags[ids[1]] == {**inherited, SCOPE: "local", BRANCH: root, PARENT: ids[0]}
    assert tags[ids[2]] == {
        **inherited,
        SCOPE: "global",
        BRANCH: ids[2],
        PARENT: root,
        TARGET: here,
        "mine": "1",
    }
    assert tags[ids[3]] == {
        **inherited,
        SCOPE: "global",
        BRANCH: ids[3],
        PARENT: root,
        TIMER: "true",
    }
    assert tags[ids[4]] == {**inherited, SCOPE: "global", BRANCH: ids[4], PARENT: root}
    assert tags[ids[5]] == {
        SCOPE: "global",
        BRANCH: explicit,
        PARENT: root,
        ORIGIN: explicit,
        PREFIX: root,
        TARGET: here,
    }
    assert tags[ids[6]] == {
        SCOPE: "global",
        BRANCH: ids[6],
        PARENT: root,
        ORIGIN: ids[6],
        PREFIX: root,
        TARGET: here,
    }


async def test_params_and_values_are_encoded_as_the_official_sdk_does(world: World) -> None:
    resonate = world.client()

    @resonate.register(version=3)
    def child(ctx: Context, a: int, *, b: int) -> Any:
        return {"sum": a + b}

    @resonate.register
    def workflow(ctx: Context) -> Any:
        yield ctx.rpc(child, 1, ctx.options(retry_policy=Never()), b=2)
        yield ctx.run(lambda ctx: None)
        return None

    root = world.new_id()
    await resonate.run(root, workflow)
    remote = await resonate.promises.get(f"{root}.0")
    local = await resonate.promises.get(f"{root}.1", raw=True)

    assert remote.param == {
        "func": "child",
        "args": [1],
        "kwargs": {"b": 2},
        "version": 3,
        "retry": {"type": "never", "data": {}},
    }
    assert remote.value == {"sum": 3}
    assert (await resonate.promises.get(f"{root}.1")).param == {"func": "<lambda>", "version": 1}
    assert local.value is None


async def test_a_childs_deadline_is_capped_by_its_parents_but_not_a_detached_ones(
    world: World,
) -> None:
    resonate = world.client()
    resonate.register("child", lambda ctx: ctx.id)

    @resonate.register
    def workflow(ctx: Context) -> Any:
        yield ctx.run(lambda ctx: 0, ctx.options(timeout=3600))
        yield ctx.rpc("child", ctx.options(timeout=3600))
        yield ctx.promise(timeout=0.01)
        short = yield ctx.run(lambda ctx: 0, ctx.options(timeout=20))
        detached = yield ctx.detached("child", ctx.options(timeout=3600))
        return [short, detached.id]

    root = world.new_id()
    _, detached = await resonate.run(root, workflow, Options(timeout=60))
    deadline = (await resonate.promises.get(root)).timeout_at_ms

    assert (await resonate.promises.get(f"{root}.0")).timeout_at_ms == deadline
    assert (await resonate.promises.get(f"{root}.1")).timeout_at_ms == deadline
    assert (await resonate.promises.get(f"{root}.3")).timeout_at_ms < deadline - 30_000
    assert (await resonate.promises.get(detached)).timeout_at_ms > deadline + 3_000_000


async def test_children_that_end_badly_raise_typed_errors_in_the_workflow(world: World) -> None:
    resonate = world.client(retry_policy=Never())
    canceled = world.new_id("canceled")

    def fails(_ctx: Context) -> None:
        raise ValueError("local")

    @resonate.register
    def fails_there(_ctx: Context) -> None:
        raise LookupError("remote")

    @resonate.register
    def workflow(ctx: Context) -> Any:
        seen = []
        for command in (
            lambda: ctx.run(fails),
            lambda: ctx.rpc(fails_there),
            lambda: ctx.promise(timeout=0.01),
            lambda: ctx.promise(id=canceled),
        ):
            try:
                future = yield command()
                yield future
            except (ValueError, LookupError, PromiseTimedOut, PromiseCanceled) as error:
                seen.append(type(error).__name__)
        return seen

    await resonate.promises.create(canceled, timeout=60)
    await resonate.promises.cancel(canceled)
    value = await resonate.run(world.new_id(), workflow)

    assert value == ["ValueError", "LookupError", "PromiseTimedOut", "PromiseCanceled"]


async def test_a_workflow_ends_after_the_children_that_it_never_awaited(world: World) -> None:
    resonate = world.client()
    finished: list[str] = []
    gate = world.new_id("gate")
    left = world.new_id("left")

    def slow(_ctx: Context) -> None:
        time.sleep(0.1)
        finished.append("local")

    @resonate.register
    def remote(ctx: Context) -> Any:
        yield (yield ctx.promise(id=gate))
        finished.append("remote")

    @resonate.register
    def never(ctx: Context) -> Any:
        yield (yield ctx.promise(id=left))

    @resonate.register
    def workflow(ctx: Context) -> Any:
        yield ctx.begin_run(slow)
        yield ctx.begin_rpc(remote)
        yield ctx.sleep(0.01)
        yield ctx.detached(never)
        return "parent"

    handle = await resonate.begin_run(world.new_id(), workflow)
    await until(lambda: bool(finished))
    still_open = not await handle.done()
    await resonate.promises.create(gate)
    await resonate.promises.resolve(gate)
    value = await handle.result(timeout=10)

    assert still_open
    assert value == "parent"
    assert sorted(finished) == ["local", "remote"]
    await resonate.promises.create(left)
    await resonate.promises.resolve(left)


async def test_a_failed_workflow_waits_for_its_children_too(world: World) -> None:
    resonate = world.client()
    finished: list[str] = []

    def slow(_ctx: Context) -> None:
        time.sleep(0.05)
        finished.append("local")

    @resonate.register
    def workflow(ctx: Context) -> Any:
        yield ctx.begin_run(slow)
        yield ctx.promise(timeout=0.1)
        raise ValueError("over")

    handle = await resonate.begin_run(world.new_id(), workflow)
    began = time.monotonic()
    with pytest.raises(ValueError, match="over"):
        await handle.result(timeout=10)

    assert finished == ["local"]
    assert time.monotonic() - began >= 0.09


async def test_an_unawaited_child_that_fails_does_not_hurt_its_parent(world: World) -> None:
    resonate = world.client(retry_policy=Never())

    def fails(_ctx: Context) -> None:
        raise ValueError("alone")

    @resonate.register
    def workflow(ctx: Context) -> Any:
        yield ctx.begin_run(fails)
        return "fine"

    root = world.new_id()

    assert await resonate.run(root, workflow) == "fine"
    assert (await resonate.promises.get(f"{root}.0")).state == "rejected"


async def test_a_workflow_started_on_one_version_ends_on_it(world: World) -> None:
    resonate = world.client()
    gate = world.new_id("gate")

    @resonate.register(name="price", version=1)
    def price_1(ctx: Context) -> Any:
        yield (yield ctx.promise(id=gate))
        return 1

    old = await resonate.begin_run(world.new_id(), "price")
    if not world.is_remote:  # a remote store is told the functions at the start

        @resonate.register(name="price", version=2)
        def price_2(ctx: Context) -> Any:
            yield ctx.sleep(0)
            return 2

        new = await resonate.run(world.new_id(), "price")
        pinned = await resonate.begin_run(world.new_id(), "price", Options(version=1))
        await resonate.promises.create(gate)
        await resonate.promises.resolve(gate)
        assert new == 2
        assert await pinned.result(timeout=10) == 1
    else:
        await resonate.promises.create(gate)
        await resonate.promises.resolve(gate)

    assert await old.result(timeout=10) == 1


async def test_sleep_until_an_instant_and_never_beyond_the_workflows_deadline(
    world: World,
) -> None:
    resonate = world.client()

    @resonate.register
    def until(ctx: Context) -> Any:
        yield ctx.sleep(until=datetime.now(UTC) + timedelta(seconds=0.05))
        yield ctx.sleep(for_=0.05)
        return "awake"

    @resonate.register
    def too_long(ctx: Context) -> Any:
        yield ctx.sleep(3600)

    assert await resonate.run(world.new_id(), until) == "awake"
    handle = await resonate.begin_run(world.new_id(), too_long, Options(timeout=0.1))
    with pytest.raises(PromiseTimedOut):
        await handle.result(timeout=10)


async def test_recursion_needs_no_slot_for_waiting_parents(world: World) -> None:
    resonate = world.client(max_concurrency=2)

    @resonate.register
    def depth(ctx: Context, left: int) -> Any:
        if left == 0:
            return 0
        return 1 + (yield ctx.rpc(depth, left - 1))

    assert await resonate.rpc(world.new_id(), depth, 20) == 20


async def test_a_helper_generator_is_called_with_yield_from(world: World) -> None:
    resonate = world.client()

    def helper(ctx: Context, number: int) -> Any:
        doubled = yield ctx.run(lambda ctx, n: n * 2, number)
        return doubled + 1

    @resonate.register
    def workflow(ctx: Context) -> Any:
        first = yield from helper(ctx, 1)
        return (yield from helper(ctx, first))

    assert await resonate.run(world.new_id(), workflow) == 7


async def test_options_may_be_trailing_prefix_or_suffix(world: World) -> None:
    resonate = world.client()

    @resonate.register
    def tagged(ctx: Context) -> Any:
        return ctx.info.tags.get("which")

    @resonate.register
    def workflow(ctx: Context) -> Any:
        trailing = yield ctx.rpc(tagged, ctx.options(tags={"which": "trailing"}))
        prefix = yield ctx.options(tags={"which": "prefix"}).rpc(tagged)
        suffix = yield ctx.rpc(tagged).options(tags={"which": "suffix"})
        return [trailing, prefix, suffix]

    assert await resonate.run(world.new_id(), workflow) == ["trailing", "prefix", "suffix"]


async def test_the_log_of_a_workflow_is_silent_during_replay(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    resonate = world.client()
    replaying: list[bool] = []

    @resonate.register
    def workflow(ctx: Context) -> Any:
        ctx.log.warning("began")
        yield ctx.run(lambda ctx: 1)
        ctx.log.warning("stepped")
        replaying.append(ctx.is_replaying)
        yield ctx.sleep(0.02)
        ctx.log.warning("slept")
        yield ctx.run(lambda ctx: 1)
        ctx.log.warning("over")

    with caplog.at_level("WARNING", logger="holdfast"):
        await resonate.run(world.new_id(), workflow)

    said = [r.message for r in caplog.records if r.name == "holdfast"]
    assert said[:2] == ["began", "stepped"]
    assert said[-1] == "over"
    assert said.count("began") == said.count("stepped") == 1
    assert replaying == ([False, True] if world.replays else [False])


async def test_what_a_context_says_about_its_place(world: World) -> None:
    resonate = world.client()

    @resonate.register(version=2)
    def workflow(ctx: Context) -> Any:
        inner = yield ctx.run(
            lambda ctx: [ctx.id, ctx.parent_id, ctx.origin_id, ctx.branch_id, ctx.prefix_id]
        )
        info = ctx.info
        return [inner, info.attempt, info.version, info.func, info.deadline > datetime.now(UTC)]

    root = world.new_id()
    value = await resonate.run(root, workflow)

    assert value == [[f"{root}.0", root, root, root, root], 1, 2, "workflow", True]


async def test_arguments_and_results_are_converted_to_their_annotations(world: World) -> None:
    resonate = world.client()

    async def tomorrow(_ctx: Context, day: datetime) -> datetime:
        return day + timedelta(days=1)

    @resonate.register
    def workflow(ctx: Context, day: datetime, days: set[int]) -> Any:
        later = yield ctx.run(tomorrow, day)
        yield ctx.sleep(0.01)
        return [later.day, isinstance(later, datetime), sorted(days)]

    value = await resonate.run(world.new_id(), workflow, datetime(2026, 1, 1, tzinfo=UTC), {1, 2})

    assert value == [2, True, [1, 2]]


async def test_an_unencodable_result_is_a_visible_failure(world: World) -> None:
    resonate: Resonate = world.client()

    @resonate.register
    def workflow(ctx: Context) -> Any:
        try:
            yield ctx.run(lambda ctx: object())
        except Exception as error:  # noqa: BLE001 - its name is the result
            yield ctx.sleep(0.01)
            return type(error).__name__

    @resonate.register
    def root(ctx: Context) -> Any:
        yield ctx.sleep(0)
        return object()

    assert await resonate.run(world.new_id(), workflow) == "EncodeError"
    with pytest.raises(Exception, match="cannot be written as JSON"):
        await resonate.run(world.new_id(), root)
