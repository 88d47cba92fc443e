"""Who is given which task, and what is looked at when nobody could take it."""

import pytest

from holdfast.core.ids import HTTP_GROUP
from holdfast.core.membership import DeliveryMode, Member, TaskOffer, TaskPush
from holdfast.core.records import FUNC_HEADER, Promise, Task, Value
from holdfast_store.members import BadMember, Members, NotPlaced, Seat


class Inbox:
    """Remembers what a member was sent."""

    def __init__(self) -> None:
        self.was_replaced = False

    def push_task(self, push: TaskPush) -> None: ...

    def push_offer(self, offer: TaskOffer) -> None: ...

    def push_settled(self, promise: Promise) -> None: ...

    def replaced(self) -> None:
        self.was_replaced = True


def join(members: Members, pid: str, **fields: object) -> Seat:
    member = Member(**{"pid": pid, "instance": "i", "groups": ("w",), "credits": 1} | fields)  # type: ignore[arg-type]
    return members.join(member, Inbox(), now_ms=0)


def work(
    task_id: str = "t", *, target: str = "poll://any@w", func: str | None = None
) -> tuple[Task, Promise]:
    param = Value(headers=None if func is None else {FUNC_HEADER: func})
    task = Task(id=task_id, target=target, dispatch_at_ms=0, queued_at_ms=0)
    return task, Promise(id=task_id, timeout_at_ms=10, created_at_ms=0, param=param)


def test_a_task_goes_to_the_pid_that_its_target_prefers() -> None:
    members = Members()
    join(members, "a", credits=5)
    b = join(members, "b")

    placed = members.place(*work(target="poll://any@w/b"))

    assert placed is b


def test_a_task_goes_back_to_the_member_that_ran_it() -> None:
    members = Members()
    a = join(members, "a", credits=2)
    members.place(*work())
    join(members, "b", credits=9)

    again = members.place(*work())

    assert again is a


def test_a_new_task_goes_to_the_least_loaded_member() -> None:
    members = Members()
    join(members, "a", credits=2)
    b = join(members, "b", credits=3)

    assert members.place(*work()) is b


def test_a_unicast_target_is_given_to_nobody_else() -> None:
    members = Members()
    join(members, "a")

    assert members.place(*work(target="poll://uni@w/b")) is NotPlaced.NO_MEMBER


def test_a_member_gets_only_functions_that_it_advertised() -> None:
    members = Members()
    join(members, "a", functions=frozenset({"f@2"}))

    assert members.place(*work(func="f@1")) is NotPlaced.NO_MEMBER
    assert isinstance(members.place(*work(func="f@2")), Seat)


def test_a_name_without_version_stands_for_every_version() -> None:
    members = Members()
    a = join(members, "a", functions=frozenset({"f"}))

    assert members.place(*work(func="f@7")) is a


def test_a_task_without_a_function_header_fits_every_member() -> None:
    members = Members()
    a = join(members, "a", functions=frozenset({"f"}))

    assert members.place(*work(func=None)) is a


def test_credits_bound_what_a_member_is_given() -> None:
    members = Members()
    seat = join(members, "a", credits=1)
    members.place(*work("t1"))

    assert members.place(*work("t2")) is NotPlaced.NO_CREDIT

    members.give_back(seat, 1)

    assert members.place(*work("t2")) is seat


def test_credits_of_tasks_given_before_a_reconnect_come_back_too() -> None:
    members = Members()
    first = join(members, "a", credits=2)
    members.place(*work())
    members.leave(first)
    again = join(members, "a", credits=1)  # the room it has while the task still runs

    members.give_back(again, 1)

    assert (again.credits, again.held) == (2, 0)


def test_whoever_comes_back_with_its_hands_full_is_given_tasks_again_when_one_ends() -> None:
    members = Members()
    seat = join(members, "a", credits=0, held=frozenset({("t", 1)}))
    members.admit(seat)
    refused = members.place(*work("next"))

    members.give_back(seat, 1)

    assert refused is NotPlaced.NO_CREDIT
    assert members.wanted().oldest == {"w": 1}
    assert members.place(*work("next")) is seat


