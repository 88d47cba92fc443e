"""What a store remembers of promises: what it wrote, within bounds, and never for certain."""

from itertools import count

import pytest
from msgspec.structs import replace

from holdfast.core.records import Callback, Promise, PromiseState, Task, TaskState, Value
from holdfast.core.working_set import Changes
from holdfast_store.db.postgres.known import (
    OBLIGATIONS_MAX,
    PAUSE_MAX,
    Known,
    KnownPromises,
    Recalled,
    revised,
    working_set_of,
)
from holdfast_store.storage import Plan, Turns

FAR_MS = 1_000
W = Promise(id="w", state=PromiseState.PENDING, tags={}, timeout_at_ms=FAR_MS, created_at_ms=0)
C = replace(W, id="c")
T = Task(id="w", target="poll://any@g")


def known_of(changes: Changes, *, revision: int = 1, bytes_max: int = 1_000_000) -> KnownPromises:
    known = KnownPromises(bytes_max=bytes_max)
    known.apply(changes, revision)
    return known


def recall(known: KnownPromises, *ids: str, created: tuple[str, ...] = ()) -> Recalled | None:
    return answer(known, Plan(ids={*ids, *created}, created=created))


def answer(known: KnownPromises, plan: Plan, *, due: tuple[str, ...] = ()) -> Recalled | None:
    return known.recall(plan, due=due, now_ms=0) if known.may_answer(plan) else None


def test_what_was_written_is_recalled_with_its_revision() -> None:
    known = known_of(Changes(promises_created=[W], tasks_created=[T]), revision=7)

    recalled = recall(known, "w")

    assert recalled is not None
    assert recalled.revisions == {"w": 7}
    [recalled_w] = recalled.known
    assert (recalled_w.promise, recalled_w.task) == (W, T)


def test_a_change_of_the_task_or_of_an_obligation_renews_the_revision() -> None:
    callback = Callback(awaited="c", awaiter="w", wait_version=1)
    known = known_of(Changes(promises_created=[W, C], tasks_created=[T]), revision=1)

    known.apply(
        Changes(
            tasks_updated=[replace(T, state=TaskState.SUSPENDED)],
            callbacks_saved=[callback],
            listeners_added=[("c", "poll://any@g")],
        ),
        2,
    )

    recalled = recall(known, "c")
    assert recalled is not None
    assert recalled.revisions == {"w": 2, "c": 2}, "the awaiter belongs to it"
    working_set = working_set_of(recalled.known)
    assert working_set.callbacks("c") == (callback,)
    assert working_set.listeners("c") == ("poll://any@g",)
    known.apply(Changes(callbacks_removed=[("c", "w")], listeners_cleared=["c"]), 3)
    recalled = recall(known, "c")
    assert recalled is not None
    assert recalled.revisions == {"c": 3}
    working_set = working_set_of(recalled.known)
    assert working_set.callbacks("c") == ()
    assert working_set.listeners("c") == ()


@pytest.mark.parametrize(
    ("changes", "ids"),
    [
        (Changes(promises_created=[W], tasks_created=[T], resumes_added=[("w", "c")]), set()),
        (Changes(promises_updated=[W]), {"w"}),
        (Changes(tasks_created=[T]), {"w"}),
        (Changes(tasks_updated=[T]), {"w"}),
        (Changes(callbacks_saved=[Callback(awaited="c", awaiter="w")]), {"c"}),
        (Changes(callbacks_removed=[("c", "w")]), {"c"}),
        (Changes(listeners_added=[("c", "a")]), {"c"}),
        (Changes(listeners_cleared=["c"]), {"c"}),
        (Changes(resumes_added=[("w", "c")]), {"w"}),
        (Changes(resumes_cleared=["w"]), {"w"}),
    ],
)
def test_whatever_changes_something_renews_the_revision_of_its_promise(
    changes: Changes, ids: set[str]
) -> None:
    assert revised(changes) == ids


def test_a_settled_promise_is_forgotten() -> None:
    known = known_of(Changes(promises_created=[W]))

    known.apply(Changes(promises_updated=[replace(W, state=PromiseState.RESOLVED)]), 2)

    assert recall(known, "w") is None


def test_an_unknown_id_is_taken_for_absent_only_if_it_is_created() -> None:
    known = known_of(Changes(promises_created=[W]))

    recalled = recall(known, "w", created=("w.1",))

    assert recalled is not None
    assert recalled.absent == {"w.1"}
    assert recall(known, "w", "w.1") is None


def test_an_unknown_awaiter_has_to_be_looked_at() -> None:
    callback = Callback(awaited="c", awaiter="w")
    known = known_of(Changes(promises_created=[C], callbacks_saved=[callback]))

    assert recall(known, "c") is None


