"""Background steps: dispatch and its outbox, lost leases, deadlines (§3.8, §4.3)."""

import pytest

from holdfast.core import steps
from holdfast.core.profile import Profile
from holdfast.core.records import DELAY, TaskState
from holdfast.core.requests import Request, TaskContinue, TaskHalt, TaskRelease
from tests.unit.holdfast.core.build import (
    EXT,
    TGT,
    acquire,
    create,
    fulfill,
    seen,
    settle,
    suspend,
    task_create,
)
from tests.unit.holdfast.core.machine import Machine

RETRY_MS = 1_000
PACING_MS = 100
W1 = "poll://any@w1"


@pytest.fixture
def machine() -> Machine:
    return Machine(Profile(retry_interval_ms=RETRY_MS, pacing_ms=PACING_MS))


def test_a_new_task_is_dispatched_at_once_and_waits_in_the_outbox(machine: Machine) -> None:
    machine.do(create("x", TGT), now_ms=10)

    machine.tick(10)

    assert machine.executes() == {("x", 0, W1)}
    assert machine.task("x").queued_at_ms == 10
    assert machine.task("x").dispatch_at_ms == 10 + RETRY_MS
    assert machine.task("x").due_at_ms is None, "nothing is due while a message waits"


@pytest.mark.parametrize(("delay", "due_at_ms"), [("5", 10), ("10", 10), ("500", 500)])
def test_a_delay_holds_the_first_dispatch_back(
    machine: Machine, delay: str, due_at_ms: int
) -> None:
    machine.do(create("x", TGT | {DELAY: delay}), now_ms=10)

    machine.tick(due_at_ms - 1) if due_at_ms > 10 else None
    assert machine.executes() == set()
    machine.tick(due_at_ms)

    assert machine.executes() == {("x", 0, W1)}


def test_a_held_message_stays_one_message_however_long_nobody_comes(machine: Machine) -> None:
    machine.do(create("x", TGT), now_ms=0)
    for now_ms in (0, RETRY_MS, 10 * RETRY_MS):
        machine.tick(now_ms)

    assert machine.executes() == {("x", 0, W1)}
    assert machine.task("x").queued_at_ms == 0


def test_an_offer_that_nobody_acquires_is_repeated_after_the_retry_interval(
    machine: Machine,
) -> None:
    machine.do(create("x", TGT), now_ms=0)
    machine.tick(0)
    machine.claim("x", now_ms=0)

    machine.tick(RETRY_MS - 1)
    assert machine.executes() == set()
    machine.tick(RETRY_MS)

    assert machine.executes() == {("x", 0, W1)}


@pytest.mark.parametrize("now_ms", [RETRY_MS, 5 * RETRY_MS])
def test_a_retry_that_became_due_while_the_message_waited_moves_forward(
    machine: Machine, now_ms: int
) -> None:
    machine.do(create("x", TGT), now_ms=0)
    machine.tick(0)

    claimed = machine.claim("x", now_ms=now_ms)

    assert claimed is not None
    assert claimed.due_at_ms == now_ms + RETRY_MS


def test_an_offer_just_before_the_retry_is_not_repeated_within_the_pace(machine: Machine) -> None:
    """The retry timer was set at dispatch; the message may leave much later."""
    machine.do(create("x", TGT), now_ms=0)
    machine.tick(0)
    machine.claim("x", now_ms=RETRY_MS - 1)

    machine.tick(RETRY_MS - 1 + PACING_MS - 1)
    assert machine.executes() == set()
    machine.tick(RETRY_MS - 1 + PACING_MS)

    assert machine.executes() == {("x", 0, W1)}


@pytest.mark.parametrize("state", ["unknown", "unqueued", "acquired"])
def test_there_is_nothing_to_claim_without_a_message(machine: Machine, state: str) -> None:
    if state != "unknown":
        machine.do(create("x", TGT), now_ms=0)
    if state == "acquired":
        machine.tick(0)
        machine.do(acquire("x", 0), now_ms=0)

    assert machine.claim("x", now_ms=1) is None


@pytest.mark.parametrize("way", ["acquire", "halt", "settle"])
def test_a_message_vanishes_with_its_turn(machine: Machine, way: str) -> None:
    machine.do(create("x", TGT), now_ms=0)
    machine.tick(0)
    requests: dict[str, Request] = {
        "acquire": acquire("x", 0),
        "halt": TaskHalt(id="x"),
        "settle": settle("x"),
    }

    machine.do(requests[way], now_ms=1)

    assert machine.executes() == set()


def test_a_buffered_wake_up_leaves_the_waiting_message_alone(machine: Machine) -> None:
    machine.do(create("a", EXT), now_ms=0)
    machine.do(create("b", EXT), now_ms=0)
    machine.do(task_create("x"), now_ms=0)
    machine.do(suspend("x", 1, "a", "b"), now_ms=0)
    machine.do(settle("a"), now_ms=1)
    machine.tick(1)

    machine.do(settle("b"), now_ms=2)

    assert machine.executes() == {("x", 1, W1)}
    assert machine.task("x").queued_at_ms == 1
    assert seen(machine.task("x")) == ("pending", 1, 2, None, None)


