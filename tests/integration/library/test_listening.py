"""When the store is asked to tell of a settlement: only if somebody waits, and never too late."""

import asyncio

from holdfast import Context
from tests.integration.library.world import World

LISTENS = "PromiseRegisterListener"


async def test_beginning_a_call_elsewhere_is_one_create(world: World) -> None:
    resonate, store = world.recording(accept_tasks=False)

    handle = await resonate.begin_rpc(world.new_id(), "somewhere")

    assert handle.created
    assert store.kinds() == [["PromiseCreate"]]


async def test_calling_elsewhere_creates_and_listens_in_one_transaction(world: World) -> None:
    resonate, store = world.recording(accept_tasks=False)
    run_id = world.new_id()

    calling = asyncio.ensure_future(_awaited(resonate.rpc(run_id, "somewhere")))
    await store.until_kinds([["PromiseCreate", LISTENS]])
    await resonate.promises.resolve(run_id, "value")

    assert await calling == "value"
    assert store.kinds()[0] == ["PromiseCreate", LISTENS]


async def test_what_was_settled_before_anybody_listened_is_learned_at_once(world: World) -> None:
    resonate, store = world.recording(accept_tasks=False)
    run_id = world.new_id()
    handle = await resonate.begin_rpc(run_id, "somewhere")
    await resonate.promises.resolve(run_id, "early")

    value = await handle.result(timeout=10)

    assert value == "early"
    assert store.kinds() == [["PromiseCreate"], ["PromiseSettle"], [LISTENS]]


async def test_what_is_settled_after_somebody_listens_is_pushed(world: World) -> None:
    resonate, store = world.recording(accept_tasks=False)
    run_id = world.new_id()
    handle = await resonate.begin_rpc(run_id, "somewhere")
    waiting = [asyncio.ensure_future(handle.result(timeout=10)) for _ in range(3)]
    await store.until_kinds([[LISTENS]])

    await resonate.promises.resolve(run_id, "late")

    assert await asyncio.gather(*waiting) == ["late"] * 3
    assert store.kinds().count([LISTENS]) == 1


async def test_joining_a_run_without_waiting_for_it_registers_nothing(world: World) -> None:
    resonate, store = world.recording()

    @resonate.register
    def forever(ctx: Context) -> object:
        return (yield (yield ctx.promise()))

    run_id = world.new_id()
    await resonate.begin_run(run_id, forever)

    again = await resonate.begin_run(run_id, forever)

    assert not again.created
    assert not any(LISTENS in kinds for kinds in store.kinds())


async def _awaited(call: object) -> object:
    return await call  # type: ignore[misc]
