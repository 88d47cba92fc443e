"""Tasks: the lease, the fence, suspending and redirecting (§3)."""

import pytest

from holdfast.core.limits import INTEGER_MAX
from holdfast.core.profile import EmptyHeartbeat, Profile
from holdfast.core.records import DELAY
from holdfast.core.requests import (
    Done,
    PromiseGet,
    Request,
    TaskContinue,
    TaskCreate,
    TaskFence,
    TaskGet,
    TaskHalt,
    TaskHeartbeat,
    TaskRelease,
)
from tests.unit.holdfast.core.build import (
    EXT,
    INTERNAL,
    TGT,
    acquire,
    callback,
    code_of,
    create,
    done,
    fence,
    fulfill,
    heartbeat,
    promise_of,
    seen,
    settle,
    status_of,
    suspend,
    task_create,
    task_of,
)
from tests.unit.holdfast.core.machine import Machine


@pytest.fixture
def machine() -> Machine:
    """Externals `a` and `b`, a settled external `s`, an internal `i`, and task `x` held by p1."""
    machine = Machine()
    for promise_id in ("a", "b", "s"):
        machine.do(create(promise_id, EXT), now_ms=0)
    machine.do(create("i"), now_ms=0)
    machine.do(settle("s"), now_ms=0)
    machine.do(task_create("x", ttl_ms=100), now_ms=0)
    return machine


# Create and acquire


def test_create_grants_the_lease_without_a_message(machine: Machine) -> None:
    outcome = done(machine.do(task_create("y", pid="p7", ttl_ms=50), now_ms=10))

    assert outcome.created
    assert outcome.preload_of == "y"
    assert promise_of(outcome).created_at_ms == 10
    assert seen(task_of(outcome)) == ("acquired", 1, 0, 50, "p7")
    assert machine.task("y").lease_at_ms == 60
    machine.tick(10)
    assert machine.executes() == set()


def test_create_with_a_passed_deadline_is_born_fulfilled(machine: Machine) -> None:
    outcome = done(machine.do(task_create("y", timeout_at_ms=5), now_ms=10))

    assert outcome.created
    assert promise_of(outcome).state == "rejected_timedout"
    assert seen(task_of(outcome)) == ("fulfilled", 0, 0, None, None)
    assert outcome.preload_of is None


def test_create_refuses_an_existing_promise_without_a_target(machine: Machine) -> None:
    for promise_id in ("a", "s", "i"):
        outcome = machine.do(task_create(promise_id), now_ms=1)

        assert (status_of(outcome), code_of(outcome)) == (422, "promise_without_task")


def test_create_takes_an_existing_pending_task_in_spite_of_its_delay(machine: Machine) -> None:
    tags = TGT | {DELAY: "500"}
    machine.do(create("y", tags, timeout_at_ms=1_000, param="stored"), now_ms=0)
    machine.do(callback("a", "y"), now_ms=0)
    machine.do(settle("a"), now_ms=1)
    assert len(machine.task("y").resumes) == 1

    outcome = done(machine.do(task_create("y", pid="p2", timeout_at_ms=7), now_ms=2))

    assert not outcome.created
    assert seen(task_of(outcome)) == ("acquired", 1, 0, 60_000, "p2")
    assert promise_of(outcome).param.data == b"stored", "the existing promise, not the request's"
    assert promise_of(outcome).timeout_at_ms == 1_000


def test_skipping_the_preload_asks_for_none(machine: Machine) -> None:
    machine.do(create("y", TGT), now_ms=0)

    outcomes = [
        machine.do(
            TaskCreate(pid="p", ttl_ms=1, action=create("z", TGT), skip_preload=True), now_ms=1
        ),
        machine.do(TaskFence(id="x", version=1, action=create("x.1"), skip_preload=True), now_ms=1),
    ]

    assert [done(outcome).preload_of for outcome in outcomes] == [None, None]


def test_exactly_one_of_many_acquires_wins(machine: Machine) -> None:
    machine.do(create("y", TGT), now_ms=0)

    statuses = [status_of(machine.do(acquire("y", 0, pid=f"p{n}"), now_ms=1)) for n in range(5)]

    assert statuses == [200, 409, 409, 409, 409]
    assert machine.task("y").pid == "p0"


def test_acquiring_says_whether_the_state_or_the_version_is_wrong(machine: Machine) -> None:
    machine.do(create("y", TGT), now_ms=0)

    requests = [acquire("z", 0), acquire("x", 1), acquire("y", 1)]
    codes = [code_of(machine.do(request, now_ms=1)) for request in requests]

    assert codes == ["task_not_found", "task_not_pending", "version_conflict"]


def test_an_untargeted_promise_has_no_task(machine: Machine) -> None:
    requests: list[Request] = [
        TaskGet(id="a"),
        acquire("a", 0),
        TaskHalt(id="a"),
        TaskContinue(id="a"),
    ]

    assert [status_of(machine.do(r, now_ms=1)) for r in requests] == [404] * 4


