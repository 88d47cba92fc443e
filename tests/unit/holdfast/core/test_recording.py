"""Promises that are made and settled in one write, because they were over before (§13)."""

import pytest

from holdfast.core.profile import Profile
from holdfast.core.records import DELAY, Promise, PromiseState
from holdfast.core.requests import SKIPPED, PromiseGet, PromiseRecord, TaskFence
from holdfast.core.validation import validate
from tests.unit.holdfast.core.build import (
    EXT,
    code_of,
    create,
    done,
    fence,
    fulfill,
    promise_of,
    record,
    settle,
    status_of,
    suspend,
    task_create,
    value,
)
from tests.unit.holdfast.core.machine import Machine, wire


@pytest.fixture
def machine() -> Machine:
    """An external `a`, and task `x` whose lease ends at 100."""
    machine = Machine()
    machine.do(create("a", EXT), now_ms=0)
    machine.do(task_create("x", ttl_ms=100), now_ms=0)
    return machine


def test_a_record_makes_and_settles_at_one_instant(machine: Machine) -> None:
    outcome = done(machine.do(fence("x", 1, record("x.1", "rejected", "over")), now_ms=7))

    made = done(outcome.action)
    assert made.created
    assert promise_of(made) == Promise(
        id="x.1",
        state=PromiseState.REJECTED,
        value=value("over"),
        timeout_at_ms=create("x.1").timeout_at_ms,
        created_at_ms=7,
        settled_at_ms=7,
    )
    assert wire(promise_of(made)) == wire(machine.promise("x.1"))


def test_a_record_of_what_exists_only_settles_it(machine: Machine) -> None:
    machine.do(create("x.1", EXT, param="first"), now_ms=1)
    machine.do(task_create("y"), now_ms=1)
    machine.do(suspend("y", 1, "x.1"), now_ms=1)

    found = done(done(machine.do(fence("x", 1, record("x.1", data="over")), now_ms=2)).action)

    promise = promise_of(found)
    assert not found.created
    assert (promise.param.data, promise.value.data, promise.created_at_ms) == (b"first", b"over", 1)
    assert machine.task("y").state == "pending"


@pytest.mark.parametrize("state", ["resolved", "rejected"])
def test_a_record_of_what_is_settled_otherwise_changes_nothing_and_ends_the_chain(
    machine: Machine, state: str
) -> None:
    machine.do(settle("a", state, "first"), now_ms=1)
    relied_on = TaskFence(id="x", version=1, action=record("a", data="second"), required=True)

    outcomes = machine.chain(relied_on, fulfill("x", 1), now_ms=2)

    assert promise_of(done(outcomes[0]).action).value.data == b"first"
    assert outcomes[1] == SKIPPED
    assert machine.task("x").state == "acquired"


def test_a_record_that_arrives_again_finds_itself_and_the_chain_goes_on(machine: Machine) -> None:
    relied_on = TaskFence(id="x", version=1, action=record("x.1", data="over"), required=True)
    first = done(machine.do(relied_on, now_ms=1))

    again, end = machine.chain(relied_on, fulfill("x", 1), now_ms=2)

    assert promise_of(done(again).action) == promise_of(first.action)
    assert not done(done(again).action).created
    assert promise_of(end).state == "resolved"


def test_a_record_behind_its_deadline_finds_the_timeout(machine: Machine) -> None:
    outcome = done(machine.do(fence("x", 1, record("x.1", timeout_at_ms=5)), now_ms=5))

    assert promise_of(outcome.action).state == "rejected_timedout"
    assert promise_of(outcome.action).value.data is None


def test_a_record_of_what_has_timed_out_meanwhile_finds_the_timeout(machine: Machine) -> None:
    """Nobody waits for it, so that nothing has written its deadline down."""
    machine.do(create("x.1", timeout_at_ms=5), now_ms=1)

    outcome = done(machine.do(fence("x", 1, record("x.1", data="over")), now_ms=5))

    found = promise_of(outcome.action)
    assert (found.state, found.value.data, found.settled_at_ms) == ("rejected_timedout", None, 5)


@pytest.mark.parametrize(
    ("flawed", "code"),
    [
        (record("x.1", "rejected_timedout"), "invalid_state"),
        (record("x.1", tags={DELAY: "5"}), "invalid_delay"),
    ],
)
def test_a_flawed_record_makes_nothing(machine: Machine, flawed: PromiseRecord, code: str) -> None:
    outcome = done(machine.do(fence("x", 1, flawed), now_ms=1))

    assert code_of(outcome.action) == code
    assert status_of(machine.do(PromiseGet(id="x.1"), now_ms=1)) == 404


def test_the_door_refuses_a_record_that_is_out_of_shape() -> None:
    small = Profile(value_bytes_max=4)

    flaws = [
        validate(fence("x", 1, action), small)
        for action in (
            record("x.1", data="12345"),
            record("x.1", data="1234"),
            record(""),
            record("x"),
        )
    ]

    assert [flaw and flaw.code for flaw in flaws] == [
        "value_too_large",
        None,
        "invalid_text",
        "fences_itself",
    ]


def test_a_record_needs_the_lease(machine: Machine) -> None:
    machine.tick(100)

    assert status_of(machine.do(fence("x", 1, record("x.1")), now_ms=100)) == 409
    assert status_of(machine.do(PromiseGet(id="x.1"), now_ms=100)) == 404
