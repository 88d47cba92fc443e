"""Traces: from the call to every function that it leads to, and never further."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from holdfast import Context, Resonate, tracing
from holdfast.core.records import Value
from holdfast.core.requests import PromiseCreate, ScheduleCreate
from holdfast.embedded import open_embedded
from tests.integration.library.world import RecordingStore, World

TRACE, OTHER = "4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c"


@contextmanager
def inside(trace: str) -> Iterator[str]:
    parent = f"00-{trace}-00f067aa0ba902b7-01"
    with tracing.continued(tracing.read_traceparent(parent)):
        yield parent


def told(ctx: Context) -> str | None:
    return ctx.info.trace_id


async def told_on_the_loop(_ctx: Context) -> str | None:
    return tracing.trace_id()


def told_beneath(ctx: Context) -> Any:
    step = yield ctx.run(told)
    return [ctx.info.trace_id, step]


async def told_by_awaiting(ctx: Context) -> list[str | None]:
    first, second = ctx.run(told), ctx.rpc("told")
    return [await first, await second, ctx.info.trace_id]


def told_by_all(ctx: Context) -> Any:
    """Ask in every way, and go on in a pass of its own after what is remote."""
    found = [tracing.trace_id(), (yield ctx.run(told)), (yield ctx.run(told_on_the_loop))]
    found += yield ctx.run(told_beneath)
    found += yield ctx.run(told_by_awaiting)
    found += yield ctx.rpc("told_beneath")
    beside = yield ctx.begin_run(told)
    found.append((yield beside))
    yield ctx.sleep(0)
    return [*found, ctx.info.trace_id]


def created(store: RecordingStore) -> dict[str, PromiseCreate]:
    """What was asked for, by id; the last of each."""
    requests = [getattr(request, "action", request) for request in store.requests]
    return {each.id: each for each in requests if isinstance(each, PromiseCreate)}


def parent_in(value: Value) -> str | None:
    return None if value.headers is None else value.headers.get("traceparent")


def registered(resonate: Resonate) -> Resonate:
    for function in (told, told_beneath, told_by_all):
        resonate.register(function)
    return resonate


@pytest.fixture
def store() -> RecordingStore:
    return RecordingStore(open_embedded(":memory:"))


@pytest.fixture
async def local(store: RecordingStore) -> AsyncIterator[Resonate]:
    resonate = registered(Resonate(store=store, env={}))
    yield resonate
    await resonate.stop(grace=1)


async def test_every_function_is_inside_the_trace_of_the_call(world: World) -> None:
    resonate = registered(world.client())

    with inside(TRACE):
        remote = await resonate.rpc(world.new_id(), told_by_all)
        here = await resonate.run(world.new_id(), told_by_all)
    outside = await resonate.rpc(world.new_id(), told_by_all)

    assert remote == here == [TRACE] * len(remote)
    assert outside == [None] * len(remote)
    assert tracing.trace_id() is None


async def test_the_promises_of_a_worker_carry_it_and_those_of_steps_do_not(
    local: Resonate, store: RecordingStore
) -> None:
    with inside(TRACE) as parent:
        await local.rpc("a", told_by_all)

    made = created(store)
    carrying = {each.id for each in made.values() if parent_in(each.param) == parent}
    targeted = {each.id for each in made.values() if "resonate:target" in each.tags}
    assert carrying == targeted
    assert len(targeted) == 3
    assert len(made) > len(targeted)


async def test_the_same_call_in_another_trace_is_the_same_call(
    local: Resonate, store: RecordingStore
) -> None:
    with inside(TRACE) as parent:
        await local.begin_rpc("a", told)
    with inside(OTHER):
        again = await local.options(on_conflict="raise").rpc("a", told)

    assert again == TRACE
    assert parent_in(created(store)["a"].param) != parent  # the second said so in vain


async def test_a_call_inside_a_step_belongs_to_the_trace_of_its_run(local: Resonate) -> None:
    async def calls(_ctx: Context) -> Any:
        return await local.rpc("called", told)

    local.register(calls)
    with inside(TRACE):
        assert await local.rpc("caller", calls) == TRACE


async def test_a_schedule_is_not_part_of_the_trace_that_made_it(
    local: Resonate, store: RecordingStore
) -> None:
    with inside(TRACE):
        await local.schedule("nightly", "0 3 * * *", told)

    [schedule] = await store.until(ScheduleCreate)
    assert parent_in(schedule.promise_param) is None


@pytest.mark.parametrize("text", ["", "no trace", f"00-{TRACE}-00f067aa0ba902b7-01\n"])
async def test_a_header_that_is_no_trace_is_none(local: Resonate, text: str) -> None:
    """Anybody may write one, and it ends in the lines of a log."""
    call = {"func": "told", "args": [], "version": 1}
    tags = {"resonate:target": "poll://any@default"}
    await local.promises.create("a", data=call, headers={"traceparent": text}, tags=tags)

    assert await (await local.get("a")).result() is None


async def test_what_a_caller_wrote_into_a_promise_counts(
    local: Resonate, store: RecordingStore
) -> None:
    call = {"func": "told", "args": [], "version": 1}
    tags = {"resonate:target": "poll://any@default"}
    with inside(OTHER) as parent:
        pass
    with inside(TRACE):
        headers = {"traceparent": parent}
        await local.promises.create("a", data=call, headers=headers, tags=tags)
        await local.promises.create("b", data=call, tags=tags)
        await local.promises.create("c")

    assert await (await local.get("a")).result() == OTHER
    assert await (await local.get("b")).result() == TRACE
    assert created(store)["c"].param.headers is None


async def test_the_log_of_a_function_tells_its_trace(
    local: Resonate, caplog: pytest.LogCaptureFixture
) -> None:
    def logs(ctx: Context) -> None:
        ctx.log.warning("begun")

    local.register(logs)
    with inside(TRACE):
        await local.rpc("a", logs)

    [keys] = [r.__dict__["holdfast_keys"] for r in caplog.records if r.message == "begun"]
    assert keys == {"promise_id": "a", "func": "logs", "trace_id": TRACE}
    assert logging.WARNING in {r.levelno for r in caplog.records}