# Suspend


@pytest.mark.parametrize("awaited", [("s", "i"), ("i", "s"), ("a", "nowhere"), ("nowhere", "s")])
def test_suspend_checks_every_awaited_promise_before_it_redirects(
    machine: Machine, awaited: tuple[str, str]
) -> None:
    before = machine.state

    assert status_of(machine.do(suspend("x", 1, *awaited), now_ms=1)) == 422
    assert machine.state == before


def test_a_redirect_clears_resumes_keeps_the_lease_and_registers_nothing(machine: Machine) -> None:
    machine.do(callback("a", "x"), now_ms=1)
    machine.do(settle("a"), now_ms=2)
    held = machine.task("x")
    assert held.resumes == {"a"}

    outcome = machine.do(suspend("x", 1, "b", "s"), now_ms=3)

    assert outcome == Done(status=300, preload_of="x")
    task = machine.task("x")
    assert seen(task) == ("acquired", 1, 0, 100, "p1")
    assert task.lease_at_ms == held.lease_at_ms
    assert not machine.state.callbacks


def test_buffered_resumes_alone_do_not_redirect(machine: Machine) -> None:
    machine.do(callback("a", "x"), now_ms=1)
    machine.do(settle("a"), now_ms=2)

    assert machine.do(suspend("x", 1, "b"), now_ms=3) == Done()

    assert seen(machine.task("x")) == ("suspended", 1, 0, None, None)


def test_a_promise_past_its_deadline_redirects_before_any_sweep(machine: Machine) -> None:
    machine.do(create("late", EXT, timeout_at_ms=50), now_ms=1)

    assert status_of(machine.do(suspend("x", 1, "a", "late"), now_ms=50)) == 300


def test_callbacks_left_over_from_a_wait_buffer_and_wake_later(machine: Machine) -> None:
    machine.do(suspend("x", 1, "a", "b"), now_ms=1)
    machine.do(settle("a"), now_ms=2)
    machine.do(acquire("x", 1), now_ms=3)
    machine.do(create("c", EXT), now_ms=3)
    machine.do(suspend("x", 2, "c"), now_ms=4)

    machine.do(settle("b"), now_ms=5)

    assert seen(machine.task("x")) == ("pending", 2, 1, None, None)
    assert machine.task("x").resumes == {"b"}


def test_suspending_again_on_a_left_over_callback_waits_for_it(machine: Machine) -> None:
    machine.do(suspend("x", 1, "a", "b"), now_ms=1)
    machine.do(settle("a"), now_ms=2)
    machine.do(acquire("x", 1), now_ms=3)

    assert machine.do(suspend("x", 2, "b"), now_ms=4) == Done()

    assert machine.task("x").waiting_on == 1
    machine.do(settle("b"), now_ms=5)
    assert machine.task("x").state == "pending"


# Release, lease expiry, halt, continue


def test_resumes_and_version_survive_release_expiry_halt_and_continue(machine: Machine) -> None:
    machine.do(callback("a", "x"), now_ms=1)
    machine.do(settle("a"), now_ms=2)

    machine.do(TaskRelease(id="x", version=1), now_ms=3)
    assert seen(machine.task("x")) == ("pending", 1, 1, None, None)
    machine.do(TaskHalt(id="x"), now_ms=4)
    assert seen(machine.task("x")) == ("halted", 1, 1, None, None)
    machine.do(TaskHalt(id="x"), now_ms=4)
    machine.do(TaskContinue(id="x"), now_ms=5)
    assert seen(machine.task("x")) == ("pending", 1, 1, None, None)
    machine.do(acquire("x", 1, ttl_ms=10), now_ms=6)
    machine.do(callback("b", "x"), now_ms=6)
    machine.do(settle("b"), now_ms=7)
    machine.tick(16)
    assert seen(machine.task("x")) == ("pending", 2, 1, None, None)


def test_halt_then_continue_equals_release_for_an_acquired_task(machine: Machine) -> None:
    """B10, except for pacing, which only a release deserves."""
    twin = machine.copy()
    machine.do(TaskRelease(id="x", version=1), now_ms=5)

    twin.do(TaskHalt(id="x"), now_ms=5)
    assert status_of(twin.do(fulfill("x", 1), now_ms=5)) == 409
    twin.do(TaskContinue(id="x"), now_ms=5)

    assert seen(machine.task("x")) == seen(twin.task("x"))
    assert machine.task("x").dispatch_at_ms == twin.task("x").dispatch_at_ms == 5


