"""Places and lines: who receives, and what becomes of credits."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from holdfast.core.membership import Member, TaskOffer
from holdfast.core.records import Promise, PromiseState, Value
from holdfast_gateway.bridge import polling
from holdfast_gateway.bridge.polling import PlaceName, Polls

HERE = PlaceName(group="g", id="p")
SETTLED = Promise(
    id="a", state=PromiseState.RESOLVED, timeout_at_ms=5, created_at_ms=1, settled_at_ms=2
)


class Store:
    """One member's connection, as far as a place sees it."""

    def __init__(self) -> None:
        self.member: Member | None = None
        self.receiver: Any = None
        self.returned = 0
        self.is_closed = False

    async def start(self, member: Member, receiver: Any) -> None:
        self.member, self.receiver = member, receiver

    def give_back(self, credits: int) -> None:
        self.returned += credits

    async def close(self) -> None:
        self.is_closed = True

    def offer(self, task_id: str) -> None:
        self.receiver.on_offer(TaskOffer(id=task_id, version=0))


@pytest.fixture
def stores() -> list[Store]:
    return []


@pytest.fixture
def polls(stores: list[Store]) -> Polls:
    def open_store() -> Store:
        stores.append(Store())
        return stores[-1]

    return Polls(open_store, server_url=lambda: "http://here", most=3, buffer=2)


async def test_a_place_is_one_member_from_its_first_client_to_its_last(
    polls: Polls, stores: list[Store]
) -> None:
    first, second = await polls.join(HERE), await polls.join(HERE)
    polls.leave(HERE, first)
    is_kept = not stores[0].is_closed
    polls.leave(HERE, second)
    await asyncio.sleep(0)

    assert len(stores) == 1
    assert is_kept
    assert stores[0].is_closed
    member = stores[0].member
    assert member is not None
    assert (member.name, member.groups, member.credits) == ("p", ("g",), 2)
    assert member.pid != "p"


async def test_what_the_first_has_not_taken_goes_to_the_next_in_line(
    polls: Polls, stores: list[Store]
) -> None:
    first, second = await polls.join(HERE), await polls.join(HERE)
    stores[0].offer("t")
    polls.leave(HERE, first)

    [(kind, message)] = second.take()
    assert (kind, b'"id":"t"' in message) == ("execute", True)
    assert stores[0].returned == 0, "it has not left yet"
    second.sent([kind])
    assert stores[0].returned == 1


async def test_credits_come_back_whatever_becomes_of_an_offer(
    polls: Polls, stores: list[Store]
) -> None:
    line = await polls.join(HERE)
    store = stores[0]
    for task_id in ("sent", "lost", "too many"):
        store.offer(task_id)
    after_full = store.returned
    store.receiver.on_settled(SETTLED)  # costs none, and finds no room either
    taken = line.take()
    line.sent([taken[0][0]])
    line.dropped([taken[1][0]])
    store.offer("left behind")
    polls.leave(HERE, line)

    assert after_full == 1
    assert len(taken) == 2
    assert store.returned == 4


async def test_prefixes_make_places_of_their_own(polls: Polls, stores: list[Store]) -> None:
    await polls.join(HERE)
    await polls.join(PlaceName(group="g", id="p", prefix="a."))

    assert [store.member.prefix for store in stores if store.member] == ["", "a."]


async def test_there_is_room_for_so_many_and_none_at_the_end(polls: Polls) -> None:
    lines = [await polls.join(HERE) for _ in range(3)]
    is_full = not polls.has_room
    polls.leave(HERE, lines[0])
    has_room_again = polls.has_room
    await polls.close()

    assert (is_full, has_room_again, polls.has_room) == (True, True, False)
    assert all(line.is_over for line in lines[1:])
    for line in lines[1:]:
        polls.leave(HERE, line)  # streams end after the place has been closed


async def test_clients_that_read_nothing_keep_so_many_bytes_and_leave_some_to_others(
    stores: list[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A promise may have a megabyte, and costs no credit."""
    large = replace(SETTLED, value=Value(data=b"x" * 1_000))
    monkeypatch.setattr(polling, "WAITING_BYTES_MAX", 10_000)

    def open_store() -> Store:
        stores.append(Store())
        return stores[-1]

    polls = Polls(open_store, server_url=str, most=3, buffer=100)
    deaf, other = [await polls.join(PlaceName(group="g", id=each)) for each in "ab"]

    for _ in range(100):
        stores[0].receiver.on_settled(large)
    stores[1].receiver.on_settled(large)

    assert len(other.take()) == 1
    kept = deaf.take()
    assert 0 < sum(len(message) for _, message in kept) <= 10_000 / 2 + 2_000
    stores[0].receiver.on_settled(large)
    assert deaf.take() == [], "it has read nothing yet"
    deaf.sent([kind for kind, _ in kept])
    stores[0].receiver.on_settled(large)
    assert len(deaf.take()) == 1
