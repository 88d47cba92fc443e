"""Whatever a record holds comes back as it was, on every storage."""

import pytest
from msgspec.structs import replace

from holdfast.core.records import (
    EMPTY,
    Callback,
    Promise,
    PromiseState,
    Task,
    TaskState,
    Unblock,
    Value,
    WaitMode,
)
from holdfast_store.storage import Storage
from tests.integration.store_db.records import (
    load,
    promise,
    save,
    stored,
    taken_for,
    targeted,
    task,
)

FULL_PROMISE = Promise(
    id="full",
    state=PromiseState.REJECTED_CANCELED,
    param=Value(data=b"\x00\xff{", headers={"a": "1", "ü": '"\\\n\x00'}),
    value=Value(data=b"value", headers={"b": ""}),
    tags={"resonate:branch": "full", "resonate:parent": "up", "other": "ß 🙂"},
    timeout_at_ms=2**53 - 1,
    created_at_ms=11,
    settled_at_ms=12,
    armed=True,
)
FULL_TASK = Task(
    id="full",
    state=TaskState.ACQUIRED,
    version=7,
    resumes=frozenset({"x", "y"}),
    ttl_ms=1,
    pid="pid",
    target="poll://any@workers/pid",
    lease_at_ms=2,
    dispatch_at_ms=3,
    queued_at_ms=4,
    paced_until_ms=5,
    instance="start-1",
    seat="connection-1",
    wait_mode=WaitMode.ALL_RESOLVED,
    waiting_on=6,
    unknown_releases=8,
    deliveries=9,
    reason="crashed",
)

ODD_TEXTS = ["ä", "a\u0308", "🙂", "a'b\"c\\d", "a\nb", "%_*", "0", "null", "1e3"]


def test_the_full_records_differ_from_the_defaults_in_every_field() -> None:
    """Otherwise a column that is forgotten would not be noticed."""
    bare_promise = Promise(id="", timeout_at_ms=0, created_at_ms=0)
    bare_task = Task(id="", target="")

    for full, bare in ((FULL_PROMISE, bare_promise), (FULL_TASK, bare_task)):
        assert all(getattr(full, name) != getattr(bare, name) for name in full.__struct_fields__)


async def test_every_field_survives(storage: Storage) -> None:
    await save(
        storage,
        promises_created=[FULL_PROMISE],
        tasks_created=[FULL_TASK],
        resumes_added=[("full", "x"), ("full", "y")],
    )

    rows = await stored(storage, "full")

    assert rows.promise("full") == FULL_PROMISE
    assert rows.task("full") == FULL_TASK


async def test_loaded_records_are_frozen(storage: Storage) -> None:
    await save(storage, promises_created=[FULL_PROMISE], tasks_created=[FULL_TASK])
    rows = await stored(storage, "full")

    for record in (rows.promise("full"), rows.task("full")):
        with pytest.raises(AttributeError, match="immutable"):
            record.state = None  # type: ignore[union-attr,misc]


async def test_every_field_that_may_change_survives_an_update(storage: Storage) -> None:
    await save(storage, promises_created=[targeted("p")], tasks_created=[task("p")])
    promise_after = replace(
        targeted("p"),
        state=PromiseState.RESOLVED,
        value=FULL_PROMISE.value,
        settled_at_ms=5,
        armed=False,
    )
    task_after = replace(FULL_TASK, id="p", target=task("p").target)

    await save(
        storage,
        promises_updated=[promise_after],
        tasks_updated=[task_after],
        resumes_added=[("p", "x"), ("p", "y")],
    )

    rows = await stored(storage, "p")
    assert rows.promise("p") == promise_after
    assert rows.task("p") == task_after


@pytest.mark.parametrize(
    "value",
    [
        EMPTY,
        Value(data=b""),
        Value(headers={}),
        Value(data=b"", headers={}),
        Value(headers={"": ""}),
        Value(data=b"x" * 1_000_000),
    ],
    ids=["absent", "empty-data", "empty-headers", "both-empty", "empty-name", "large"],
)
async def test_absent_and_empty_stay_apart(storage: Storage, value: Value) -> None:
    await save(storage, promises_created=[promise("p", param=value, value=value)])

    found = (await stored(storage, "p")).promise("p")

    assert found is not None
    assert found.param == value
    assert found.value == value


@pytest.mark.parametrize("state", PromiseState)
async def test_every_state_of_a_promise_survives(storage: Storage, state: PromiseState) -> None:
    await save(storage, promises_created=[promise("p", state=state)])

    assert (await stored(storage, "p")).promise("p") == promise("p", state=state)


