"""Listings: the same pages from every storage, each record once, each as it reads now."""

import random
from collections.abc import Mapping
from dataclasses import replace

import pytest

from holdfast.core.limits import SEARCH_BYTES_MAX
from holdfast.core.records import (
    ORIGIN,
    TIMER,
    Promise,
    PromiseState,
    Task,
    TaskState,
    Value,
    fulfilled,
)
from holdfast.core.search import (
    PromiseSearch,
    TaskSearch,
    promise_shown,
    task_shown,
)
from holdfast_store.storage import Storage
from tests.integration.store_db.records import leased, promise, save, targeted, task

NOW_MS = 1_000
PASSED_MS = 1_000
AHEAD_MS = 1_001

TEXTS = ("a", 'a"', "a\\", '\\"', ',"a":"b"', "é", "😀", "a\n\t", "{}", "%_", "'", "b")
TAGS: tuple[Mapping[str, str], ...] = (
    {},
    *({"name": text} for text in TEXTS),
    *({text: "b"} for text in TEXTS),
    {"a": "b", "name": "x"},
    {'x,"a': "b"},
    {'x","a': "b"},
    {"x": '","a":"b'},
    {TIMER: "true"},
    {TIMER: "false"},
    {"x": f',"{TIMER}":"true"'},
    {ORIGIN: "root", "name": "a"},
    {ORIGIN: "root"},
)


async def every_id(storage: Storage, search: PromiseSearch | TaskSearch) -> list[str]:
    """Follow the cursors to the end."""
    found: list[str] = []
    cursor: str | None = search.cursor
    while cursor is not None:
        if isinstance(search, PromiseSearch):
            page = await storage.search_promises(replace(search, cursor=cursor), now_ms=NOW_MS)
            ids = [each.id for each in page.promises]
            cursor = page.cursor
        else:
            tasks = await storage.search_tasks(replace(search, cursor=cursor), now_ms=NOW_MS)
            ids = [each.id for each in tasks.tasks]
            cursor = tasks.cursor
        assert 1 <= len(ids) <= search.limit or cursor is None
        found += ids
    return found


def a_bit_of_everything() -> list[Promise]:
    """Make promises of every state with every kind of tags, around the deadline."""
    return [
        promise(
            f"{'aé😀~'[index % 4]}{index}",
            tags=tags,
            state=state,
            timeout_at_ms=timeout_at_ms,
            settled_at_ms=None if state is PromiseState.PENDING else 5,
            branch="twig" if index % 3 == 0 else None,
            parent="stem" if index % 2 == 0 else None,
        )
        for index, (tags, state, timeout_at_ms) in enumerate(
            (tags, state, timeout_at_ms)
            for tags in TAGS
            for state in PromiseState
            for timeout_at_ms in (PASSED_MS, AHEAD_MS)
        )
    ]


@pytest.mark.parametrize("state", [None, *PromiseState])
async def test_a_listing_has_what_the_rules_say_and_nothing_else(
    storage: Storage, state: PromiseState | None
) -> None:
    promises = a_bit_of_everything()
    await save(storage, promises_created=[*promises, promise("root")])
    wanted = [
        *TAGS,
        {"resonate:branch": "twig"},
        {"resonate:parent": "stem"},
        {"resonate:parent": "stem", "resonate:branch": "twig", "name": "a"},
        {ORIGIN: "nowhere"},
        {"": ""},
    ]

    for tags in wanted:
        search = PromiseSearch(state=state, tags=tags, limit=60)
        expected = [p.id for p in promises if promise_shown(search, p, NOW_MS)]
        if not tags and state in (None, PromiseState.PENDING):
            expected.append("root")
        assert await every_id(storage, search) == sorted(expected, key=str.encode), tags


async def test_a_record_is_shown_as_it_reads_now(storage: Storage) -> None:
    late = promise("late", timeout_at_ms=PASSED_MS, param=Value(data=b"p", headers={"h": ""}))
    await save(
        storage,
        promises_created=[
            late,
            promise("timer", timeout_at_ms=PASSED_MS, tags={TIMER: "true"}),
            promise("live", timeout_at_ms=AHEAD_MS),
        ],
    )

    page = await storage.search_promises(PromiseSearch(), now_ms=NOW_MS)

    states = {each.id: (each.state.value, each.settled_at_ms) for each in page.promises}
    assert states == {
        "late": ("rejected_timedout", PASSED_MS),
        "live": ("pending", None),
        "timer": ("resolved", PASSED_MS),
    }
    assert page.promises[0].param == late.param
    assert page.cursor is None


