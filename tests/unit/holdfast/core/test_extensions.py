"""What our own contract adds: wait modes, release with reasons, automatic halt, chains (§13)."""

import pytest

from holdfast.core.profile import Profile
from holdfast.core.records import ReleaseReason, WaitMode
from holdfast.core.requests import (
    SKIPPED,
    Done,
    Refusal,
    Request,
    TaskContinue,
    TaskGet,
    TaskHalt,
    TaskRelease,
)
from tests.unit.holdfast.core.build import (
    EXT,
    TGT,
    TMR,
    acquire,
    callback,
    create,
    done,
    fence,
    fulfill,
    listener,
    seen,
    settle,
    status_of,
    suspend,
    task_create,
)
from tests.unit.holdfast.core.machine import Machine

ALL_SETTLED = WaitMode.ALL_SETTLED
ALL_RESOLVED = WaitMode.ALL_RESOLVED


@pytest.fixture
def machine() -> Machine:
    """Externals `a`, `b`, `c` and task `x` held by p1."""
    machine = Machine()
    for promise_id in ("a", "b", "c"):
        machine.do(create(promise_id, EXT), now_ms=0)
    machine.do(task_create("x"), now_ms=0)
    return machine


# Wait modes


@pytest.mark.parametrize(
    ("mode", "settled", "status"),
    [
        (WaitMode.ANY, {}, 200),
        (WaitMode.ANY, {"a": "rejected"}, 300),
        (ALL_SETTLED, {"a": "resolved", "b": "rejected"}, 200),
        (ALL_SETTLED, {"a": "resolved", "b": "rejected", "c": "rejected_canceled"}, 300),
        (ALL_RESOLVED, {"a": "resolved", "b": "resolved"}, 200),
        (ALL_RESOLVED, {"a": "resolved", "b": "resolved", "c": "resolved"}, 300),
        (ALL_RESOLVED, {"b": "rejected"}, 300),
        (ALL_RESOLVED, {"b": "rejected_canceled", "a": "resolved"}, 300),
    ],
)
def test_a_suspend_redirects_when_its_condition_holds_already(
    machine: Machine, mode: WaitMode, settled: dict[str, str], status: int
) -> None:
    for promise_id, state in settled.items():
        machine.do(settle(promise_id, state), now_ms=1)

    outcome = machine.do(suspend("x", 1, "a", "b", "c", mode=mode), now_ms=2)

    assert status_of(outcome) == status
    waits = set(machine.state.callbacks)
    open_ones = {(i, "x") for i in ("a", "b", "c") if i not in settled}
    assert waits == (open_ones if status == 200 else set())


def test_all_settled_wakes_with_the_last_one_whatever_its_state(machine: Machine) -> None:
    machine.do(suspend("x", 1, "a", "b", "c", mode=ALL_SETTLED), now_ms=1)

    states = []
    for promise_id, state in (("b", "rejected"), ("a", "resolved"), ("c", "rejected_canceled")):
        machine.do(settle(promise_id, state), now_ms=2)
        states.append((machine.task("x").state.value, machine.task("x").waiting_on))

    assert states == [("suspended", 2), ("suspended", 1), ("pending", 0)]
    assert machine.task("x").resumes == {"c"}


def test_all_resolved_wakes_with_the_last_one_or_at_the_first_other_state(
    machine: Machine,
) -> None:
    twin = machine.copy()
    for each in (machine, twin):
        each.do(suspend("x", 1, "a", "b", "c", mode=ALL_RESOLVED), now_ms=1)
        each.do(settle("a"), now_ms=2)
        assert each.task("x").state == "suspended"

    machine.do(settle("b"), now_ms=3)
    assert machine.task("x").state == "suspended"
    machine.do(settle("c"), now_ms=4)
    twin.do(settle("b", "rejected"), now_ms=3)

    assert machine.task("x").resumes == {"c"}
    assert twin.task("x").resumes == {"b"}
    assert machine.task("x").state == twin.task("x").state == "pending"


def test_after_an_early_wake_the_remaining_callbacks_buffer(machine: Machine) -> None:
    machine.do(suspend("x", 1, "a", "b", mode=ALL_RESOLVED), now_ms=1)
    machine.do(settle("a", "rejected"), now_ms=2)

    machine.do(settle("b"), now_ms=3)

    assert seen(machine.task("x")) == ("pending", 1, 2, None, None)