@pytest.mark.parametrize("state", TaskState)
@pytest.mark.parametrize("mode", WaitMode)
async def test_every_state_of_a_task_survives(
    storage: Storage, state: TaskState, mode: WaitMode
) -> None:
    made = task("t", state=state, wait_mode=mode)

    await save(storage, promises_created=[targeted("t")], tasks_created=[made])

    assert (await stored(storage, "t")).task("t") == made


@pytest.mark.parametrize("text", ODD_TEXTS)
async def test_ids_and_tags_are_any_text_kept_byte_for_byte(storage: Storage, text: str) -> None:
    made = promise(text, tags={text: text}, branch=text, parent=text)

    await save(storage, promises_created=[made])

    rows = await stored(storage, *ODD_TEXTS)
    assert list(rows.promises()) == [made]


async def test_ids_that_differ_only_in_case_or_accents_are_different(storage: Storage) -> None:
    ids = ["a", "A", "ä", "a ", "a\u0308"]

    await save(storage, promises_created=[promise(i) for i in ids])

    assert {p.id for p in (await stored(storage, *ids)).promises()} == set(ids)


async def test_callbacks_are_saved_changed_and_removed_one_by_one(storage: Storage) -> None:
    await save(
        storage,
        promises_created=[promise("p"), targeted("a"), targeted("b")],
        tasks_created=[task("a"), task("b")],
        callbacks_saved=[
            Callback(awaited="p", awaiter="a"),
            Callback(awaited="p", awaiter="b", wait_version=3),
        ],
    )
    first = (await stored(storage, "p")).callbacks("p")

    await save(
        storage,
        callbacks_saved=[Callback(awaited="p", awaiter="a", wait_version=0)],
        callbacks_removed=[("p", "b")],
    )

    assert set(first) == {
        Callback(awaited="p", awaiter="a"),
        Callback(awaited="p", awaiter="b", wait_version=3),
    }
    after = (await stored(storage, "p")).callbacks("p")
    assert after == (Callback(awaited="p", awaiter="a", wait_version=0),)


async def test_listeners_are_a_set_and_are_cleared_together(storage: Storage) -> None:
    await save(
        storage,
        promises_created=[promise("p"), promise("q")],
        listeners_added=[("p", "http://1"), ("p", "http://2"), ("q", "http://1")],
    )
    await save(storage, listeners_added=[("p", "http://1")])
    before = (await stored(storage, "p", "q")).listeners("p")

    await save(storage, listeners_cleared=["p"])

    rows = await stored(storage, "p", "q")
    assert sorted(before) == ["http://1", "http://2"]
    assert rows.listeners("p") == ()
    assert rows.listeners("q") == ("http://1",)


async def test_resumes_are_cleared_before_new_ones_are_added(storage: Storage) -> None:
    woken = task("t", resumes=frozenset({"a", "b"}))
    await save(
        storage,
        promises_created=[targeted("t")],
        tasks_created=[woken],
        resumes_added=[("t", "a"), ("t", "b")],
    )

    await save(
        storage,
        tasks_updated=[replace(woken, resumes=frozenset({"b", "c"}))],
        resumes_cleared=["t"],
        resumes_added=[("t", "b"), ("t", "c")],
    )

    found = (await stored(storage, "t")).task("t")
    assert found is not None
    assert found.resumes == {"b", "c"}


async def test_a_resume_may_name_a_promise_that_is_gone(storage: Storage) -> None:
    """Retention deletes whole trees; a task in another tree still knows how often it was woken."""
    await save(
        storage,
        promises_created=[targeted("t")],
        tasks_created=[task("t", resumes=frozenset({"gone"}))],
        resumes_added=[("t", "gone")],
    )

    found = (await stored(storage, "t")).task("t")

    assert found is not None
    assert found.resumes == {"gone"}


async def test_an_unblock_is_answered_with_the_promise_as_stored(storage: Storage) -> None:
    settled = promise("p", state=PromiseState.RESOLVED, value=Value(data=b"v"), settled_at_ms=1)
    await save(storage, promises_created=[promise("p")])

    await save(
        storage,
        promises_updated=[settled],
        unblocks=[Unblock(promise_id="p", address="http://x", enqueued_at_ms=1)],
    )

    assert await taken_for(storage, "http://x") == [("http://x", settled)]


async def test_an_id_that_does_not_exist_is_absent(storage: Storage) -> None:
    loaded = await load(storage, "nothing", now_ms=42)

    assert loaded.now_ms == 42
    assert loaded.working_set.promise("nothing") is None
    assert loaded.working_set.task("nothing") is None
    assert list(loaded.working_set.promises()) == []
