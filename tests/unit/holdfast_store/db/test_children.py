"""What a store remembers of the children of workflows: what a look at the rows would find."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from holdfast.core.records import BRANCH, PARENT, Preload, Promise, PromiseState, Value
from holdfast.core.working_set import Changes
from holdfast_store.db.postgres.children import FAMILY_BYTES_MAX, OVERHEAD_BYTES, KnownChildren
from holdfast_store.memory.rows import MemoryRows
from holdfast_store.preloads import NO_CHILDREN, counted_bytes

BYTES_MAX = 1_000_000


def made(promise_id: str, *, branch: str | None = None, parent: str | None = None) -> Promise:
    named = {BRANCH: branch, PARENT: parent}
    tags = {name: value for name, value in named.items() if value is not None}
    return Promise(
        id=promise_id, state=PromiseState.PENDING, tags=tags, timeout_at_ms=1, created_at_ms=0
    )


STEP = made("w.1", branch="w", parent="w")
REMOTE = made("w.2", branch="w.2", parent="w")
REMOTE_OF_STEP = made("w.1.1", branch="w.1.1", parent="w.1")
OF_REMOTE = made("w.2.1", branch="w.2", parent="w.2")


def ids(preload: Preload | None) -> list[str] | None:
    return None if preload is None else [promise.id for promise in preload.promises]


def test_nobody_knows_the_children_of_a_task_whose_beginning_was_not_seen() -> None:
    children = KnownChildren()

    children.note([STEP])

    assert children.preload("w", bytes_max=BYTES_MAX) is None


def test_a_task_has_what_shares_its_branch_and_what_names_one_of_these_as_parent() -> None:
    children = KnownChildren()
    children.begin("w")
    assert children.preload("w", bytes_max=BYTES_MAX) == NO_CHILDREN

    children.note([OF_REMOTE, REMOTE_OF_STEP, REMOTE, STEP])

    assert ids(children.preload("w", bytes_max=BYTES_MAX)) == ["w.1", "w.1.1", "w.2"]


def test_what_became_of_a_child_is_told() -> None:
    children = KnownChildren()
    children.begin("w", [STEP])
    settled = replace(STEP, state=PromiseState.RESOLVED, value=Value(data=b"1"))

    children.note([settled])

    preload = children.preload("w", bytes_max=BYTES_MAX)
    assert preload == Preload(promises=(settled,), complete=True)


def test_the_bound_of_a_preload_cuts_it() -> None:
    children = KnownChildren()
    children.begin("w", [STEP, REMOTE])

    preload = children.preload("w", bytes_max=counted_bytes(STEP))

    assert preload == Preload(promises=(STEP,), complete=False)


def test_a_task_that_is_forgotten_takes_its_children_with_it() -> None:
    children = KnownChildren()
    children.begin("w", [STEP])
    children.forget("w")
    children.begin("w")

    children.note([REMOTE_OF_STEP])

    assert children.preload("w", bytes_max=BYTES_MAX) == NO_CHILDREN, "nobody is of its branch"


def test_nothing_is_known_after_it_was_cleared() -> None:
    children = KnownChildren()
    children.begin("w", [STEP])

    children.clear()

    assert children.preload("w", bytes_max=BYTES_MAX) is None


def test_the_task_that_was_handed_out_longest_ago_is_forgotten_where_room_ends() -> None:
    children = KnownChildren(bytes_max=4 * OVERHEAD_BYTES)
    for task_id in ("a", "b"):
        children.begin(task_id)
    children.preload("a", bytes_max=BYTES_MAX)

    children.note([made("a.1", branch="a"), made("a.2", branch="a")])

    assert ids(children.preload("a", bytes_max=BYTES_MAX)) == ["a.1", "a.2"]
    assert children.preload("b", bytes_max=BYTES_MAX) is None


def test_tasks_without_children_take_room_too() -> None:
    children = KnownChildren(bytes_max=2 * OVERHEAD_BYTES)

    for task_id in ("a", "b", "c"):
        children.begin(task_id)

    known = [children.preload(each, bytes_max=BYTES_MAX) is not None for each in ("a", "b", "c")]
    assert known == [False, True, True]


@pytest.mark.parametrize("oldest", ["a", "b"])
def test_a_child_of_two_tasks_finds_room_with_one_of_them(oldest: str) -> None:
    children = KnownChildren(bytes_max=4 * OVERHEAD_BYTES)
    for task_id in sorted(("a", "b"), key=lambda each: each != oldest):
        children.begin(task_id)
    large = Value(data=b"x" * OVERHEAD_BYTES)

    children.note([replace(made("c", branch="a", parent="b"), value=large)])

    known = [children.preload(each, bytes_max=BYTES_MAX) is not None for each in ("a", "b")]
    assert known.count(True) <= 1


@pytest.mark.parametrize("where", ["at once", "one by one", "by growing"])
def test_a_task_with_very_much_below_it_is_not_kept(where: str) -> None:
    children = KnownChildren()
    large = Value(data=b"x" * (FAMILY_BYTES_MAX // 2))
    many = [replace(made(f"w.{n}", branch="w"), value=large) for n in range(3)]
    if where == "at once":
        children.begin("w", many)
    else:
        small = many if where == "one by one" else [replace(p, value=Value()) for p in many]
        children.begin("w", [] if where == "one by one" else small)
        for promise in many:
            children.note([promise])

    assert children.preload("w", bytes_max=BYTES_MAX) is None
    children.note([made("w.9", branch="w")])
    assert children.preload("w", bytes_max=BYTES_MAX) is None, "not from the middle on"


@pytest.mark.parametrize("at_once", [True, False])
def test_nothing_is_left_of_children_that_found_no_room(*, at_once: bool) -> None:
    children = KnownChildren()
    many = [made(f"w.{n}", branch="w") for n in range(FAMILY_BYTES_MAX // OVERHEAD_BYTES + 10)]

    children.begin("w", many if at_once else ())
    children.note(many)

    assert children.preload("w", bytes_max=BYTES_MAX) is None
    assert children._homes == {}


@st.composite
def trees(draw: st.DrawFn) -> list[list[Promise]]:
    """Draw batches of promises below `w`, parents before children, in branches of either kind."""
    known = [made("w", branch="w")]
    batches = []
    for _ in range(draw(st.integers(1, 5))):
        older = known[1:]
        batch = []
        for _ in range(draw(st.integers(1, 4))):
            parent = draw(st.sampled_from(known))
            promise_id = f"{parent.id}.{len(known)}"
            own, shared = promise_id, parent.tags[BRANCH]
            branch = draw(st.sampled_from([own, shared]))
            known.append(made(promise_id, branch=branch, parent=parent.id))
            batch.append(known[-1])
        changed = [promise for promise in older if draw(st.booleans())]
        batch += [replace(p, value=Value(data=b"v" * draw(st.integers(0, 300)))) for p in changed]
        batches.append(batch)
    return batches


@given(batches=trees(), bytes_max=st.integers(100, 2_000))
def test_a_preload_is_what_a_look_at_the_rows_finds(
    batches: Sequence[Sequence[Promise]], bytes_max: int
) -> None:
    children, rows = KnownChildren(), MemoryRows()
    rows.save(Changes(promises_created=[made("w", branch="w")]))
    children.begin("w")
    seen = {"w"}

    for batch in batches:
        created = [promise for promise in batch if promise.id not in seen]
        updated = [promise for promise in batch if promise.id in seen]
        seen.update(promise.id for promise in created)
        rows.save(Changes(promises_created=created, promises_updated=updated))
        children.note(batch)

        assert children.preload("w", bytes_max=bytes_max) == rows.preload("w", bytes_max)