@pytest.mark.parametrize(("count", "limit"), [(0, 1), (1, 1), (2, 1), (3, 3), (4, 3)])
async def test_a_cursor_is_there_exactly_when_more_match(
    storage: Storage, count: int, limit: int
) -> None:
    promises = [promise(f"p{n}") for n in range(count)]
    await save(storage, promises_created=[*promises, promise("z", state=PromiseState.REJECTED)])

    page = await storage.search_promises(
        PromiseSearch(state=PromiseState.PENDING, limit=limit), now_ms=NOW_MS
    )

    assert [each.id for each in page.promises] == [p.id for p in promises[:limit]]
    assert page.cursor == (f"p{limit - 1}" if count > limit else None)


@pytest.mark.parametrize(
    ("cursor", "expected"),
    [
        ("a", ["a\x01", "b", "é", "\ue000", "😀"]),
        ("a\0zzz", ["a\x01", "b", "é", "\ue000", "😀"]),
        ("é", ["\ue000", "😀"]),
        ("\U0010ffff", []),
        ("c" * 5_000, ["é", "\ue000", "😀"]),
    ],
)
async def test_any_text_is_a_position_in_the_order_of_bytes(
    storage: Storage, cursor: str, expected: list[str]
) -> None:
    ids = ["😀", "\ue000", "é", "b", "a\x01", "a"]
    await save(
        storage,
        promises_created=[targeted(each) for each in ids],
        tasks_created=[task(each) for each in ids],
    )

    promises = await storage.search_promises(PromiseSearch(cursor=cursor), now_ms=NOW_MS)
    tasks = await storage.search_tasks(TaskSearch(cursor=cursor), now_ms=NOW_MS)

    assert [each.id for each in promises.promises] == expected
    assert [each.id for each in tasks.tasks] == expected


PREFIXED = (
    *("a", "a/", "a/\x01", "a/1", "a/2", "a0", "A/1", "ab", "a%", "a_", "b"),
    *("é", "é/1", "\ud7ff", "\ue000", "😀", "😀1", "\U0010ffff", "\U0010ffff\U0010ffff1"),
)


@pytest.mark.parametrize("prefix", ["a", "a/", "a%", "a_", "é", "\ud7ff", "😀", "\U0010ffff", "c"])
async def test_a_prefix_bounds_every_page_by_the_index(storage: Storage, prefix: str) -> None:
    """No page is short, and no cursor leads outside, whatever lies around."""
    await save(
        storage,
        promises_created=[targeted(each) for each in PREFIXED],
        tasks_created=[task(each) for each in PREFIXED],
    )
    expected = sorted((each for each in PREFIXED if each.startswith(prefix)), key=str.encode)

    for search in (PromiseSearch(), TaskSearch(), PromiseSearch(state=PromiseState.PENDING)):
        within = replace(search, id_prefix=prefix, limit=1)
        assert await every_id(storage, within) == expected
        assert await every_id(storage, replace(within, cursor=prefix)) == [
            each for each in expected if each != prefix
        ]
        assert await every_id(storage, replace(within, cursor="\U0010ffff" * 3)) == []


async def test_a_prefix_bounds_what_carries_a_tag_too(storage: Storage) -> None:
    """One may know of a tree of somebody else, and sees its own part of it."""
    tags = {ORIGIN: "b/root", "resonate:parent": "b/root"}
    await save(storage, promises_created=[promise(each, tags=tags) for each in ("a/1", "b/2")])

    for wanted in (tags, {ORIGIN: "b/root"}, {"resonate:parent": "b/root"}):
        search = PromiseSearch(tags=wanted, id_prefix="a/", limit=1)
        assert await every_id(storage, search) == ["a/1"]


