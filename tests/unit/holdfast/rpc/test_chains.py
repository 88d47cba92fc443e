"""The book of chains that wait for an answer."""

import asyncio

import pytest

from holdfast.core.requests import SKIPPED
from holdfast.errors import ServerOverloaded, ServerUnavailable
from holdfast.port import Answer
from holdfast.rpc import chains as module
from holdfast.rpc.chains import Chains, Pending


def add(chains: Chains, data: bytes = b"x", *, deadline: float = 10.0) -> Pending:
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    pending = Pending(chains.next_id(), [], data, deadline, future)
    chains.add(pending)
    return pending


async def test_chains_leave_in_their_order_and_fill_a_message() -> None:
    chains = Chains()
    for data in (b"aa", b"bb", b"cccc"):
        add(chains, data)

    assert chains.take(5) == [b"aa", b"bb"]
    assert chains.take(1) == [b"cccc"]  # one that is too large for company goes alone
    assert chains.take(5) == []


async def test_an_answer_finishes_its_chain_once() -> None:
    chains = Chains()
    pending = add(chains)
    chains.take(100)

    found = chains.find(pending.correlation_id)
    assert found is pending
    chains.answer(pending, [SKIPPED])

    assert pending.future.result() == Answer(outcomes=[SKIPPED], resent=False)
    assert chains.find(pending.correlation_id) is None
    assert len(chains) == 0


async def test_after_a_break_everything_goes_out_again_in_its_first_order() -> None:
    chains = Chains()
    sent, unsent = add(chains, b"1"), add(chains, b"2")
    assert chains.take(1) == [b"1"]

    chains.requeue_all()

    assert chains.take(100) == [b"1", b"2"]
    assert (sent.resent, unsent.resent) == (True, False)


async def test_what_is_late_is_given_up_and_never_sent() -> None:
    chains = Chains()
    late, early = add(chains, b"1", deadline=1.0), add(chains, b"2", deadline=2.0)

    chains.fail_late(1.0, ServerUnavailable("away"))

    with pytest.raises(ServerUnavailable, match="away"):
        late.future.result()
    assert not early.future.done()
    assert chains.take(100) == [b"2"]


async def test_a_late_answer_finds_nothing() -> None:
    chains = Chains()
    late = add(chains, deadline=1.0)
    chains.take(100)
    chains.fail_late(1.0, ServerUnavailable("away"))

    assert chains.find(late.correlation_id) is None
    assert chains.on_wire == 0
    assert late.future.exception() is not None


async def test_everybody_who_waits_gets_an_error_of_their_own() -> None:
    chains = Chains()
    first, second = add(chains), add(chains)

    chains.fail_all(ServerUnavailable("no", code="closed", retriable=False))

    errors = [first.future.exception(), second.future.exception()]
    assert errors[0] is not errors[1]
    assert [getattr(error, "code", None) for error in errors] == ["closed", "closed"]
    assert [getattr(error, "retriable", None) for error in errors] == [False, False]


async def test_the_window_bounds_what_is_on_the_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOW", 2)
    chains = Chains()
    first, _, _ = add(chains, b"1"), add(chains, b"2"), add(chains, b"3")

    assert chains.take(100) == [b"1", b"2"]
    assert (chains.may_send, chains.has_queued) == (False, True)

    chains.find(first.correlation_id)
    assert chains.take(100) == [b"3"]


async def test_memory_for_waiting_chains_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BYTES_MAX", 3)
    chains = Chains()
    add(chains, b"123")

    with pytest.raises(ServerOverloaded, match="no more can be kept"):
        add(chains, b"4")


async def test_a_resting_chain_that_a_break_queued_is_not_queued_twice() -> None:
    chains = Chains()
    pending = add(chains, b"1")
    chains.take(100)
    chains.find(pending.correlation_id)
    pending.resting = True

    chains.requeue_all()
    chains.add_again(pending)

    assert chains.take(100) == [b"1"]


async def test_a_resting_chain_is_queued_again() -> None:
    chains = Chains()
    pending = add(chains, b"1")
    chains.take(100)
    chains.find(pending.correlation_id)
    pending.resting = True

    chains.add_again(pending)

    assert chains.take(100) == [b"1"]


async def test_a_resting_chain_that_was_given_up_stays_away() -> None:
    chains = Chains()
    pending = add(chains, deadline=1.0)
    chains.take(100)
    chains.find(pending.correlation_id)
    pending.resting = True
    chains.fail_late(1.0, ServerUnavailable("away"))

    chains.add_again(pending)

    assert not chains.has_queued
    assert pending.future.exception() is not None
