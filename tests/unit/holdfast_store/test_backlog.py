"""Looks at waiting tasks find everything, a bounded piece at a time, and end."""

import pytest

from holdfast_store import backlog as backlog_module
from holdfast_store.backlog import Backlog, Looks, Place, Seen

FITS, BUSY, NOBODY = "fits", "busy", "nobody"


class Queue:
    """A group's waiting tasks by their places, looked at as the store does it."""

    def __init__(self, *kinds: str, credits: int = 1) -> None:
        self.tasks = dict(enumerate(kinds))
        self.credits = credits
        self.looks: list[Looks] = []
        self.placed: list[int] = []

    def free(self, _group: str) -> int:
        return self.credits

    def look(self, backlog: Backlog) -> bool:
        """Carry out one look, if one is wanted."""
        looks = backlog.wanted(self.free)
        if not looks:
            return False
        self.looks.append(looks)
        after = -1 if looks.behind is None else looks.behind.queued_at_ms
        [limit] = looks.groups().values()
        found = [number for number in sorted(self.tasks) if number > after][:limit]
        seen = Seen()
        for number in found:
            seen.count += 1
            seen.last = (number, str(number))
            kind = self.tasks[number]
            fits = kind == FITS and self.credits > 0
            seen.meet(placed=fits)
            if fits:
                self.credits -= 1
                self.placed.append(number)
                del self.tasks[number]
            elif kind != NOBODY:
                backlog.starve("w")
        backlog.looked(looks, {"w": seen})
        return True

    def run(self, backlog: Backlog) -> int:
        """Look as long as it is wanted; answer how many looks that were."""
        for count in range(10_000):
            if not self.look(backlog):
                return count
        raise AssertionError("the looks do not end")