def test_a_timeout_hurts_all_resolved_but_a_timer_does_not(machine: Machine) -> None:
    machine.do(create("t", TMR, timeout_at_ms=100), now_ms=0)
    machine.do(create("e", EXT, timeout_at_ms=200), now_ms=0)
    machine.do(suspend("x", 1, "t", "e", "a", mode=ALL_RESOLVED), now_ms=1)

    machine.tick(100)
    assert machine.task("x").state == "suspended"
    machine.tick(200)

    assert machine.task("x").state == "pending"
    assert machine.task("x").resumes == {"e"}


def test_callbacks_of_another_wait_never_end_an_all_wait(machine: Machine) -> None:
    machine.do(suspend("x", 1, "a", "b"), now_ms=1)
    machine.do(settle("a"), now_ms=2)
    machine.do(acquire("x", 1), now_ms=3)
    machine.do(create("d", EXT), now_ms=3)
    machine.do(callback("d", "x"), now_ms=3)
    machine.do(suspend("x", 2, "c", mode=ALL_RESOLVED), now_ms=4)

    machine.do(settle("b", "rejected"), now_ms=5)
    machine.do(settle("d", "rejected"), now_ms=5)
    assert seen(machine.task("x")) == ("suspended", 2, 0, None, None)
    machine.do(settle("c"), now_ms=6)

    assert machine.task("x").resumes == {"c"}


def test_an_all_wait_counts_a_left_over_callback_that_it_names_again(machine: Machine) -> None:
    machine.do(callback("a", "x"), now_ms=0)
    machine.do(suspend("x", 1, "a", "b", mode=ALL_SETTLED), now_ms=1)

    machine.do(settle("a"), now_ms=2)
    assert machine.task("x").state == "suspended"
    machine.do(settle("b"), now_ms=3)

    assert machine.task("x").state == "pending"


def test_all_awaited_deadlines_passing_in_one_sweep_wake_once(machine: Machine) -> None:
    for promise_id in ("d", "e"):
        machine.do(create(promise_id, EXT, timeout_at_ms=100), now_ms=0)
    machine.do(suspend("x", 1, "d", "e", mode=ALL_SETTLED), now_ms=1)

    machine.tick(100)

    assert machine.task("x").state == "pending"
    assert len(machine.task("x").resumes) == 1


def test_a_dead_awaiter_in_an_all_wait_stays_dead(machine: Machine) -> None:
    machine.do(task_create("y", timeout_at_ms=50), now_ms=0)
    machine.do(suspend("y", 1, "a", "b", mode=ALL_SETTLED), now_ms=1)

    for promise_id in ("a", "b"):
        machine.do(settle(promise_id), now_ms=50)

    assert machine.task("y").state == "suspended"
    machine.tick(50)
    assert machine.task("y").state == "fulfilled"


def test_halting_an_all_wait_ends_the_wait(machine: Machine) -> None:
    machine.do(suspend("x", 1, "a", "b", mode=ALL_SETTLED), now_ms=1)
    machine.do(TaskHalt(id="x"), now_ms=2)
    machine.do(settle("a"), now_ms=3)
    machine.do(TaskContinue(id="x"), now_ms=4)

    machine.do(settle("b"), now_ms=5)

    assert seen(machine.task("x")) == ("pending", 1, 2, None, None)
    assert machine.task("x").wait_mode is WaitMode.ANY


# Release


def test_a_release_keeps_the_task_from_dispatch_until_the_named_instant(machine: Machine) -> None:
    machine.do(TaskRelease(id="x", version=1, not_before_ms=5_000), now_ms=10)

    machine.tick(4_999)
    assert machine.executes() == set()
    machine.tick(5_000)
    assert len(machine.executes()) == 1


@pytest.mark.parametrize(("not_before_ms", "due_at_ms"), [(0, 110), (9, 110), (10**9, 60_010)])
def test_a_release_is_paced_and_pushes_dispatch_by_a_minute_at_most(
    machine: Machine, not_before_ms: int, due_at_ms: int
) -> None:
    machine.do(TaskRelease(id="x", version=1, not_before_ms=not_before_ms), now_ms=10)

    assert machine.task("x").due_at_ms == due_at_ms
    machine.tick(due_at_ms - 1)
    assert machine.executes() == set()
    machine.tick(due_at_ms)
    assert len(machine.executes()) == 1


