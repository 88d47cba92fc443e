"""Leaving in order: what is not finished goes on elsewhere, at once."""

import asyncio
import threading
import time
from typing import Any

import pytest

from holdfast import Context, ServerUnavailable
from holdfast.core.records import ReleaseReason
from holdfast.core.requests import TaskFence, TaskRelease
from tests.integration.library.world import World, until


async def test_another_worker_goes_on_at_once_when_one_stops(remote: World) -> None:
    """S15: the running step ends and is recorded; the next one starts in the other process."""
    entered: list[str] = []
    going = asyncio.Event()
    began = asyncio.Event()

    async def first(_ctx: Context) -> None:
        entered.append("first")
        began.set()
        await going.wait()

    def workflow(ctx: Context) -> Any:
        yield ctx.run(first)
        yield ctx.run(lambda ctx: entered.append("second"))
        return "done"

    one = remote.client()
    one.register("workflow", workflow)
    handle = await one.begin_run(remote.new_id(), "workflow")
    await began.wait()
    two = remote.client()
    two.register("workflow", workflow)
    await two.start()

    stopping = asyncio.create_task(one.stop())
    await asyncio.sleep(0)
    going.set()
    await stopping
    stopped_at = time.monotonic()
    found = await two.get(handle.id)

    assert await found.result(timeout=10) == "done"
    assert time.monotonic() - stopped_at < 2
    assert entered == ["first", "second"]


async def test_a_step_that_outlives_the_grace_is_left_and_its_result_dropped(
    remote: World,
) -> None:
    release = threading.Event()
    began = threading.Event()
    finished: list[str] = []

    def stubborn(_ctx: Context) -> str:
        began.set()
        release.wait(10)
        return "late"

    def prompt(_ctx: Context) -> str:
        finished.append("prompt")
        return "prompt"

    def workflow_of(step: Any) -> Any:
        def workflow(ctx: Context) -> Any:
            return (yield ctx.run(step))

        return workflow

    one = remote.client()
    one.register("workflow", workflow_of(stubborn))
    handle = await one.begin_run(remote.new_id(), "workflow")
    await until(began.is_set)

    started = time.monotonic()
    await one.stop(grace=0.1)
    took = time.monotonic() - started
    two = remote.client()
    prompt.__name__ = "stubborn"  # the same step, in a process where it is not stuck
    two.register("workflow", workflow_of(prompt))
    found = await two.get(handle.id)
    value = await found.result(timeout=10)
    release.set()

    assert took < 3
    assert value == "prompt"


async def test_a_step_that_waits_for_its_next_attempt_is_abandoned_at_once(world: World) -> None:
    resonate, store = world.recording()

    def fails(_ctx: Context) -> None:
        raise ConnectionError("not yet")

    @resonate.register
    def workflow(ctx: Context) -> Any:
        yield ctx.run(fails)

    await resonate.begin_run(world.new_id(), workflow)
    await store.until(TaskFence)

    started = time.monotonic()
    await resonate.stop(grace=10)

    assert time.monotonic() - started < 1.5
    releases = [r for r in store.requests if isinstance(r, TaskRelease)]
    assert [r.reason for r in releases] == [ReleaseReason.SHUTDOWN]


async def test_a_durable_file_goes_on_where_it_was_stopped(durable: World) -> None:
    entered: list[str] = []

    def workflow(ctx: Context) -> Any:
        yield ctx.run(lambda ctx: entered.append("first"))
        yield ctx.sleep(0.1)
        yield ctx.run(lambda ctx: entered.append("second"))
        return "done"

    first = durable.client()
    first.register("workflow", workflow)
    handle = await first.begin_run(durable.new_id(), "workflow")
    await until(lambda: bool(entered))
    await first.stop()
    second = durable.client()
    second.register("workflow", workflow)

    found = await second.get(handle.id)

    assert await found.result(timeout=10) == "done"
    assert entered == ["first", "second"]


async def test_a_stopped_client_refuses_calls_and_wakes_those_who_wait(world: World) -> None:
    resonate = world.client()

    @resonate.register
    def forever(ctx: Context) -> Any:
        yield (yield ctx.promise())

    handle = await resonate.begin_run(world.new_id(), forever)
    waiting = asyncio.create_task(handle.result())
    await asyncio.sleep(0.02)

    await resonate.stop()

    with pytest.raises(ServerUnavailable):
        await waiting
    with pytest.raises(ServerUnavailable):
        await resonate.run(world.new_id(), forever)
