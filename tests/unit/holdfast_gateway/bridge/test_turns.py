"""Turns of messages to HTTP addresses: fair among hosts, bounded, in order."""

import pytest

from holdfast_gateway.bridge.sharing import Shares
from holdfast_gateway.bridge.turns import (
    OVERHEAD_BYTES,
    PATIENCE_SECONDS,
    Message,
    Turns,
    host_of,
)


def message(host: str, task_id: str = "t", body: bytes = b"") -> Message:
    return Message(
        host=host, address=f"http://{host}/", kind="execute", id=task_id, body=body, has_credit=True
    )


def turns(most: int, *, room: int = 100) -> Turns:
    return Turns(most=most, waiting_bytes_max=room * OVERHEAD_BYTES)


def begun(of: Turns, host: str, count: int) -> int:
    return sum(of.begin(host, now=0) for _ in range(count))


def test_a_host_alone_has_half_and_another_one_finds_its_share() -> None:
    fair = turns(256)

    assert begun(fair, "hangs", 1_000) == 128
    assert begun(fair, "healthy", 1_000) == 64
    assert begun(fair, "third", 1_000) == 32


def test_many_hosts_that_hang_leave_something_for_one_that_comes_new() -> None:
    fair = turns(256)

    for index in range(7):
        begun(fair, f"hangs-{index}", 1_000)

    assert begun(fair, "new", 1_000) == 1


def test_one_at_a_time_is_possible() -> None:
    single = turns(1)

    assert begun(single, "a", 2) == 1
    assert single.wait(waits := message("b")) is waits
    assert single.end("a", now=0) == [waits]


def test_what_waits_for_a_host_begins_in_its_order() -> None:
    fair = turns(2)
    begun(fair, "a", 1)
    first, second = message("a", "first"), message("a", "second")
    for each in (first, second):
        assert fair.wait(each) is each

    assert not fair.begin("a", now=0)
    assert fair.end("a", now=0) == [first]
    assert fair.end("a", now=0) == [second]
    assert fair.end("a", now=0) == []
    assert fair.waiting == 0


def test_hosts_that_wait_take_turns() -> None:
    fair = turns(1)
    begun(fair, "a", 1)
    for host in ("a", "b"):
        for task_id in ("1", "2"):
            fair.wait(message(host, task_id))

    order, host = [], "a"
    for _ in range(4):
        [following] = fair.end(host, now=0)
        host = following.host
        order.append((host, following.id))

    assert order == [("a", "1"), ("b", "1"), ("a", "2"), ("b", "2")]


def test_a_newer_message_of_a_task_takes_the_place_of_the_older() -> None:
    fair = turns(1)
    begun(fair, "a", 1)
    older = message("a", "t", b"older")
    fair.wait(older)
    fair.wait(message("a", "u"))

    kept = fair.wait(message("a", "t", b"newer"))

    assert kept is older
    assert fair.waiting == 2
    assert [each.body for each in fair.end("a", now=0)] == [b"newer"]


def test_what_waits_is_bounded_for_each_host() -> None:
    fair = turns(1, room=8)
    begun(fair, "a", 1)

    kept = [fair.wait(message("a", str(index))) is not None for index in range(6)]

    assert kept == [True] * 4 + [False] * 2
    assert fair.wait(message("b")) is not None
    fair.end("a", now=0)
    assert fair.wait(message("a", "again")) is not None


def test_a_host_is_held_up_when_it_has_ended_nothing_for_a_while() -> None:
    fair = turns(2)
    fair.begin("a", now=0)
    waits = message("a")
    fair.wait(waits)

    assert fair.held_up(now=PATIENCE_SECONDS / 2) == []
    assert fair.held_up(now=PATIENCE_SECONDS) == [waits]
    fair.end("a", now=PATIENCE_SECONDS)  # what waited begins
    assert not fair.is_held_up("a", now=PATIENCE_SECONDS)


def test_a_share_is_what_is_left_to_the_others() -> None:
    shares = Shares(10)

    assert [shares.take("a", 5), shares.take("a", 1), shares.take("b", 2)] == [True, False, True]
    shares.give("a", 5)
    assert (shares.has("a"), shares.has("b")) == (False, True)


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("http://Example.com/a?b", "example.com:80"),
        ("https://user:secret@example.com:8443/", "example.com:8443"),
        ("https://example.com", "example.com:443"),
        ("http://[::1]:81/", "::1:81"),
        ("https://x:y/", "https://x:y/"),
        ("http://[::1", "http://[::1"),
    ],
)
def test_a_host_is_a_name_and_a_port(address: str, host: str) -> None:
    assert host_of(address) == host