def test_a_paced_task_may_be_acquired_at_once(machine: Machine) -> None:
    machine.do(TaskRelease(id="x", version=1, not_before_ms=5_000), now_ms=10)

    assert machine.do(acquire("x", 1), now_ms=11).status == 200


def test_the_pace_of_an_earlier_release_does_not_outlive_its_lease(machine: Machine) -> None:
    machine.do(TaskRelease(id="x", version=1), now_ms=10)
    machine.do(acquire("x", 1, ttl_ms=20), now_ms=11)

    machine.tick(31)

    assert {task_id for task_id, _, _ in machine.executes()} == {"x"}


def test_births_wake_ups_continue_and_lost_leases_are_not_paced(machine: Machine) -> None:
    machine.do(create("born", TGT), now_ms=0)
    machine.do(suspend("x", 1, "a"), now_ms=0)
    machine.do(task_create("lost", ttl_ms=20), now_ms=0)
    machine.do(task_create("halted"), now_ms=0)
    machine.do(TaskRelease(id="halted", version=1), now_ms=20)
    machine.do(TaskHalt(id="halted"), now_ms=20)

    machine.do(settle("a"), now_ms=20)
    machine.do(TaskContinue(id="halted"), now_ms=20)
    machine.tick(20)

    assert {task_id for task_id, _, _ in machine.executes()} == {"born", "x", "lost", "halted"}


def test_a_lost_process_gives_back_the_leases_of_that_start_only(machine: Machine) -> None:
    for task_id, pid, instance in (
        ("mine", "p", "1"),
        ("restarted", "p", "2"),
        ("other", "q", "1"),
        ("plain", "p", None),
    ):
        machine.do(task_create(task_id, pid=pid, instance=instance), now_ms=0)
    machine.do(task_create("dead", pid="p", instance="1", timeout_at_ms=50), now_ms=0)

    count = machine.release_instance(pid="p", instance="1", now_ms=50)

    assert count == 1
    assert seen(machine.task("mine")) == ("pending", 1, 0, None, None)
    assert machine.task("mine").reason == "crashed"
    assert machine.task("mine").due_at_ms == 50, "pacing does not apply"
    others = [machine.task(i).state.value for i in ("restarted", "other", "plain", "dead")]
    assert others == ["acquired"] * 4


def give_back(machine: Machine, reason: ReleaseReason | None, *, now_ms: int = 10) -> None:
    """Acquire and release `x` once."""
    task = machine.task("x")
    if task.state == "pending":
        done(machine.do(acquire("x", task.version), now_ms=now_ms))
    version = machine.task("x").version
    done(machine.do(TaskRelease(id="x", version=version, reason=reason), now_ms=now_ms))


def test_the_tenth_release_as_unknown_function_halts(machine: Machine) -> None:
    for number in range(1, 10):
        give_back(machine, ReleaseReason.UNKNOWN_FUNCTION)
        assert machine.task("x").state == "pending"
        assert machine.task("x").unknown_releases == number

    give_back(machine, ReleaseReason.UNKNOWN_FUNCTION)

    task = machine.task("x")
    assert (task.state, task.reason) == ("halted", "unknown_function")
    assert (task.unknown_releases, task.deliveries) == (10, 10)


@pytest.mark.parametrize("reason", [None, *ReleaseReason])
def test_other_releases_never_halt(machine: Machine, reason: ReleaseReason | None) -> None:
    machine.profile = Profile(unknown_function_releases_max=3)
    for _ in range(2):
        give_back(machine, ReleaseReason.UNKNOWN_FUNCTION)

    give_back(machine, reason)

    expected = "halted" if reason is ReleaseReason.UNKNOWN_FUNCTION else "pending"
    assert machine.task("x").state == expected


def test_lowering_the_knob_does_not_halt_at_a_release_for_another_reason(machine: Machine) -> None:
    for _ in range(5):
        give_back(machine, ReleaseReason.UNKNOWN_FUNCTION)
    machine.profile = Profile(unknown_function_releases_max=3)

    give_back(machine, None)

    assert machine.task("x").state == "pending"


