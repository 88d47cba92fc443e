"""Canceling a run: what is attached to it goes with it, what is detached goes on."""

import asyncio
import logging
from typing import Any

import pytest

from holdfast import Context, PromiseCanceled, Resonate
from holdfast.core.records import TARGET, Promise, Value
from holdfast.core.requests import PromiseSettle
from holdfast.lineage import DETACHED_HEADER
from holdfast.runtime.cancelling import is_detached
from tests.integration.library.world import World

CANCELED = "rejected_canceled"


def waits(ctx: Context, gate: str) -> Any:
    return (yield (yield ctx.promise(id=gate)))


def middle(ctx: Context, gate: str) -> Any:
    return (yield ctx.rpc("waits", f"{gate}/deep"))


def local(ctx: Context, gate: str) -> Any:
    child = yield ctx.begin_rpc("waits", f"{gate}/local")
    yield ctx.sleep(600)
    return (yield child)


def tree(ctx: Context, gate: str) -> Any:
    """Begin a child of every kind, and wait for all of them."""
    yield ctx.run(lambda _ctx: "settled")
    yield ctx.begin_rpc("middle", gate)
    yield ctx.begin_run(local, gate)
    yield ctx.begin_rpc("waits", f"{gate}/named", ctx.options(id=f"{gate}/own"))
    yield ctx.detached("waits", f"{gate}/detached")
    yield ctx.detached("waits", f"{gate}/named-detached", ctx.options(id=f"{gate}/own-detached"))
    return (yield (yield ctx.promise(id=f"{gate}/last")))


def registered(resonate: Resonate) -> Resonate:
    for function in (waits, middle, tree):
        resonate.register(function)
    return resonate


async def states(resonate: Resonate, *ids: str) -> list[str]:
    return [(await resonate.promises.get(promise_id)).state for promise_id in ids]


async def begun(world: World, resonate: Resonate) -> tuple[str, str]:
    """Begin a tree; answer the ids of its root and of its gates, once all of it is there."""
    run_id, gate = world.new_id(), world.new_id("gate")
    await resonate.begin_run(run_id, "tree", gate)
    for name in ("deep", "local", "named", "detached", "named-detached", "last"):
        await world.existing(resonate, f"{gate}/{name}")
    return run_id, gate


@pytest.mark.parametrize("interrupted", [False, True])
async def test_what_is_attached_is_canceled_and_what_is_detached_goes_on(
    world: World, *, interrupted: bool
) -> None:
    """Whoever canceled the root and died then is helped by the next one who cancels."""
    resonate = registered(world.client())
    run_id, gate = await begun(world, resonate)
    if interrupted:
        await resonate.promises.cancel(run_id)

    handle = await resonate.get(run_id)
    assert await handle.cancel("enough")

    attached = [f"{run_id}.1", f"{run_id}.1.0", f"{run_id}.2", f"{run_id}.2.0", f"{run_id}.2.1"]
    gates = [f"{gate}/{name}" for name in ("deep", "local", "named", "last")]
    assert await states(resonate, run_id, *attached, f"{gate}/own", *gates) == [CANCELED] * 11
    assert await states(resonate, f"{run_id}.0") == ["resolved"]
    detached = await resonate.get(f"{gate}/own-detached")
    assert await states(resonate, f"{gate}/own-detached", f"{gate}/detached") == ["pending"] * 2
    await resonate.promises.resolve(f"{gate}/named-detached", "went on")
    assert await detached.result(timeout=10) == "went on"
    with pytest.raises(PromiseCanceled):
        await handle


async def test_canceling_twice_is_canceling_once(world: World) -> None:
    resonate = registered(world.client())
    run_id, _ = await begun(world, resonate)
    handle = await resonate.get(run_id)

    assert list(await asyncio.gather(handle.cancel(), handle.cancel())) == [True, True]
    assert await handle.cancel()


async def test_what_has_ended_is_not_canceled_and_nothing_beneath_it(world: World) -> None:
    resonate, store = world.recording()
    resonate.register("callee", lambda _ctx: "value")
    handle = await resonate.begin_run(world.new_id(), "callee")
    assert await handle == "value"
    before = len(store.chains)

    assert not await handle.cancel()

    assert [type(r) for chain in store.chains[before:] for r in chain] == [PromiseSettle]


async def test_a_child_alone_can_be_canceled(world: World) -> None:
    resonate = registered(world.client())
    run_id, gate = await begun(world, resonate)

    await (await resonate.get(f"{run_id}.1")).cancel()

    assert await states(resonate, f"{run_id}.1.0", f"{gate}/deep") == [CANCELED] * 2
    assert await states(resonate, run_id, f"{run_id}.2", f"{gate}/local") == ["pending"] * 3


async def test_the_losers_of_a_race_are_canceled_with_their_children(world: World) -> None:
    resonate = registered(world.client())
    gate = world.new_id("gate")

    def races(ctx: Context) -> Any:
        call = yield ctx.begin_rpc("middle", gate)
        deep = yield ctx.promise(id=f"{gate}/go")
        return (yield ctx.select(call, deep, cancel_rest=True))

    resonate.register(races)
    handle = await resonate.begin_run(world.new_id(), races)
    await world.existing(resonate, f"{gate}/deep")
    await resonate.promises.resolve(f"{gate}/go", None)

    assert await handle.result(timeout=10) == 1
    beneath = await resonate.get(f"{gate}/deep")
    with pytest.raises(PromiseCanceled):
        await beneath.result(timeout=10)


async def test_more_children_than_the_store_lists_are_reported(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    resonate = world.client()
    large = "x" * 300_000

    @resonate.register
    def fans_out(ctx: Context, gate: str) -> Any:
        for _ in range(5):
            yield ctx.promise(data=large)
        yield (yield ctx.promise(id=gate))

    gate = world.new_id("gate")
    handle = await resonate.begin_run(world.new_id(), fans_out, gate)
    await world.existing(resonate, gate)

    with caplog.at_level(logging.WARNING, "holdfast"):
        assert await handle.cancel()

    assert [record.message for record in caplog.records] == ["cancel_incomplete"]


@pytest.mark.parametrize(
    ("promise_id", "tags", "headers", "detached"),
    [
        ("p.d0123456789abcdef", {"origin": "p.d0123456789abcdef"}, None, True),
        ("p.d0123456789abcd", {"origin": "p.d0123456789abcd"}, None, True),
        ("p.d0123456789abcdef", {"origin": "p"}, None, False),
        ("p.data", {"origin": "p.data"}, None, False),
        ("own", {"origin": "own"}, None, False),
        ("own", {"origin": "own"}, {DETACHED_HEADER: "true"}, True),
        ("p.0", {"origin": "p"}, None, False),
    ],
)
def test_a_detached_child_is_known_by_its_header_or_by_an_official_id(
    promise_id: str, tags: dict[str, str], headers: dict[str, str] | None, *, detached: bool
) -> None:
    promise = Promise(
        id=promise_id,
        param=Value(headers=headers),
        tags={"resonate:prefix": "p", TARGET: "t", **{f"resonate:{k}": v for k, v in tags.items()}},
        timeout_at_ms=1,
        created_at_ms=0,
    )

    assert is_detached(promise) is detached
