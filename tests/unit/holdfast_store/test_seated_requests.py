"""What a process asks for itself over its stream says who it is, and by which connection."""

import pytest
from msgspec.structs import replace

from holdfast.core.membership import Member, TaskOffer, TaskPush
from holdfast.core.records import TARGET, Promise
from holdfast.core.requests import (
    PromiseCreate,
    PromiseGet,
    TaskAcquire,
    TaskCreate,
    TaskHeartbeat,
)
from holdfast_store.batches import at_seat
from holdfast_store.members import Members, Seat

_CREATE = PromiseCreate(id="t", timeout_at_ms=1, tags={TARGET: "poll://any@g"})


class Nowhere:
    """An inbox that nothing is sent to."""

    def push_task(self, push: TaskPush) -> None:
        raise AssertionError(push)

    def push_offer(self, offer: TaskOffer) -> None:
        raise AssertionError(offer)

    def push_settled(self, promise: Promise) -> None:
        raise AssertionError(promise)

    def replaced(self) -> None:
        raise AssertionError


@pytest.fixture
def seat() -> Seat:
    return Members().join(Member(pid="p", instance="first"), Nowhere(), now_ms=0)


@pytest.mark.parametrize(
    "request_",
    [
        TaskCreate(pid="p", ttl_ms=1, action=_CREATE),
        TaskAcquire(id="t", version=1, pid="p", ttl_ms=1),
        TaskHeartbeat(pid="p"),
    ],
    ids=repr,
)
def test_a_lease_that_a_process_asks_for_itself_stands_for_its_connection(
    request_: TaskCreate | TaskAcquire | TaskHeartbeat, seat: Seat
) -> None:
    assert at_seat(request_, seat) == replace(request_, instance="first", seat=seat.id)


@pytest.mark.parametrize("request_", [TaskHeartbeat(pid="another"), PromiseGet(id="t")], ids=repr)
def test_what_is_about_no_lease_of_the_process_stays_as_it_is(
    request_: TaskHeartbeat | PromiseGet, seat: Seat
) -> None:
    assert at_seat(request_, seat) is request_