def test_what_is_due_is_recalled_with_its_awaiters_or_looked_at() -> None:
    callback = Callback(awaited="c", awaiter="w")
    known = known_of(Changes(promises_created=[W, C], callbacks_saved=[callback]))
    sweep = Plan(due_max=10)

    recalled = answer(known, sweep, due=("c",))

    assert recalled is not None
    assert recalled.revisions.keys() == {"c", "w"}
    assert answer(known, sweep, due=("c", "unknown")) is None
    nothing = answer(known, sweep)
    assert nothing is not None
    assert nothing.revisions == {}, "nothing is due: there is nothing to be certain of"


@pytest.mark.parametrize(
    "more",
    [
        {"pids": {"p"}},
        {"queued": {"g": 1}},
        {"turns": {"g": Turns(after=0, limit=1)}},
        {"schedules": {"s"}},
        {"firing": ["s"]},
    ],
    ids=str,
)
def test_whatever_has_no_name_has_to_be_looked_for(more: dict[str, object]) -> None:
    known = known_of(Changes(promises_created=[W]))

    assert answer(known, Plan(**({"ids": {"w"}} | more))) is None  # type: ignore[arg-type]


def test_the_least_recently_used_is_forgotten_where_room_ends() -> None:
    promises = [replace(W, id=f"p{n}", param=Value(data=b"x" * 100)) for n in range(3)]
    room = 2 * Known(promises[0], 1).size() + 1
    known = known_of(Changes(promises_created=promises[:2]), bytes_max=room)
    assert recall(known, "p0") is not None

    known.apply(Changes(promises_created=promises[2:]), 2)

    assert [recall(known, f"p{n}") is not None for n in range(3)] == [True, False, True]


def test_what_has_very_many_obligations_is_not_kept() -> None:
    listeners = [("w", f"http://{n}") for n in range(OBLIGATIONS_MAX + 1)]

    assert recall(known_of(Changes(promises_created=[W], listeners_added=listeners)), "w") is None


def test_an_awaiter_that_was_read_with_another_revision_is_forgotten() -> None:
    known = known_of(Changes(promises_created=[W]), revision=1)

    known.compare(Known(promise=W, revision=1))
    assert recall(known, "w") is not None
    known.compare(Known(promise=W, revision=2))
    assert recall(known, "w") is None


@pytest.mark.parametrize(
    "large",
    [
        replace(W, param=Value(data=b"x" * 50_000)),
        replace(W, param=Value(headers={"h": "x" * 50_000})),
        replace(W, tags={"t": "x" * 50_000}),
    ],
)
def test_whatever_a_promise_carries_counts(large: Promise) -> None:
    assert recall(known_of(Changes(promises_created=[large]), bytes_max=40_000), "w") is None


def test_obligations_count() -> None:
    known = known_of(Changes(promises_created=[W]), bytes_max=10_000)
    assert recall(known, "w") is not None

    known.apply(Changes(listeners_added=[("w", f"http://{'x' * 1_000}/{n}") for n in range(3)]), 2)

    assert recall(known, "w") is None


def test_of_several_that_grow_at_once_those_are_forgotten_that_find_no_room() -> None:
    promises = [replace(W, id=f"p{n}") for n in range(8)]
    room = 9 * Known(W, 1).size()
    known = known_of(Changes(promises_created=promises), bytes_max=room)

    grown = [(promise.id, f"http://{'x' * 1_000}") for promise in promises]
    known.apply(Changes(listeners_added=grown), 2)

    kept = [promise.id for promise in promises if recall(known, promise.id) is not None]
    assert 0 < len(kept) < len(promises)


def test_what_was_taken_for_absent_in_vain_is_looked_for_the_next_time() -> None:
    known = KnownPromises()
    recalled = recall(known, created=("p",))
    assert recalled is not None
    known.failed(recalled)
    assert recall(known, created=("q",)) is None, "it looks once more at everything"

    assert recall(known, created=("q",)) is not None
    assert recall(known, created=("p",)) is None


def test_what_an_older_version_wrote_is_not_kept() -> None:
    known = KnownPromises()

    known.learn(Known(promise=W, revision=None))

    assert recall(known, "w") is None


def test_after_a_failure_it_is_looked_twice_as_often_and_after_success_half() -> None:
    known = known_of(Changes(promises_created=[C]))

    numbers = count()

    def looks() -> int:
        looked = 0
        while recall(known, "c") is None:
            looked += 1
        return looked

    def fail() -> int:
        recalled = recall(known, created=(f"new{next(numbers)}",))
        assert recalled is not None
        known.failed(recalled)
        return looks()

    assert [fail() for _ in range(3)] == [1, 3, 7]
    known.held()
    assert fail() == 7
    assert max(fail() for _ in range(10)) == PAUSE_MAX


def test_what_turned_out_wrong_is_forgotten() -> None:
    known = known_of(Changes(promises_created=[W, C]))
    recalled = recall(known, "w")
    assert recalled is not None

    known.failed(recalled)

    assert recall(known, "c") is None, "it looks once more"
    assert recall(known, "c") is not None
    assert recall(known, "w") is None