def test_a_lease_ends_at_its_instant_and_the_task_is_offered_at_once(machine: Machine) -> None:
    machine.do(task_create("x", ttl_ms=50), now_ms=0)

    machine.tick(49)
    assert machine.task("x").state == "acquired"
    machine.tick(50)

    assert machine.executes() == {("x", 1, W1)}


def test_the_deadline_owns_a_task_whose_lease_ends_at_the_same_instant(machine: Machine) -> None:
    machine.do(task_create("x", ttl_ms=100, timeout_at_ms=100), now_ms=0)

    machine.tick(100)

    assert machine.task("x").state == "fulfilled"
    assert machine.executes() == set()


def test_neither_timer_touches_a_task_whose_promise_is_dead(machine: Machine) -> None:
    """The steps may run before the deadline's own: their order must not matter."""
    machine.do(create("pending", TGT, timeout_at_ms=100), now_ms=0)
    machine.do(task_create("held", ttl_ms=50, timeout_at_ms=100), now_ms=0)
    before = machine.state

    ids = ["pending", "held"]
    profile = machine.profile
    dispatched = machine.internal(
        lambda ws: steps.dispatch(ws, ids, now_ms=100, profile=profile), now_ms=100
    )
    expired = machine.internal(lambda ws: steps.expire_leases(ws, ids, now_ms=100), now_ms=100)

    assert (dispatched, expired) == (0, 0)
    assert machine.state == before


def test_early_doubled_and_mistaken_firings_are_harmless(machine: Machine) -> None:
    machine.do(create("a", EXT, timeout_at_ms=100), now_ms=0)
    machine.do(create("pending", TGT | {DELAY: "80"}), now_ms=0)
    machine.do(task_create("held", ttl_ms=60), now_ms=0)
    machine.do(task_create("ended"), now_ms=0)
    machine.do(fulfill("ended", 1), now_ms=0)
    machine.do(task_create("halted"), now_ms=0)
    machine.do(TaskHalt(id="halted"), now_ms=0)
    before = machine.state
    ids = ["a", "pending", "held", "ended", "halted", "nowhere"] * 2

    profile = machine.profile
    for now_ms in (1, 59):
        counts = (
            machine.internal(
                lambda ws, now_ms=now_ms: steps.expire_promises(ws, ids, now_ms=now_ms),  # type: ignore[misc]
                now_ms=now_ms,
            ),
            machine.internal(
                lambda ws, now_ms=now_ms: steps.dispatch(ws, ids, now_ms=now_ms, profile=profile),  # type: ignore[misc]
                now_ms=now_ms,
            ),
            machine.internal(
                lambda ws, now_ms=now_ms: steps.expire_leases(ws, ids, now_ms=now_ms),  # type: ignore[misc]
                now_ms=now_ms,
            ),
        )
        assert counts == (0, 0, 0)

    assert machine.state == before


def test_each_due_row_is_counted_once(machine: Machine) -> None:
    machine.do(create("a", EXT, timeout_at_ms=100), now_ms=0)

    count = machine.internal(
        lambda ws: steps.expire_promises(ws, ["a", "a"], now_ms=100), now_ms=100
    )

    assert count == 1


def test_a_release_loop_is_dispatched_ten_times_a_second_at_most(machine: Machine) -> None:
    machine.do(create("x", TGT), now_ms=0)
    dispatched = 0
    for now_ms in range(0, 1_000, 5):
        machine.tick(now_ms)
        if machine.executes():
            dispatched += 1
            machine.do(acquire("x", machine.task("x").version), now_ms=now_ms)
            machine.do(TaskRelease(id="x", version=machine.task("x").version), now_ms=now_ms)

    assert dispatched == 10


def test_what_is_due_says_when_a_sweep_must_look(machine: Machine) -> None:
    machine.do(create("a", EXT), now_ms=0)
    machine.do(task_create("x", ttl_ms=70), now_ms=0)
    due = [machine.task("x").due_at_ms]

    machine.do(TaskRelease(id="x", version=1), now_ms=10)
    due.append(machine.task("x").due_at_ms)
    machine.do(acquire("x", 1), now_ms=10)
    machine.do(suspend("x", 2, "a"), now_ms=10)
    due.append(machine.task("x").due_at_ms)
    machine.do(TaskHalt(id="x"), now_ms=10)
    due.append(machine.task("x").due_at_ms)
    machine.do(TaskContinue(id="x"), now_ms=20)
    due.append(machine.task("x").due_at_ms)
    machine.do(settle("x"), now_ms=20)
    due.append(machine.task("x").due_at_ms)

    assert due == [70, 110, None, None, 20, None]
    assert machine.task("x").state is TaskState.FULFILLED