def test_a_halt_with_a_version_is_fenced_like_a_release(machine: Machine) -> None:
    stale = machine.do(TaskHalt(id="x", version=0, reason="panic"), now_ms=1)
    holder = machine.do(TaskHalt(id="x", version=1, reason="panic"), now_ms=1)
    again = machine.do(TaskHalt(id="x", version=1, reason="panic"), now_ms=1)

    assert (status_of(stale), code_of(stale)) == (409, "version_conflict")
    assert holder == Done()
    assert machine.task("x").reason == "panic"
    assert (status_of(again), code_of(again)) == (409, "task_not_acquired")


def test_a_halt_by_a_person_names_itself_and_keeps_the_first_reason(machine: Machine) -> None:
    machine.do(TaskHalt(id="x"), now_ms=1)
    machine.do(TaskHalt(id="x", reason="second"), now_ms=1)

    assert machine.task("x").reason == "halted"

    machine.do(TaskContinue(id="x"), now_ms=1)

    assert machine.task("x").reason is None


@pytest.mark.parametrize("way", ["release", "halt", "suspend", "fulfil", "expiry"])
def test_whoever_leaves_acquired_leaves_nothing_of_the_holder(machine: Machine, way: str) -> None:
    machine.do(task_create("y", ttl_ms=50, instance="i1"), now_ms=0)
    assert machine.task("y").instance == "i1"
    requests: dict[str, Request] = {
        "release": TaskRelease(id="y", version=1),
        "halt": TaskHalt(id="y"),
        "suspend": suspend("y", 1, "a"),
        "fulfil": fulfill("y", 1),
    }

    if way in requests:
        done(machine.do(requests[way], now_ms=1))
    else:
        machine.tick(50)

    task = machine.task("y")
    assert task.state != "acquired"
    assert (task.pid, task.ttl_ms, task.lease_at_ms, task.instance) == (None, None, None, None)


def test_a_halted_task_buffers_wakes_and_runs_again_after_continue(machine: Machine) -> None:
    machine.do(suspend("x", 1, "a", "b"), now_ms=1)
    machine.do(TaskHalt(id="x"), now_ms=2)
    machine.do(settle("a"), now_ms=3)
    assert seen(machine.task("x")) == ("halted", 1, 1, None, None)

    machine.do(TaskContinue(id="x"), now_ms=4)
    machine.do(settle("b"), now_ms=5)

    assert seen(machine.task("x")) == ("pending", 1, 2, None, None)


# Heartbeats


def test_a_heartbeat_extends_only_what_its_sender_holds(machine: Machine) -> None:
    machine.do(task_create("y", pid="p2", ttl_ms=100), now_ms=0)
    machine.do(task_create("dead", ttl_ms=100, timeout_at_ms=50), now_ms=0)

    refs = [("x", 1), ("x", 1), ("x", 0), ("y", 1), ("dead", 1), ("a", 1), ("nowhere", 1)]
    outcome = machine.do(heartbeat("p1", *refs), now_ms=50)

    assert outcome == Done()
    leases = {i: machine.task(i).lease_at_ms for i in ("x", "y", "dead")}
    assert leases == {"x": 150, "y": 100, "dead": 100}


def test_a_heartbeat_with_a_wrong_version_extends_nothing(machine: Machine) -> None:
    assert machine.do(heartbeat("p1", ("x", 2)), now_ms=50) == Done()
    assert machine.task("x").lease_at_ms == 100


def test_a_heartbeat_saves_a_lease_that_ran_out_but_was_not_swept(machine: Machine) -> None:
    machine.do(heartbeat("p1", ("x", 1)), now_ms=150)

    machine.tick(150)

    assert machine.task("x").state == "acquired"
    assert machine.task("x").lease_at_ms == 250


def test_a_heartbeat_does_not_resurrect_an_expired_lease(machine: Machine) -> None:
    machine.tick(100)

    machine.do(heartbeat("p1", ("x", 1)), now_ms=100)
    machine.do(heartbeat("p1"), now_ms=100)

    assert machine.task("x").state == "pending"


@pytest.mark.parametrize(
    ("knob", "status", "lease_at_ms"),
    [
        (EmptyHeartbeat.REFRESH_PID, 200, 150),
        (EmptyHeartbeat.OK, 200, 100),
        (EmptyHeartbeat.REJECT, 400, 100),
    ],
)
def test_an_empty_heartbeat_does_what_the_knob_says(
    knob: EmptyHeartbeat, status: int, lease_at_ms: int
) -> None:
    machine = Machine(Profile(empty_heartbeat=knob))
    for task_id in ("x", "y"):
        machine.do(task_create(task_id, ttl_ms=100), now_ms=0)
    machine.do(task_create("other", pid="p2", ttl_ms=100), now_ms=0)
    machine.do(task_create("dead", ttl_ms=100, timeout_at_ms=50), now_ms=0)

    outcome = machine.do(heartbeat("p1"), now_ms=50)

    assert status_of(outcome) == status
    leases = [machine.task(i).lease_at_ms for i in ("x", "y", "other", "dead")]
    assert leases == [lease_at_ms, lease_at_ms, 100, 100]


