"""What a plan loads: the closure of its ids, and rows found by due instant, queue and process."""

from holdfast.core.records import PREFIX, TARGET, Callback, TaskState
from holdfast_store.storage import Behind, Plan, Storage, Turns
from holdfast_store.trees import START, tree_of
from tests.integration.store_db.records import (
    leased,
    load,
    promise,
    queued,
    save,
    save_tasks,
    targeted,
    task,
)


async def test_loading_an_id_brings_its_obligations_and_their_awaiters(storage: Storage) -> None:
    await save(
        storage,
        promises_created=[promise("tree1.x"), targeted("tree2"), targeted("unrelated")],
        tasks_created=[task("tree2", resumes=frozenset({"old"})), task("unrelated")],
        resumes_added=[("tree2", "old")],
        callbacks_saved=[Callback(awaited="tree1.x", awaiter="tree2")],
        listeners_added=[("tree1.x", "http://l"), ("unrelated", "http://l")],
    )

    rows = (await load(storage, "tree1.x")).working_set

    awaiter = rows.task("tree2")
    assert awaiter is not None
    assert awaiter.resumes == {"old"}
    assert rows.promise("tree2") == targeted("tree2")
    assert rows.listeners("tree1.x") == ("http://l",)
    assert rows.promise("unrelated") is None


async def test_what_waits_for_an_awaiter_is_not_loaded(storage: Storage) -> None:
    """Waking an awaiter settles nothing, so the closure ends there."""
    await save(
        storage,
        promises_created=[promise("x"), targeted("a"), targeted("b")],
        tasks_created=[task("a"), task("b")],
        callbacks_saved=[
            Callback(awaited="x", awaiter="a"),
            Callback(awaited="a", awaiter="b"),
        ],
    )

    rows = (await load(storage, "x")).working_set

    assert {p.id for p in rows.promises()} == {"x", "a"}


async def test_due_promises_come_earliest_first_and_no_more_than_asked(storage: Storage) -> None:
    await save(
        storage,
        promises_created=[
            promise("late", timeout_at_ms=30, armed=True),
            promise("b", timeout_at_ms=10, armed=True),
            promise("a", timeout_at_ms=10, armed=True),
            promise("next", timeout_at_ms=31, armed=True),
            promise("unarmed", timeout_at_ms=1),
        ],
    )

    all_due = await load(storage, now_ms=30, due_max=9)
    some = await load(storage, now_ms=30, due_max=2)
    nobody_asked = await load(storage, now_ms=30)

    assert list(all_due.due_promises) == ["a", "b", "late"]
    assert list(some.due_promises) == ["a", "b"]
    assert list(nobody_asked.due_promises) == []
    assert {p.id for p in all_due.working_set.promises()} == {"a", "b", "late"}


async def test_due_rows_that_are_skipped_take_nobody_s_place(storage: Storage) -> None:
    await save(
        storage,
        promises_created=[promise(f"p{n}", timeout_at_ms=n, armed=True) for n in range(5)],
    )
    await save_tasks(storage, *(task(f"t{n}", dispatch_at_ms=n) for n in range(5)))

    due = await load(storage, now_ms=9, due_max=2, due_skip=frozenset({"p0", "p2", "t1", "other"}))

    assert list(due.due_promises) == ["p1", "p3"]
    assert list(due.due_tasks) == ["t0", "t2"]
    assert {p.id for p in due.working_set.promises()} == {"p1", "p3", "t0", "t2"}


async def test_a_skipped_row_is_loaded_by_whoever_names_it(storage: Storage) -> None:
    await save(storage, promises_created=[promise("p", timeout_at_ms=1, armed=True)])

    found = await load(storage, "p", now_ms=9, due_max=2, due_skip=frozenset({"p"}))

    assert list(found.due_promises) == []
    assert found.working_set.promise("p") is not None


