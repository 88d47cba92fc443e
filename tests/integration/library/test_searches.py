"""Listing promises and tasks through the library, on every store."""

import asyncio
from uuid import uuid4

import pytest

from holdfast import Resonate
from holdfast.errors import InvalidRequest
from tests.integration.library.world import World


async def page_through(resonate: Resonate, tags: dict[str, str], limit: int) -> list[list[str]]:
    pages: list[list[str]] = []
    cursor: str | None = None
    while cursor is not None or not pages:
        page = await resonate.promises.search(tags=tags, limit=limit, cursor=cursor)
        pages.append([promise.id for promise in page.promises])
        cursor = page.cursor
    return pages


async def test_promises_are_found_by_tag_and_state_page_by_page(world: World) -> None:
    resonate = world.client()
    tags = {"team": uuid4().hex}
    ids = sorted(world.new_id("gate") for _ in range(5))
    for each in ids:
        await resonate.promises.create(each, data={"for": each}, tags=tags)
    await resonate.promises.resolve(ids[1], "yes")

    pages = await page_through(resonate, tags, limit=2)
    resolved = await resonate.promises.search(state="resolved", tags=tags)
    pending = await resonate.promises.search(state="pending", tags=tags, raw=True)

    assert pages == [ids[:2], ids[2:4], ids[4:]]
    [found] = resolved.promises
    assert (found.id, found.param, found.value) == (ids[1], {"for": ids[1]}, "yes")
    assert [each.id for each in pending.promises] == [ids[0], *ids[2:]]
    assert isinstance(pending.promises[0].param, str)
    assert resolved.cursor is pending.cursor is None


async def test_tasks_are_found_by_their_state(world: World) -> None:
    resonate = world.client()
    run_id = world.new_id()
    before = run_id[:-1]
    await resonate.begin_rpc(run_id, "nobody", resonate.options(target=f"nowhere-{uuid4().hex}"))
    await resonate.tasks.halt(run_id)

    page = await resonate.tasks.search(state="halted", limit=1, cursor=before)

    assert list(page.tasks) == [await resonate.tasks.get(run_id)]


async def test_a_tree_is_found_by_its_origin(world: World) -> None:
    resonate = world.client()
    run_id = world.new_id()
    await resonate.begin_rpc(run_id, "nobody", resonate.options(target=f"nowhere-{uuid4().hex}"))

    page = await resonate.promises.search(tags={"resonate:origin": run_id})

    assert [promise.id for promise in page.promises] == [run_id]


@pytest.mark.parametrize(
    ("filters", "code"),
    [
        ({"state": "done"}, "invalid_state"),
        ({"limit": 0}, "out_of_range"),
        ({"limit": 2**40}, "out_of_range"),
        ({"cursor": "\ud800"}, "invalid_text"),
    ],
)
async def test_a_wrong_filter_is_refused_by_name(
    world: World, filters: dict[str, object], code: str
) -> None:
    resonate = world.client()

    with pytest.raises(InvalidRequest) as of_promises:
        await resonate.promises.search(**filters)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest) as of_tasks:
        await resonate.tasks.search(**filters)  # type: ignore[arg-type]

    assert of_promises.value.code == of_tasks.value.code == code


async def test_what_was_answered_is_listed_at_once(world: World) -> None:
    """A listing reads beside the batches, and yet never behind an answer."""
    resonate = world.client()
    tags = {"team": uuid4().hex}

    for number in range(1, 20):
        await resonate.promises.create(world.new_id("gate"), tags=tags)
        page, _ = await asyncio.gather(
            resonate.promises.search(tags=tags), resonate.promises.search(limit=1)
        )
        assert len(page.promises) == number
