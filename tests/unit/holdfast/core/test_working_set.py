"""What a batch must save, where the machine's tables would not show a difference."""

from collections.abc import Callable

from msgspec.structs import replace

from holdfast.core.working_set import WorkingSet
from tests.unit.holdfast.core.rows import (
    ADDRESS,
    AWAITED,
    HELD,
    PENDING,
    RUN,
    SETTLED,
    UNBLOCK,
    WAIT,
)


def loaded() -> WorkingSet:
    return WorkingSet(
        promises=[AWAITED, RUN],
        tasks=[replace(PENDING, resumes=frozenset({"a", "b"}))],
        callbacks=[WAIT],
        listeners=[("a", ADDRESS)],
    )


def test_reading_changes_nothing() -> None:
    ws = loaded()

    ws.promise("a"), ws.task("x"), ws.callbacks("a"), ws.listeners("a"), ws.callback("a", "x")

    assert not ws.changes()
    assert ws.tasks_touched() == ()


def test_a_single_change_of_any_kind_is_something_to_save() -> None:
    kinds: list[Callable[[WorkingSet], object]] = [
        lambda ws: ws.put_promise(SETTLED),
        lambda ws: ws.put_promise(replace(AWAITED, armed=False)),
        lambda ws: ws.put_task(replace(HELD, id="y")),
        lambda ws: ws.put_task(HELD),
        lambda ws: ws.put_callback(replace(WAIT, awaiter="y")),
        lambda ws: ws.take_callbacks("a"),
        lambda ws: ws.put_listener("a", "poll://uni@g/2"),
        lambda ws: ws.take_listeners("a"),
        lambda ws: ws.put_unblock(UNBLOCK),
    ]
    for kind in kinds:
        ws = loaded()
        kind(ws)

        assert ws.changes()


def test_an_absent_row_reads_as_absent() -> None:
    ws = loaded()

    assert ws.promise("nowhere") is None
    assert ws.task("a") is None
    assert ws.callback("nowhere", "x") is None
    assert ws.callbacks("nowhere") == ()
    assert ws.listeners("nowhere") == ()


def test_a_row_changed_twice_is_saved_once_as_it_is_last() -> None:
    ws = loaded()
    ws.put_promise(replace(AWAITED, armed=False))
    ws.put_promise(replace(AWAITED, timeout_at_ms=7))
    ws.put_promise(SETTLED)

    changes = ws.changes()

    assert changes.promises_updated == [replace(AWAITED, timeout_at_ms=7)]
    assert changes.promises_created == [SETTLED]
    assert ws.promise("a") == replace(AWAITED, timeout_at_ms=7)
    assert {promise.id for promise in ws.promises()} == {"a", "s", "x"}


def test_resumes_that_only_grow_are_added_and_others_are_cleared_first() -> None:
    grown, cleared, exchanged = loaded(), loaded(), loaded()
    grown.put_task(replace(PENDING, resumes=frozenset({"a", "b", "c"})))
    cleared.put_task(HELD)
    exchanged.put_task(replace(PENDING, resumes=frozenset({"b", "c"})))

    assert grown.changes().resumes_added == [("x", "c")]
    assert grown.changes().resumes_cleared == []
    assert cleared.changes().resumes_cleared == ["x"]
    assert cleared.changes().resumes_added == []
    assert exchanged.changes().resumes_cleared == ["x"]
    assert sorted(exchanged.changes().resumes_added) == [("x", "b"), ("x", "c")]


def test_obligations_taken_are_removed_and_the_same_one_again_is_nothing_new() -> None:
    ws = loaded()
    ws.put_listener("a", ADDRESS)
    assert not ws.changes()
    ws.put_callback(replace(WAIT, wait_version=2))
    assert ws.changes().callbacks_saved == [replace(WAIT, wait_version=2)]

    assert ws.take_callbacks("a") == (replace(WAIT, wait_version=2),)
    assert ws.take_listeners("a") == (ADDRESS,)

    changes = ws.changes()
    assert changes.callbacks_removed == [("a", "x")]
    assert changes.callbacks_saved == []
    assert changes.listeners_cleared == ["a"]
    assert ws.take_callbacks("a") == ()
    assert ws.take_listeners("a") == ()


def test_an_obligation_that_came_and_went_within_the_batch_is_not_saved() -> None:
    ws = loaded()
    ws.put_callback(replace(WAIT, awaited="x", awaiter="y"))
    ws.put_listener("x", ADDRESS)
    ws.take_callbacks("x")
    ws.take_listeners("x")

    assert not ws.changes()


def test_touched_tasks_are_those_of_the_batch() -> None:
    ws = loaded()
    ws.put_task(HELD)

    assert ws.tasks_touched() == (HELD,)
    assert list(ws.tasks()) == [HELD]