async def test_what_is_armed_is_listed_by_its_instant_due_or_not(storage: Storage) -> None:
    await save(
        storage,
        promises_created=[
            *(promise(f"p{n}", timeout_at_ms=9 - n, armed=True) for n in range(3)),
            promise("unarmed", timeout_at_ms=1),
        ],
    )
    await save_tasks(
        storage,
        leased("lease", pid="p", lease_at_ms=5),
        task("dispatch", dispatch_at_ms=4),
        queued("queued", at_ms=1),
    )

    armed = await storage.armed(limit=2)
    everything = await storage.armed(limit=100)

    assert [tuple(each) for each in armed.promises] == [(7, "p2"), (8, "p1")]
    assert [tuple(each) for each in armed.tasks] == [(4, "dispatch"), (5, "lease")]
    assert [i for _, i in everything.promises][:3] == ["p2", "p1", "p0"]
    assert [i for _, i in everything.tasks] == ["dispatch", "lease"]


async def test_due_tasks_are_lapsed_leases_and_waiting_dispatches(storage: Storage) -> None:
    await save_tasks(
        storage,
        leased("lease", pid="p", lease_at_ms=10),
        task("dispatch", dispatch_at_ms=9),
        task("paced", dispatch_at_ms=1, paced_until_ms=12),
        task("not-yet", dispatch_at_ms=13),
        queued("queued", at_ms=1),
        task("suspended", state=TaskState.SUSPENDED),
    )

    due = await load(storage, now_ms=12, due_max=9)

    assert list(due.due_tasks) == ["dispatch", "lease", "paced"]
    assert {t.id for t in due.working_set.tasks()} == {"dispatch", "lease", "paced"}


async def test_what_is_due_brings_its_awaiters(storage: Storage) -> None:
    await save(
        storage,
        promises_created=[promise("timer", timeout_at_ms=5, armed=True), targeted("sleeper")],
        tasks_created=[task("sleeper", state=TaskState.SUSPENDED)],
        callbacks_saved=[Callback(awaited="timer", awaiter="sleeper")],
    )

    rows = (await load(storage, now_ms=5, due_max=1)).working_set

    assert rows.callback("timer", "sleeper") is not None
    assert rows.task("sleeper") is not None


async def test_queued_tasks_come_oldest_first_within_the_limit_of_each_group(
    storage: Storage,
) -> None:
    await save_tasks(
        storage,
        queued("a2", at_ms=2, group="a"),
        queued("a1", at_ms=1, group="a"),
        queued("a3", at_ms=3, group="a"),
        queued("b2", at_ms=2, group="b"),
        queued("b1", at_ms=2, group="b"),
        queued("c1", at_ms=0, group="c"),
        task("a0", group="a", dispatch_at_ms=0),
    )

    found = await load(storage, queued={"a": 2, "b": 1, "nobody": 5, "c": 0})

    assert list(found.queued) == ["a1", "a2", "b1"]
    assert {t.id for t in found.working_set.tasks()} == {"a1", "a2", "b1"}


async def test_a_look_further_back_begins_behind_its_place(storage: Storage) -> None:
    await save_tasks(
        storage,
        *(queued(name, at_ms=5, group="a") for name in ("c", "a", "b")),
        queued("e", at_ms=6, group="a"),
        queued("d", at_ms=6, group="a"),
        queued("z", at_ms=4, group="a"),
        queued("other", at_ms=9, group="b"),
    )

    async def behind(at_ms: int, task_id: str, limit: int) -> list[str]:
        place = Behind(group="a", queued_at_ms=at_ms, id=task_id, limit=limit)
        return list((await load(storage, behind=place)).queued)

    assert await behind(0, "", 3) == ["z", "a", "b"]
    assert await behind(5, "b", 2) == ["c", "d"]
    assert await behind(5, "bb", 9) == ["c", "d", "e"], "the place itself may be gone"
    assert await behind(6, "e", 9) == []


async def test_looks_at_the_front_and_further_back_go_together(storage: Storage) -> None:
    await save_tasks(
        storage,
        queued("a1", at_ms=1, group="a"),
        queued("a2", at_ms=2, group="a"),
        queued("b1", at_ms=1, group="b"),
        queued("b2", at_ms=2, group="b"),
    )

    place = Behind(group="b", queued_at_ms=1, id="b1", limit=5)
    found = await load(storage, queued={"a": 1}, behind=place)

    assert sorted(found.queued) == ["a1", "b2"]
    assert {t.id for t in found.working_set.tasks()} == {"a1", "b2"}