def test_what_waited_before_a_busy_member_came_back_is_looked_at_when_a_task_of_it_ends() -> None:
    """Another store queued it, or this one in an earlier life: nobody here has met it."""
    members = Members()
    seat = join(members, "a", credits=0, held=frozenset({("t", 1)}))
    members.admit(seat)
    before = members.wanted()

    members.give_back(seat, 1)

    assert not before
    assert members.wanted().oldest == {"w": 1}


def test_credits_make_a_worker_of_whoever_came_without_any() -> None:
    """It runs tasks of which its introduction said nothing, as older libraries do not."""
    members = Members()
    seat = join(members, "a", credits=0)
    refused = members.place(*work("next"))

    members.give_back(seat, 1)

    assert refused is NotPlaced.NO_MEMBER
    assert members.wanted().oldest == {"w": 1}
    assert members.place(*work("next")) is seat


def test_a_draining_member_is_given_nothing() -> None:
    members = Members()
    join(members, "a").draining = True

    assert members.place(*work()) is NotPlaced.NO_CREDIT


def test_the_same_pid_replaces_the_first_member() -> None:
    members = Members()
    first = join(members, "a")

    second = join(members, "a", instance="j")

    assert isinstance(first.inbox, Inbox)
    assert first.inbox.was_replaced
    assert members.place(*work()) is second
    assert not members.leave(first)


def test_a_credit_that_comes_back_looks_at_what_waited_for_it() -> None:
    members = Members()
    seat = join(members, "a", credits=1)
    looked_at_everything(members)
    members.place(*work("t1"))
    members.place(*work("t2"))
    assert not members.wanted()

    members.give_back(seat, 1)

    assert "w" in members.wanted().oldest
    assert not members.wanted(), "a look under way is not started twice"


def test_a_credit_that_comes_back_to_an_empty_queue_looks_at_nothing() -> None:
    members = Members()
    seat = join(members, "a", credits=1)
    looked_at_everything(members)
    members.place(*work("t1"))

    members.give_back(seat, 1)

    assert not members.wanted()


def test_whoever_joins_looks_at_everything_that_may_have_waited_for_it() -> None:
    members = Members()
    join(members, "a", functions=frozenset({"f"}), credits=4)
    looked_at_everything(members)
    members.place(*work(func="g"))
    assert not members.wanted()

    join(members, "b", functions=frozenset({"g"}), credits=2)

    assert "w" in members.wanted().oldest


def test_a_member_without_credits_looks_at_nothing() -> None:
    members = Members()

    join(members, "a", credits=0)

    assert not members.wanted()


def test_a_member_that_is_not_admitted_yet_looks_at_nothing_before_it_is() -> None:
    members = Members()
    seat = join(members, "a", held=frozenset())
    assert not members.wanted()
    assert members.free_credits("w") == 0

    members.admit(seat)

    assert "w" in members.wanted().oldest
    assert members.free_credits("w") == 1


def test_room_of_a_member_that_does_not_fit_starts_no_look() -> None:
    members = Members()
    busy = join(members, "a", functions=frozenset({"f"}), credits=1)
    join(members, "b", functions=frozenset({"g"}), credits=5)
    looked_at_everything(members)
    members.place(*work("t1", func="f"))
    members.place(*work("t2", func="f"))

    assert not members.wanted()

    members.give_back(busy, 1)

    assert "w" in members.wanted().oldest


def test_a_failed_look_is_repeated() -> None:
    members = Members()
    join(members, "a", credits=3)
    looks = members.wanted()

    members.look_again(looks)

    assert members.wanted() == looks