def test_a_heartbeat_of_all_leases_stays_within_what_its_sender_may_name() -> None:
    machine = Machine(Profile(empty_heartbeat=EmptyHeartbeat.REFRESH_PID))
    for task_id in ("a/x", "b/x"):
        machine.do(task_create(task_id, ttl_ms=100), now_ms=0)

    machine.do(TaskHeartbeat(pid="p1", prefix="a/"), now_ms=50)

    assert [machine.task(i).lease_at_ms for i in ("a/x", "b/x")] == [150, 100]


# Fence


def test_a_fence_creates_and_settles_only_while_the_lease_holds(machine: Machine) -> None:
    machine.tick(100)

    assert status_of(machine.do(fence("x", 1, create("x.1")), now_ms=100)) == 409
    assert status_of(machine.do(fence("x", 1, settle("a")), now_ms=100)) == 409
    assert status_of(machine.do(PromiseGet(id="x.1"), now_ms=100)) == 404
    assert machine.promise("a").state == "pending"


def test_a_fence_by_an_old_version_is_refused_after_another_acquired(machine: Machine) -> None:
    machine.tick(100)
    machine.do(acquire("x", 1, pid="p2"), now_ms=101)

    for request in (
        fence("x", 1, settle("a")),
        fulfill("x", 1),
        suspend("x", 1, "a"),
        TaskRelease(id="x", version=1),
    ):
        outcome = machine.do(request, now_ms=102)

        assert (status_of(outcome), code_of(outcome)) == (409, "version_conflict")
    assert machine.task("x").pid == "p2"


def test_a_fence_may_find_its_promise_created_or_settled(machine: Machine) -> None:
    found = done(machine.do(fence("x", 1, create("a", TGT)), now_ms=1))
    absorbed = done(machine.do(fence("x", 1, settle("s", "rejected")), now_ms=1))

    assert promise_of(found.action).tags == EXT
    assert promise_of(absorbed.action).state == "resolved"


def test_a_fence_may_make_a_task_and_wake_another(machine: Machine) -> None:
    machine.do(task_create("y"), now_ms=1)
    machine.do(suspend("y", 1, "a"), now_ms=1)

    machine.do(fence("x", 1, create("x.rpc", TGT)), now_ms=2)
    machine.do(fence("x", 1, settle("a")), now_ms=3)

    assert machine.task("x.rpc").state == "pending"
    assert machine.task("y").state == "pending"


def test_a_fence_that_settles_what_its_own_task_awaits_buffers(machine: Machine) -> None:
    machine.do(callback("a", "x"), now_ms=1)

    machine.do(fence("x", 1, settle("a")), now_ms=2)

    assert seen(machine.task("x")) == ("acquired", 1, 1, 100, "p1")


# Numbers that reach the end of the protocol's integers


def test_sums_saturate_at_the_largest_integer() -> None:
    machine = Machine()
    now_ms = INTEGER_MAX - 10
    machine.do(create("x", TGT, timeout_at_ms=INTEGER_MAX), now_ms=now_ms)
    machine.tick(now_ms)
    assert machine.task("x").dispatch_at_ms == INTEGER_MAX

    machine.do(acquire("x", 0, ttl_ms=2**50), now_ms=now_ms)
    assert machine.task("x").lease_at_ms == INTEGER_MAX
    machine.do(heartbeat("p1", ("x", 1)), now_ms=now_ms + 1)
    assert machine.task("x").lease_at_ms == INTEGER_MAX
    machine.do(TaskRelease(id="x", version=1, not_before_ms=INTEGER_MAX), now_ms=now_ms + 2)
    assert machine.task("x").due_at_ms == INTEGER_MAX

    machine.tick(INTEGER_MAX)

    assert machine.promise("x").state == "rejected_timedout"


def test_the_longest_deadline_and_lease_are_ordinary_numbers() -> None:
    machine = Machine()

    machine.do(task_create("x", ttl_ms=INTEGER_MAX, timeout_at_ms=INTEGER_MAX), now_ms=1_000)

    assert machine.task("x").lease_at_ms == INTEGER_MAX
    machine.tick(2**52)
    assert machine.task("x").state == "acquired"


def test_an_internal_promise_is_projected_though_nothing_ever_sweeps_it(machine: Machine) -> None:
    machine.do(create("x.1", INTERNAL, timeout_at_ms=50), now_ms=1)
    machine.tick(60)
    assert machine.promise("x.1").state == "pending"

    projected = done(machine.do(fence("x", 1, settle("x.1", "resolved", "1")), now_ms=60))

    assert promise_of(projected.action).state == "rejected_timedout"
    assert promise_of(projected.action).settled_at_ms == 50