def test_the_automatic_halt_can_be_switched_off(machine: Machine) -> None:
    machine.profile = Profile(unknown_function_releases_max=0)
    for _ in range(30):
        give_back(machine, ReleaseReason.UNKNOWN_FUNCTION)

    assert machine.task("x").state == "pending"


def test_a_suspend_and_a_continue_start_the_counts_again(machine: Machine) -> None:
    for _ in range(3):
        give_back(machine, ReleaseReason.UNKNOWN_FUNCTION)
    twin = machine.copy()

    machine.do(acquire("x", 3), now_ms=20)
    machine.do(suspend("x", 4, "a"), now_ms=20)
    twin.do(TaskHalt(id="x"), now_ms=20)
    twin.do(TaskContinue(id="x"), now_ms=20)

    for each in (machine, twin):
        task = each.task("x")
        assert (task.unknown_releases, task.deliveries, task.reason) == (0, 0, None)


def test_the_reason_of_a_release_stays_until_another_is_given(machine: Machine) -> None:
    give_back(machine, ReleaseReason.OVERLOADED)
    give_back(machine, None)
    assert machine.task("x").reason == "overloaded"

    give_back(machine, ReleaseReason.SHUTDOWN)
    assert machine.task("x").reason == "shutdown"


# Chains


def test_a_chain_runs_in_order_as_one(machine: Machine) -> None:
    outcomes = machine.chain(
        fence("x", 1, create("x.1")),
        fence("x", 1, settle("x.1", "resolved", "1")),
        fence("x", 1, create("x.2", EXT)),
        suspend("x", 1, "x.2"),
        settle("x.2"),
        TaskGet(id="x"),
        now_ms=5,
    )

    assert [status_of(outcome) for outcome in outcomes] == [200] * 6
    assert seen(machine.task("x")) == ("pending", 1, 1, None, None)


def test_a_redirect_does_not_stop_a_chain(machine: Machine) -> None:
    outcomes = machine.chain(settle("a"), suspend("x", 1, "a"), fulfill("x", 1), now_ms=5)

    assert [status_of(outcome) for outcome in outcomes] == [200, 300, 200]
    assert machine.promise("x").state == "resolved"


BAD_LINKS: list[tuple[Request, int]] = [
    (settle("nowhere"), 404),
    (fence("x", 7, create("x.9")), 409),
    (listener("internal"), 422),
]


@pytest.mark.parametrize(("link", "status"), BAD_LINKS)
def test_a_refused_link_skips_the_rest_and_leaves_the_start(
    machine: Machine, link: Request, status: int
) -> None:
    machine.do(create("internal"), now_ms=0)

    outcomes = machine.chain(settle("a"), link, settle("b"), settle("c"), now_ms=5)

    assert [type(outcome) for outcome in outcomes[:2]] == [Done, Refusal]
    assert status_of(outcomes[1]) == status
    assert outcomes[2:] == [SKIPPED, SKIPPED]
    assert machine.promise("a").state == "resolved"
    assert machine.promise("b").state == "pending"


def test_a_refusal_inside_a_fence_stops_the_chain_too(machine: Machine) -> None:
    """What follows a fence was sent in the belief that its inner write happens."""
    outcomes = machine.chain(fence("x", 1, settle("x.9")), fulfill("x", 1), now_ms=5)

    assert status_of(outcomes[0]) == 200
    assert outcomes[1] == SKIPPED
    assert machine.task("x").state == "acquired"


def test_a_chain_saves_each_row_once_however_often_it_changed(machine: Machine) -> None:
    """The machine compares what was saved with what was done; here every table changes twice."""
    machine.do(callback("a", "x"), now_ms=1)
    machine.do(settle("a"), now_ms=2)
    assert machine.task("x").resumes == {"a"}

    machine.chain(
        create("x.1", EXT),
        listener("x.1", "poll://uni@g/1"),
        listener("x.1", "poll://uni@g/2"),
        callback("b", "x"),
        suspend("x", 1, "b", "x.1"),
        settle("b"),
        acquire("x", 1, pid="p2"),
        callback("c", "x"),
        settle("c"),
        TaskRelease(id="x", version=2),
        settle("x.1", "rejected"),
        now_ms=5,
    )

    assert seen(machine.task("x")) == ("pending", 2, 2, None, None)
    assert machine.task("x").resumes == {"c", "x.1"}
    assert len(machine.take_unblocks(now_ms=5)) == 2