@pytest.fixture
def backlog() -> Backlog:
    return Backlog()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of ten tasks."""
    monkeypatch.setattr(backlog_module, "LOOK_MAX", 10)


@pytest.mark.parametrize("passed_over", [0, 3, 9, 10, 11, 1_000])
def test_a_task_is_found_behind_any_number_that_nobody_can_take(
    backlog: Backlog, passed_over: int
) -> None:
    queue = Queue(*[NOBODY] * passed_over, FITS)

    backlog.room_came("w", 1)
    queue.run(backlog)

    assert queue.placed == [passed_over]


def test_no_look_passes_over_more_than_the_bound(backlog: Backlog) -> None:
    queue = Queue(*[NOBODY] * 500, credits=1_000)

    backlog.room_came("w", 1_000)
    looks = queue.run(backlog)

    sizes = [size for look in queue.looks for size in look.groups().values()]
    assert max(sizes) == 10
    assert looks == 51, "each piece once, and one to find the end"


def test_a_look_takes_no_more_than_there_is_room_for_while_everything_fits(
    backlog: Backlog,
) -> None:
    """Each task that is looked at is loaded, with everything that belongs to it."""
    queue = Queue(*[FITS] * 100, credits=3)
    backlog.room_came("w", 3)
    queue.run(backlog)
    for _ in range(10):
        queue.credits += 1
        backlog.credits_returned("w", 1)
        queue.run(backlog)

    assert [look.oldest["w"] for look in queue.looks] == [3, *[1] * 10]


def test_a_look_reaches_over_the_oldest_that_nobody_could_take(backlog: Backlog) -> None:
    queue = Queue(*[NOBODY] * 4, *[FITS] * 100, credits=1)
    backlog.room_came("w", 1)
    queue.run(backlog)
    backlog.starve("w")
    queue.looks.clear()

    for _ in range(3):
        queue.credits += 1
        backlog.credits_returned("w", 1)
        queue.run(backlog)

    assert queue.placed == [4, 5, 6, 7]
    assert [look.oldest for look in queue.looks] == [{"w": 5}] * 3


def test_a_look_that_found_nothing_is_not_repeated(backlog: Backlog) -> None:
    queue = Queue(*[NOBODY] * 25)
    backlog.room_came("w", 1)
    queue.run(backlog)

    assert queue.run(backlog) == 0
    backlog.credits_returned("w", 1)
    assert queue.run(backlog) == 0, "a credit helps nobody whom no member fits"


def test_a_look_ends_when_the_room_is_used(backlog: Backlog) -> None:
    queue = Queue(*[FITS] * 100, credits=2)

    backlog.room_came("w", 2)

    assert queue.run(backlog) == 1
    assert queue.placed == [0, 1]


def test_each_credit_that_returns_takes_the_oldest_task(backlog: Backlog) -> None:
    queue = Queue(*[FITS] * 100, credits=1)
    backlog.room_came("w", 1)
    queue.run(backlog)

    for _ in range(50):
        queue.credits += 1
        backlog.credits_returned("w", 1)
        queue.run(backlog)

    assert queue.placed == list(range(51))
    assert all(look.behind is None for look in queue.looks)


def test_free_credits_of_others_do_not_make_a_credit_look_at_everything(backlog: Backlog) -> None:
    """One member has room that fits no waiting task; another one has room again for the oldest."""
    queue = Queue(*[BUSY] * 500, credits=9)
    backlog.room_came("w", 9)
    queue.run(backlog)
    queue.looks.clear()

    queue.tasks[0] = FITS
    backlog.credits_returned("w", 1)
    queue.run(backlog)

    assert queue.placed == [0]
    assert len(queue.looks) == 1


def test_the_oldest_are_looked_at_again_while_a_look_is_far_behind(backlog: Backlog) -> None:
    queue = Queue(*[BUSY] * 1_000, credits=5)
    backlog.room_came("w", 5)
    for _ in range(20):
        queue.look(backlog)

    queue.tasks[0] = FITS  # the member that it waits for has room again
    backlog.credits_returned("w", 1)
    queue.look(backlog)
    queue.look(backlog)

    assert queue.placed == [0]
    assert queue.run(backlog) > 50, "and the far look goes on to its end"


def test_tasks_in_the_middle_are_found_by_the_look_after_this_one(backlog: Backlog) -> None:
    queue = Queue(*[BUSY] * 300, credits=5)
    backlog.room_came("w", 5)
    for _ in range(20):
        queue.look(backlog)

    queue.tasks[100] = FITS  # the look has passed it
    backlog.credits_returned("w", 1)
    queue.run(backlog)

    assert queue.placed == [100]


def test_room_that_comes_while_a_look_is_under_way_is_not_forgotten(backlog: Backlog) -> None:
    backlog.room_came("w", 1)
    looks = backlog.wanted(lambda _group: 1)
    backlog.starve("w")
    backlog.credits_returned("w", 1)  # behind the decision of the transaction, before its answer

    backlog.looked(looks, {})

    assert backlog.wanted(lambda _group: 1)


def test_without_free_credits_nothing_is_looked_at(backlog: Backlog) -> None:
    queue = Queue(FITS, credits=0)
    backlog.room_came("w", 1)

    assert queue.run(backlog) == 0
    queue.credits = 1
    assert queue.run(backlog) == 1


def test_a_look_whose_transaction_failed_is_wanted_again(backlog: Backlog) -> None:
    queue = Queue(*[NOBODY] * 15, FITS)
    backlog.room_came("w", 1)
    queue.look(backlog)
    looks = backlog.wanted(queue.free)
    assert not backlog.wanted(queue.free)

    backlog.failed(looks)

    assert backlog.wanted(queue.free) == looks
    backlog.failed(looks)
    queue.run(backlog)
    assert queue.placed == [15]


def test_a_look_from_before_a_group_came_back_says_nothing_about_it(backlog: Backlog) -> None:
    backlog.room_came("w", 1)
    old = backlog.wanted(lambda _group: 1)
    backlog.forget("w")
    backlog.room_came("w", 1)

    backlog.looked(old, {})

    assert backlog.wanted(lambda _group: 1), "the new member has seen nothing yet"


def test_many_groups_share_the_bound_and_all_have_their_turn(backlog: Backlog) -> None:
    names = [f"g{n}" for n in range(20)]
    for name in names:
        backlog.room_came(name, 1)

    turns = []
    while looks := backlog.wanted(lambda _group: 1):
        turns.append(set(looks.groups()))
        assert sum(looks.groups().values()) <= 10
        backlog.looked(looks, {})

    assert set.union(*turns) == set(names)
    assert sum(map(len, turns)) == 20


def test_groups_whose_looks_are_far_behind_take_turns(backlog: Backlog) -> None:
    places: dict[str, Place] = {}
    for name in ("a", "b", "c"):
        backlog.room_came(name, 1)
    order: list[str] = []
    for _ in range(30):
        looks = backlog.wanted(lambda _group: 1)
        if looks.behind is not None:
            order.append(looks.behind.group)
        seen = {}
        for group, limit in looks.groups().items():
            at_ms = places.get(group, (0, ""))[0] + limit
            places[group] = (at_ms, str(at_ms))
            seen[group] = Seen(count=limit, last=places[group])
        backlog.looked(looks, seen)

    assert {name: order.count(name) >= 8 for name in "abc"} == {"a": True, "b": True, "c": True}