def test_groups_are_forgotten_with_their_last_member_and_never_learned_without_one() -> None:
    """Anybody may name a group in a target."""
    members = Members()
    seats = [join(members, f"p{n}", groups=(f"g{n}", "all")) for n in range(50)]
    for n in range(1_000):
        assert members.place(*work(target=f"poll://any@nobody{n}")) is NotPlaced.NO_MEMBER
    remembered = len(members._backlog), len(members._by_group)

    for seat in seats:
        members.leave(seat)

    assert remembered == (51, 51)
    assert (len(members._backlog), len(members._by_group)) == (0, 0)
    assert members.groups() == frozenset()


def looked_at_everything(members: Members) -> None:
    """Carry out the looks that joining asks for, in an empty database."""
    while looks := members.wanted():
        members.looked(looks, {})


def test_a_message_reaches_the_named_member_or_for_anycast_another_one() -> None:
    members = Members()
    a = join(members, "a", credits=0)

    assert members.seat_at("poll://uni@w/a") is a
    assert members.seat_at("poll://uni@w/b") is None
    assert members.seat_at("poll://any@w/b") is a
    assert members.seat_at("https://example.org/hook") is None


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"pid": ""}, "hello.pid"),
        ({"instance": ""}, "hello.instance_id"),
        ({"groups": ("a\0b",)}, "hello.groups"),
        ({"groups": tuple(f"g{i}" for i in range(65))}, "hello.groups"),
        ({"credits": -1}, "hello.credits"),
        ({"lease_ttl_ms": 0}, "hello.lease_ttl_ms"),
        ({"functions": frozenset(f"f{i}" for i in range(10_001))}, "hello.functions"),
    ],
)
def test_a_wrong_introduction_is_refused_and_seats_nobody(
    fields: dict[str, object], word: str
) -> None:
    members = Members()

    with pytest.raises(BadMember, match=word):
        join(members, **({"pid": "a"} | fields))  # type: ignore[arg-type]

    assert members.status() == []


def test_a_task_that_a_member_let_lie_is_given_to_another_one() -> None:
    """Although the first has more room: it answers nobody, and would get the task again."""
    members = Members()
    silent = join(members, "silent", credits=50)
    assert members.place(*work()) is silent
    other = join(members, "other", credits=1)

    members.forget(["t"])

    assert members.place(*work()) is other


def test_a_task_that_the_only_member_let_lie_is_given_to_it_again() -> None:
    members = Members()
    only = join(members, "only", credits=2)
    members.place(*work())

    members.forget(["t"])

    assert members.place(*work()) is only


def test_a_task_goes_to_a_member_only_that_may_have_it() -> None:
    members = Members()
    join(members, "a", prefix="a/", credits=9)
    b = join(members, "b", prefix="b/")

    placed = members.place(*work("b/1", target="poll://any@w/a"))
    waits = members.place(*work("b/2"))
    nobodys = members.place(*work("c/1"))

    assert placed is b
    assert waits is NotPlaced.NO_CREDIT
    assert nobodys is NotPlaced.NO_MEMBER


def test_a_message_reaches_a_member_only_that_may_have_it() -> None:
    members = Members()
    a = join(members, "a", prefix="a/")
    b = join(members, "b", prefix="b/")

    assert members.seat_at("poll://any@w", about="a/1") is a
    assert members.seat_at("poll://any@w", about="b/1") is b
    assert members.seat_at("poll://any@w/a", about="b/1") is b
    assert members.seat_at("poll://uni@w/a", about="b/1") is None
    assert members.seat_at("poll://any@w", about="c/1") is None
    assert members.prefixes_at("poll://any@w") == {"a/", "b/"}
    assert members.prefixes_at("poll://any@w/a") == {"a/", "b/"}
    assert members.prefixes_at("poll://uni@w/b") == {"b/"}
    assert members.prefixes_at("poll://any@nobody") == set()
    join(members, "c")
    assert members.prefixes_at("poll://any@w") == {""}
    assert members.prefixes_at("poll://uni@w/b") == {"b/"}