async def test_trees_have_their_turns_with_their_oldest_tasks(storage: Storage) -> None:
    """By the number of the tree, whatever the ids look like, and by group."""
    trees = {name: tree_of(name) for name in ("big", "mid", "low")}
    first, second, third = sorted(trees, key=trees.__getitem__)
    await save_tasks(
        storage,
        *(queued(f"{first}.{n}", at_ms=n, group="a") for n in (3, 1, 2)),
        *(queued(f"{second}.{n}", at_ms=n, group="a") for n in (2, 1)),
        queued(f"{third}.1", at_ms=0, group="a"),
        queued(f"{third}.2", at_ms=0, group="b"),
        task(f"{second}.0", group="a", dispatch_at_ms=0),
    )

    async def turns(**of: Turns) -> list[tuple[str, str, str | None]]:
        found = await load(storage, turns=of)
        assert {t.id for t in found.working_set.tasks()} == {turn.id for turn in found.turns}
        names = {number: name for name, number in trees.items()}
        return [(turn.group, names[turn.tree], turn.id) for turn in found.turns]

    assert await turns(a=Turns(after=START, limit=2)) == [
        ("a", first, f"{first}.1"),
        ("a", second, f"{second}.1"),
    ]
    assert await turns(a=Turns(after=trees[first], limit=9), b=Turns(after=START, limit=1)) == [
        ("a", second, f"{second}.1"),
        ("a", third, f"{third}.1"),
        ("b", third, f"{third}.2"),
    ]
    assert await turns(a=Turns(after=trees[third], limit=9)) == []
    assert await turns(nobody=Turns(after=START, limit=9)) == []


async def test_a_tree_is_told_by_its_tags_before_its_ids(storage: Storage) -> None:
    """A workflow may give its children ids of their own: they share its turn."""
    names = ("x", "y", "z")
    tags = {TARGET: "poll://any@a", PREFIX: "one-run"}
    await save(
        storage,
        promises_created=[targeted(name, tags=tags) for name in names],
        tasks_created=[queued(name, at_ms=n, group="a") for n, name in enumerate(names)],
    )

    found = await load(storage, turns={"a": Turns(after=START, limit=9)})

    assert [(turn.tree, turn.id) for turn in found.turns] == [(tree_of("one-run"), "x")]


async def test_a_tree_whose_tasks_were_acquired_has_no_turn(storage: Storage) -> None:
    await save_tasks(storage, queued("t", at_ms=1))

    await save(storage, tasks_updated=[leased("t", pid="p", lease_at_ms=9)])

    found = await load(storage, turns={"workers": Turns(after=START, limit=5)})
    assert list(found.turns) == []


async def test_a_queued_task_that_was_acquired_is_queued_no_more(storage: Storage) -> None:
    await save_tasks(storage, queued("t", at_ms=1))

    await save(storage, tasks_updated=[leased("t", pid="p", lease_at_ms=9)])

    assert list((await load(storage, queued={"workers": 5})).queued) == []
    assert await storage.queued_groups() == frozenset()


async def test_the_leases_of_a_process_are_found_by_its_pid(storage: Storage) -> None:
    await save_tasks(
        storage,
        leased("held", pid="p", lease_at_ms=9),
        leased("also", pid="p", lease_at_ms=9),
        leased("other", pid="q", lease_at_ms=9),
        leased("third", pid="r", lease_at_ms=9),
    )
    await save(storage, tasks_updated=[task("also", dispatch_at_ms=1)])

    rows = (await load(storage, pids={"p", "r", "nobody"})).working_set

    assert {t.id for t in rows.tasks()} == {"held", "third"}


async def test_a_lease_that_changed_hands_is_found_by_the_new_pid_only(storage: Storage) -> None:
    await save_tasks(storage, leased("t", pid="p", lease_at_ms=9))

    await save(storage, tasks_updated=[leased("t", pid="q", lease_at_ms=9)])

    assert list((await load(storage, pids={"p"})).working_set.tasks()) == []
    assert {t.id for t in (await load(storage, pids={"q"})).working_set.tasks()} == {"t"}


async def test_a_plan_may_be_extended_within_a_transaction(storage: Storage) -> None:
    await save(storage, promises_created=[promise("a"), promise("b")])

    async with storage.transaction() as transaction:
        await transaction.load(Plan(ids={"a"}), now_ms=0)
        both = await transaction.load(Plan(ids={"a", "b"}), now_ms=0)

    assert {p.id for p in both.working_set.promises()} == {"a", "b"}