async def test_a_page_ends_where_its_payloads_grow_too_large(storage: Storage) -> None:
    payload = Value(data=b"x" * (SEARCH_BYTES_MAX // 3))
    await save(storage, promises_created=[promise(f"p{n}", param=payload) for n in range(5)])

    first = await storage.search_promises(PromiseSearch(limit=5), now_ms=NOW_MS)

    assert [each.id for each in first.promises] == ["p0", "p1"]
    assert first.cursor == "p1"
    assert await every_id(storage, PromiseSearch(limit=5)) == [f"p{n}" for n in range(5)]


async def test_one_record_comes_however_large_it_is(storage: Storage) -> None:
    await save(
        storage, promises_created=[promise("p", param=Value(data=b"x" * (SEARCH_BYTES_MAX + 1)))]
    )

    page = await storage.search_promises(PromiseSearch(), now_ms=NOW_MS)

    assert [each.id for each in page.promises] == ["p"]
    assert page.cursor is None


async def test_what_exists_all_the_time_comes_once_whatever_is_written_meanwhile(
    storage: Storage,
) -> None:
    chance = random.Random(7)
    kept = [f"{n:03}" for n in range(0, 200, 2)]
    await save(storage, promises_created=[promise(each) for each in kept])
    unseen = [f"{n:03}" for n in range(1, 200, 2)]
    chance.shuffle(unseen)

    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await storage.search_promises(PromiseSearch(limit=9, cursor=cursor), now_ms=NOW_MS)
        found += [each.id for each in page.promises]
        cursor = page.cursor
        for _ in range(5):
            await save(storage, promises_created=[promise(unseen.pop())])
        settled = promise(chance.choice(kept), state=PromiseState.RESOLVED, settled_at_ms=5)
        await save(storage, promises_updated=[settled])

    assert found == sorted(set(found))
    assert set(kept) <= set(found)
    assert set(found) - set(kept), "something was created ahead of the cursor"


def tasks_of_every_state() -> list[tuple[Promise, Task]]:
    pairs = []
    for state in TaskState:
        for fate, timeout_at_ms in (
            (PromiseState.PENDING, AHEAD_MS),
            (PromiseState.PENDING, PASSED_MS),
            (PromiseState.RESOLVED, AHEAD_MS),
        ):
            for n in range(3):
                key = f"{n}-{state.value}-{fate.value}-{timeout_at_ms}"
                stored = task(key, state=state, version=3)
                if state is TaskState.ACQUIRED:
                    stored = leased(key, pid="p", lease_at_ms=5)
                ends = targeted(key, state=fate, timeout_at_ms=timeout_at_ms)
                pairs.append((ends, stored))
    return pairs


@pytest.mark.parametrize("state", [None, *TaskState])
async def test_tasks_are_listed_by_their_view(storage: Storage, state: TaskState | None) -> None:
    pairs = tasks_of_every_state()
    await save(
        storage,
        promises_created=[*(p for p, _ in pairs), promise("no-task")],
        tasks_created=[t for _, t in pairs],
    )
    search = TaskSearch(state=state, limit=4)

    found = await every_id(storage, search)

    assert found == sorted(t.id for p, t in pairs if task_shown(search, t, p, NOW_MS))
    assert found


async def test_a_task_is_shown_as_it_reads_now(storage: Storage) -> None:
    held = leased("held", pid="p", lease_at_ms=5)
    woken = task("woken", version=2, resumes=frozenset({"held", "late"}))
    await save(
        storage,
        promises_created=[
            targeted("held"),
            targeted("late", timeout_at_ms=PASSED_MS),
            targeted("woken"),
        ],
        tasks_created=[
            held,
            leased("late", pid="p", lease_at_ms=5),
            woken,
        ],
        resumes_added=[("woken", "held"), ("woken", "late")],
    )

    page = await storage.search_tasks(TaskSearch(), now_ms=NOW_MS)

    assert list(page.tasks) == [
        held,
        fulfilled(leased("late", pid="p", lease_at_ms=5)),
        woken,
    ]


async def test_a_root_without_the_tag_takes_no_place_on_a_page(storage: Storage) -> None:
    """It is in the index of its tree all the same."""
    await save(storage, promises_created=[promise("a"), promise("b", tags={ORIGIN: "a"})])

    page = await storage.search_promises(PromiseSearch(tags={ORIGIN: "a"}, limit=1), now_ms=NOW_MS)

    assert [each.id for each in page.promises] == ["b"]
    assert page.cursor is None


async def test_roots_whose_tree_was_not_noted_yet_are_found(
    sqlite: Storage, postgres: Storage
) -> None:
    """An older version wrote no origin; the tag says it nevertheless."""
    for storage, forget in ((sqlite, _forget_in_sqlite), (postgres, _forget_in_postgres)):
        await save(storage, promises_created=[promise("p", tags={ORIGIN: "root"}), promise("q")])
        await forget(storage)

        assert await every_id(storage, PromiseSearch(tags={ORIGIN: "root"}, limit=1)) == ["p"]


async def _forget_in_sqlite(storage: Storage) -> None:
    async with storage._turn:  # type: ignore[attr-defined]
        await storage.on_writer(  # type: ignore[attr-defined]
            storage._writer.whole,  # type: ignore[attr-defined]
            lambda session: session.run("UPDATE promises SET origin = NULL"),
        )


async def _forget_in_postgres(storage: Storage) -> None:
    await storage._read("UPDATE promises SET origin = NULL")  # type: ignore[attr-defined]
