"""What the backlog makes of tasks that it was told of."""

from holdfast_store.backlog import Backlog, Looks, Seen
from holdfast_store.storage import Behind
from holdfast_store.vain import VainLooks


def of_one(credits: int) -> dict[str, int]:
    return {"g": credits}


def limits(backlog: Backlog, *, free: int) -> dict[str, int]:
    return dict(backlog.wanted(lambda _group: free).oldest)


def test_tasks_that_were_told_of_are_looked_for_as_far_as_there_is_room() -> None:
    backlog = Backlog()

    backlog.tasks_came("g", 3)

    assert limits(backlog, free=3) == of_one(3)


def test_without_room_they_are_looked_for_when_some_comes() -> None:
    backlog = Backlog()
    backlog.tasks_came("g", 0)
    assert limits(backlog, free=0) == {}

    backlog.credits_returned("g", 1)

    assert limits(backlog, free=1) == of_one(1)


def test_room_does_not_grow_by_being_told_of_tasks_again() -> None:
    """A look locks as many tasks as it has room for, and takes them from nobody else in vain."""
    backlog = Backlog()

    for _ in range(100):
        backlog.tasks_came("g", 2)

    assert limits(backlog, free=2) == of_one(2)


def test_what_is_told_during_a_look_is_worth_another_one() -> None:
    """The task may have come behind its back."""
    backlog = Backlog()
    backlog.tasks_came("g", 2)
    looks = backlog.wanted(lambda _group: 2)

    backlog.tasks_came("g", 2)
    assert limits(backlog, free=2) == {}, "one at a time"
    backlog.looked(looks, {"g": Seen()})

    assert limits(backlog, free=2) == of_one(2)


def test_a_queue_of_tasks_that_nobody_here_can_take_is_left_alone_for_as_long_as_it_is() -> None:
    vain = VainLooks()
    front, further = Looks({"g": 9}), Looks({}, Behind(group="g", queued_at_ms=1, id="t", limit=9))

    vain.looked(front, {"g": Seen(count=9)})
    after_one = vain.pause_s("g")
    vain.looked(further, {"g": Seen(count=9_000)})
    after_both = vain.pause_s("g")
    vain.looked(front, {"g": Seen(count=9)})

    assert 0 < after_one < 0.01 < after_both < 1
    assert vain.pause_s("g") == after_one, "a new look counts anew"
    assert vain.pause_s("other") == 0


def test_a_look_that_was_not_in_vain_costs_no_pause() -> None:
    vain = VainLooks()
    for useful in (Seen(count=9, placed=1), Seen(count=9, in_turn=1), Seen(), None):
        vain.looked(Looks({"g": 9}), {"g": Seen(count=10**9)})
        assert vain.pause_s("g") == 1

        vain.looked(Looks({"g": 9}), {} if useful is None else {"g": useful})

        assert vain.pause_s("g") == 0