def test_a_pid_is_not_taken_from_a_member_that_may_have_other_ids() -> None:
    members = Members()
    a = join(members, "a", prefix="a/")

    with pytest.raises(BadMember) as caught:
        join(members, "a", prefix="b/", instance="other")
    with pytest.raises(BadMember):
        join(members, "a", prefix="a/b", instance="other")

    assert caught.value.code == "pid_taken"
    assert members.is_seated("a", "i")
    assert not a.inbox.was_replaced  # type: ignore[attr-defined]
    join(members, "a", prefix="", instance="other")
    assert members.is_seated("a", "other")


@pytest.mark.parametrize("owner", ["mallory", ""])
def test_a_pid_is_not_taken_from_a_member_with_a_token_of_another_subject(owner: str) -> None:
    """Which the prefix says nothing of: often all workers have the same."""
    members = Members()
    a = join(members, "a", owner="ada")

    with pytest.raises(BadMember) as caught:
        join(members, "a", owner=owner, instance="other")

    assert caught.value.code == "pid_taken"
    assert members.is_seated("a", "i")
    assert not a.inbox.was_replaced  # type: ignore[attr-defined]
    join(members, "a", owner="ada", instance="restarted")
    join(members, "a", owner="ada's next", instance="restarted")
    assert members.status()[0].pid == "a"


def offered(members: Members, pid: str, **fields: object) -> Seat:
    return join(members, pid, delivery_mode=DeliveryMode.OFFERED, **fields)


def test_members_may_share_a_name_and_the_first_of_them_receives() -> None:
    members = Members()
    first, second = offered(members, "x", name="n"), offered(members, "y", name="n")

    assert members.place(*work("t1", target="poll://uni@w/n")) is first
    assert members.place(*work("t2", target="poll://any@w/n")) is second, "the first is full"
    assert members.seat_at("poll://uni@w/n") is first
    members.leave(first)
    assert members.seat_at("poll://uni@w/n") is second
    assert members.seat_at("poll://uni@w/x") is None, "its pid is no name of it"


def test_a_name_belongs_to_its_group() -> None:
    members = Members()
    one = offered(members, "x", name="n", groups=("one",))
    two = offered(members, "y", name="n", groups=("two",))

    assert members.seat_at("poll://uni@one/n") is one
    assert members.seat_at("poll://uni@two/n") is two


def test_offers_for_anybody_are_drawn_by_chance_and_follow_nobody() -> None:
    """Their credits come back with the message, and say nothing of their load."""
    members = Members()
    seats = [offered(members, pid, credits=10) for pid in "abc"]
    drawn = set()
    for index in range(200):
        seat = members.place(*work("same" if index % 2 else f"t{index}"))
        assert isinstance(seat, Seat)
        drawn.add(seat.id)
        members.give_back(seat, 1)

    assert drawn == {seat.id for seat in seats}


def test_messages_to_http_addresses_are_spread_over_those_who_send_them_on() -> None:
    members = Members()
    seats = [offered(members, pid, groups=(HTTP_GROUP,), credits=1) for pid in "abc"]

    met = {members.seat_at("https://a.test/x", about="p") for _ in range(200)}

    assert met == set(seats)


def test_what_is_for_http_addresses_goes_to_the_members_that_send_it_on() -> None:
    members = Members()
    join(members, "worker", credits=5)
    pushes = offered(members, "gateway", groups=(HTTP_GROUP,), credits=1)

    for scheme in ("http", "https"):
        placed = members.place(*work(f"t-{scheme}", target=f"{scheme}://a.test/x"))
        assert placed is pushes
        members.give_back(pushes, 1)
        assert members.seat_at(f"{scheme}://a.test/x") is pushes
    assert members.addresses_of(pushes) == []
    assert members.seat_at("poll://any@http:/gateway") is None, "no poll address names the group"
