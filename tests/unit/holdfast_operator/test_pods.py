"""Which pods hold tasks, by what the store says of its members."""

from typing import Any

from holdfast.rpc.admin import ConnectedMember
from holdfast_operator.apply import DELETION_COST, GOES_FIRST, pods_of


def pod(name: str, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": f"uid-of-{name}", **metadata}}


def member(pid: str, *, held: int, groups: tuple[str, ...] = ("g",)) -> ConnectedMember:
    return ConnectedMember(pid=pid, groups=groups, credits=1, held=held, connected_at_ms=0)


def test_a_member_is_matched_by_the_name_of_its_pod() -> None:
    seen = pods_of(
        [pod("a"), pod("b"), pod("c")],
        [member("a", held=2), member("b", held=1), member("x", held=4)],
        groups=["g"],
        running=7,
    )

    assert [(each.name, each.held) for each in seen.pods] == [("a", 2), ("b", 1), ("c", None)]
    assert (seen.busy, seen.unaccounted) == (2, 0)


def test_running_tasks_that_no_member_holds_are_counted() -> None:
    others = member("a", held=5, groups=("other",))

    seen = pods_of([pod("a")], [others, member("b", held=1)], groups=["g"], running=4)

    assert seen.unaccounted == 3


def test_a_member_of_two_groups_is_counted_once() -> None:
    seen = pods_of(
        [pod("a")], [member("a", held=3, groups=("g", "h"))], groups=["g", "h"], running=3
    )

    assert seen.unaccounted == 0


def test_a_pod_that_ends_already_is_left_out() -> None:
    seen = pods_of([pod("a", deletionTimestamp="now")], [], groups=["g"], running=0)

    assert seen.pods == ()


def test_our_marks_are_told_from_costs_that_somebody_else_set() -> None:
    costs = [str(GOES_FIRST), str(GOES_FIRST + 7), "-5", "100", "not a number"]

    seen = pods_of(
        [pod(f"p{n}", annotations={DELETION_COST: cost}) for n, cost in enumerate(costs)],
        [],
        groups=["g"],
        running=0,
    )

    assert [each.marked for each in seen.pods] == [True, True, False, False, False]
