"""Promises: birth, projection, settlement, obligations and their discharge (§2, §4.1)."""

import pytest

from holdfast.core.profile import AwaitInternal, OriginCheck, Profile, ScopeExternal
from holdfast.core.records import (
    DELAY,
    EMPTY,
    PromiseState,
    Value,
    is_external,
)
from holdfast.core.requests import (
    Done,
    PromiseCreate,
    PromiseGet,
    PromiseSettle,
    Request,
    TaskGet,
    TaskHalt,
)
from tests.unit.holdfast.core.build import (
    EXT,
    GLOBAL,
    INTERNAL,
    LOCAL,
    TGT,
    TMR,
    acquire,
    callback,
    code_of,
    create,
    done,
    fulfill,
    listener,
    promise_of,
    seen,
    settle,
    status_of,
    suspend,
    task_create,
    task_of,
)
from tests.unit.holdfast.core.machine import Machine, wire


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_getting_an_unknown_promise_is_not_found(machine: Machine) -> None:
    outcome = machine.do(PromiseGet(id="a"), now_ms=0)

    assert (status_of(outcome), code_of(outcome)) == (404, "promise_not_found")


def test_settling_an_unknown_promise_is_not_found(machine: Machine) -> None:
    assert status_of(machine.do(settle("a"), now_ms=0)) == 404


def test_only_the_first_create_says_created(machine: Machine) -> None:
    first = done(machine.do(create("a"), now_ms=0))
    second = done(machine.do(create("a", TGT), now_ms=1))

    assert first.created
    assert not second.created
    assert first.promise == second.promise
    assert status_of(machine.do(TaskGet(id="a"), now_ms=1)) == 404, "no task came with the second"


@pytest.mark.parametrize("timeout_at_ms", [0, 99, 100])
@pytest.mark.parametrize(
    ("tags", "state"),
    [(INTERNAL, "rejected_timedout"), (EXT, "rejected_timedout"), (TMR, "resolved")],
)
def test_a_promise_is_born_settled_when_its_deadline_has_come(
    machine: Machine, tags: dict[str, str], state: str, timeout_at_ms: int
) -> None:
    request = create("a", tags, timeout_at_ms=timeout_at_ms, param="kept")
    outcome = done(machine.do(request, now_ms=100))

    promise = promise_of(outcome)
    assert promise.state == state
    assert (promise.param, promise.tags) == (request.param, tags)
    assert promise.created_at_ms == promise.settled_at_ms == timeout_at_ms
    assert promise.value == EMPTY
    assert not promise.armed
    assert outcome.created


def test_a_promise_is_born_pending_a_millisecond_before_its_deadline(machine: Machine) -> None:
    promise = promise_of(machine.do(create("a", timeout_at_ms=101), now_ms=100))

    assert promise.state == "pending"
    assert promise.created_at_ms == 100


def test_a_targeted_promise_born_settled_sends_no_message(machine: Machine) -> None:
    tags = TGT | {DELAY: "5"}
    machine.do(create("x", tags, timeout_at_ms=50), now_ms=100)

    machine.tick(200)

    assert seen(machine.task("x")) == ("fulfilled", 0, 0, None, None)
    assert machine.executes() == set()


@pytest.mark.parametrize("tags", [INTERNAL, EXT, TGT, LOCAL])
def test_a_passed_deadline_reads_as_timed_out_whether_or_not_it_was_swept(
    machine: Machine, tags: dict[str, str]
) -> None:
    machine.do(create("a", tags, timeout_at_ms=100), now_ms=0)
    assert promise_of(machine.do(PromiseGet(id="a"), now_ms=99)).state == "pending"

    projected = promise_of(machine.do(PromiseGet(id="a"), now_ms=100))
    machine.tick(150)
    swept = promise_of(machine.do(PromiseGet(id="a"), now_ms=150))

    assert projected.state == "rejected_timedout"
    assert projected.settled_at_ms == 100
    assert projected.value == EMPTY
    assert wire(projected) == wire(swept)


def test_a_timer_resolves_at_its_deadline_and_can_be_settled_before(machine: Machine) -> None:
    machine.do(create("t", TMR, timeout_at_ms=100), now_ms=0)
    machine.do(create("u", TMR, timeout_at_ms=100), now_ms=0)

    early = promise_of(machine.do(settle("u", "rejected_canceled", "why"), now_ms=99))
    rung = promise_of(machine.do(settle("t", "rejected", "late"), now_ms=100))

    assert (early.state, early.settled_at_ms) == ("rejected_canceled", 99)
    assert (rung.state, rung.settled_at_ms, rung.value) == ("resolved", 100, EMPTY)


def test_settling_at_the_deadline_loses_to_the_timeout(machine: Machine) -> None:
    machine.do(create("a", EXT, timeout_at_ms=100), now_ms=0)

    late = promise_of(machine.do(settle("a", "resolved", "1"), now_ms=100))

    assert (late.state, late.value, late.settled_at_ms) == ("rejected_timedout", EMPTY, 100)


def test_settling_a_millisecond_before_the_deadline_wins(machine: Machine) -> None:
    machine.do(create("a", EXT, timeout_at_ms=100), now_ms=0)

    promise = promise_of(machine.do(settle("a", "resolved", "1"), now_ms=99))

    assert (promise.state, promise.settled_at_ms) == ("resolved", 99)


@pytest.mark.parametrize(
    ("headers", "func"),
    [(None, None), ({}, None), ({"other": "x"}, None), ({"holdfast-func": "f@2"}, "f@2")],
)
def test_the_function_is_read_from_the_params_header(
    machine: Machine, headers: dict[str, str] | None, func: str | None
) -> None:
    request = PromiseCreate(id="a", timeout_at_ms=100, param=Value(headers=headers))

    promise = promise_of(machine.do(request, now_ms=0))

    assert promise.func == func


@pytest.mark.parametrize("state", ["resolved", "rejected", "rejected_canceled"])
def test_a_settlement_stays_and_absorbs_others(machine: Machine, state: str) -> None:
    machine.do(create("a", EXT, timeout_at_ms=100), now_ms=0)
    first = promise_of(machine.do(settle("a", state, "1"), now_ms=10))

    for now_ms in (10, 50, 100, 200):
        again = promise_of(machine.do(settle("a", "rejected", "2"), now_ms=now_ms))
        machine.tick(now_ms)

        assert wire(again) == wire(first)
        assert wire(promise_of(machine.do(PromiseGet(id="a"), now_ms=now_ms))) == wire(first)


def test_absent_and_empty_payloads_are_kept_apart(machine: Machine) -> None:
    values = [
        Value(),
        Value(data=b""),
        Value(headers={}),
        Value(data=b"", headers={}),
        Value(data=b"\x00\xff", headers={"": "\0"}),
    ]
    for number, payload in enumerate(values):
        promise_id = f"a{number}"
        create_ = PromiseCreate(id=promise_id, timeout_at_ms=100, param=payload)
        settle_ = PromiseSettle(id=promise_id, state=PromiseState.RESOLVED, value=payload)
        machine.do(create_, now_ms=number)
        machine.do(settle_, now_ms=number)

    read = [promise_of(machine.do(PromiseGet(id=f"a{n}"), now_ms=9)) for n in range(len(values))]

    assert [promise.param for promise in read] == values
    assert [promise.value for promise in read] == values


@pytest.mark.parametrize("stored", ["pending", "acquired", "suspended", "halted"])
def test_settling_a_targeted_promise_from_outside_kills_its_task(
    machine: Machine, stored: str
) -> None:
    machine.do(create("a", EXT), now_ms=0)
    machine.do(create("x", TGT), now_ms=0)
    machine.tick(0)
    if stored != "pending":
        machine.do(acquire("x", 0), now_ms=0)
    if stored == "suspended":
        machine.do(suspend("x", 1, "a"), now_ms=0)
    if stored == "halted":
        machine.do(TaskHalt(id="x"), now_ms=0)
    version = machine.task("x").version

    machine.do(settle("x", "rejected"), now_ms=5)

    assert seen(machine.task("x")) == ("fulfilled", version, 0, None, None)
    assert machine.executes() == set()
    assert status_of(machine.do(fulfill("x", version), now_ms=6)) == 409


# Obligations: guards in their order


CALLBACK_GUARDS: list[tuple[Request, int, str]] = [
    (callback("nowhere", "nobody"), 404, "promise_not_found"),
    (callback("internal", "nobody"), 422, "awaiter_without_task"),
    (callback("internal", "ext"), 422, "awaiter_without_task"),
    (callback("ext", "nobody"), 422, "awaiter_without_task"),
    (callback("internal", "x"), 422, "promise_not_external"),
    (callback("internal-settled", "x"), 422, "promise_not_external"),
    (listener("nowhere"), 404, "promise_not_found"),
    (listener("internal"), 422, "promise_not_external"),
    (listener("internal-settled"), 422, "promise_not_external"),
]


@pytest.mark.parametrize(("request_", "status", "code"), CALLBACK_GUARDS)
def test_obligations_are_guarded_in_order(
    machine: Machine, request_: Request, status: int, code: str
) -> None:
    for promise_id, tags in (("ext", EXT), ("internal", INTERNAL), ("x", TGT)):
        machine.do(create(promise_id, tags), now_ms=0)
    machine.do(create("internal-settled"), now_ms=0)
    machine.do(settle("internal-settled"), now_ms=0)

    outcome = machine.do(request_, now_ms=1)

    assert (status_of(outcome), code_of(outcome)) == (status, code)


@pytest.mark.parametrize("state", ["pending", "acquired", "suspended", "halted"])
def test_a_callback_is_registered_whatever_the_awaiters_task_does(
    machine: Machine, state: str
) -> None:
    machine.do(create("a", EXT), now_ms=0)
    machine.do(create("b", EXT), now_ms=0)
    machine.do(create("x", TGT), now_ms=0)
    if state != "pending":
        machine.do(acquire("x", 0), now_ms=0)
    if state == "suspended":
        machine.do(suspend("x", 1, "b"), now_ms=0)
    if state == "halted":
        machine.do(TaskHalt(id="x"), now_ms=0)

    outcome = promise_of(machine.do(callback("a", "x"), now_ms=1))

    assert outcome.state == "pending"
    assert ("a", "x") in machine.state.callbacks
    assert machine.task("x").state == state


def test_registering_twice_registers_once(machine: Machine) -> None:
    machine.do(create("a", EXT), now_ms=0)
    machine.do(create("x", TGT), now_ms=0)

    for _ in range(2):
        machine.do(callback("a", "x"), now_ms=1)
        machine.do(listener("a", "poll://uni@g/1"), now_ms=1)
        machine.do(listener("a", "poll://uni@g/2"), now_ms=1)
    machine.do(settle("a"), now_ms=2)

    assert seen(machine.task("x")) == ("pending", 0, 1, None, None)
    addresses = [address for address, _ in machine.take_unblocks(now_ms=2)]
    assert sorted(addresses) == ["poll://uni@g/1", "poll://uni@g/2"]


def test_nothing_is_registered_for_a_dead_awaiter_or_on_a_dead_promise(machine: Machine) -> None:
    machine.do(create("a", EXT, timeout_at_ms=200), now_ms=0)
    machine.do(create("x", TGT, timeout_at_ms=100), now_ms=0)
    machine.do(create("y", TGT), now_ms=0)

    live = promise_of(machine.do(callback("a", "x"), now_ms=100))
    dead = promise_of(machine.do(callback("a", "y"), now_ms=200))
    told = promise_of(machine.do(listener("a"), now_ms=200))

    assert live.state == "pending"
    assert dead.state == told.state == "rejected_timedout"
    assert not machine.state.callbacks
    assert not machine.state.listeners


# Discharge


@pytest.mark.parametrize("way", ["settle", "deadline", "fulfil", "late settle"])
def test_every_settlement_tells_listeners_once_and_carries_the_record(
    machine: Machine, way: str
) -> None:
    machine.do(task_create("x", timeout_at_ms=100), now_ms=0)
    machine.do(listener("x"), now_ms=1)
    now_ms = 100 if way in {"deadline", "late settle"} else 50

    match way:
        case "settle":
            machine.do(settle("x", "resolved", "1"), now_ms=now_ms)
        case "fulfil":
            machine.do(fulfill("x", 1, "resolved", "1"), now_ms=now_ms)
        case "late settle":
            machine.do(settle("x", "resolved", "1"), now_ms=now_ms)
    machine.tick(now_ms)

    told = machine.take_unblocks(now_ms=now_ms)
    assert told == [("poll://uni@g/p9", machine.promise("x"))]
    assert machine.promise("x").state != "pending"
    machine.tick(now_ms + 1)
    assert machine.take_unblocks(now_ms=now_ms + 1) == []


def test_discharge_wakes_the_suspended_and_buffers_for_the_others(machine: Machine) -> None:
    machine.do(create("a", EXT), now_ms=0)
    for task_id in ("pending", "acquired", "suspended", "halted", "fulfilled"):
        machine.do(create(task_id, TGT), now_ms=0)
        machine.do(callback("a", task_id), now_ms=0)
    for task_id in ("acquired", "suspended", "fulfilled"):
        machine.do(acquire(task_id, 0), now_ms=0)
    machine.do(suspend("suspended", 1, "a"), now_ms=0)
    machine.do(fulfill("fulfilled", 1), now_ms=0)
    machine.do(TaskHalt(id="halted"), now_ms=0)

    machine.do(settle("a"), now_ms=7)

    assert seen(machine.task("pending")) == ("pending", 0, 1, None, None)
    assert seen(machine.task("acquired")) == ("acquired", 1, 1, 60_000, "p1")
    assert seen(machine.task("suspended")) == ("pending", 1, 1, None, None)
    assert seen(machine.task("halted")) == ("halted", 0, 1, None, None)
    assert seen(machine.task("fulfilled")) == ("fulfilled", 1, 0, None, None)
    assert machine.task("suspended").dispatch_at_ms == 7
    assert not machine.state.callbacks


def test_a_dead_awaiter_is_never_made_pending_again(machine: Machine) -> None:
    """Its deadline has passed, though no sweep has said so: no dead dispatch."""
    machine.do(create("a", EXT), now_ms=0)
    machine.do(task_create("x", timeout_at_ms=100), now_ms=0)
    machine.do(suspend("x", 1, "a"), now_ms=1)

    machine.do(settle("a"), now_ms=100)

    assert machine.task("x").state == "suspended"
    assert seen(task_of(machine.do(TaskGet(id="x"), now_ms=100))) == ("fulfilled", 1, 0, None, None)
    machine.tick(100)
    assert machine.task("x").state == "fulfilled"
    assert machine.executes() == set()


@pytest.mark.parametrize("order", [["a", "x"], ["x", "a"]])
def test_promises_that_time_out_together_settle_before_any_is_discharged(
    machine: Machine, order: list[str]
) -> None:
    for promise_id in order:
        tags = TGT if promise_id == "x" else EXT
        machine.do(create(promise_id, tags, timeout_at_ms=100), now_ms=0)
    machine.do(acquire("x", 0), now_ms=0)
    machine.do(suspend("x", 1, "a"), now_ms=1)
    machine.do(listener("x"), now_ms=1)

    machine.tick(150)

    assert machine.task("x").state == "fulfilled"
    assert machine.executes() == set()
    assert len(machine.take_unblocks(now_ms=150)) == 1


def test_two_awaited_promises_that_time_out_together_give_two_resumes(machine: Machine) -> None:
    for promise_id in ("a", "b"):
        machine.do(create(promise_id, EXT, timeout_at_ms=100), now_ms=0)
    machine.do(task_create("x"), now_ms=0)
    machine.do(suspend("x", 1, "a", "b"), now_ms=1)

    machine.tick(100)

    assert seen(machine.task("x")) == ("pending", 1, 2, None, None)
    assert machine.executes() == {("x", 1, TGT["resonate:target"])}


def test_a_fulfilled_run_wakes_the_run_that_awaits_it(machine: Machine) -> None:
    machine.do(task_create("x"), now_ms=0)
    machine.do(task_create("y"), now_ms=0)
    machine.do(suspend("x", 1, "y"), now_ms=1)

    machine.do(fulfill("y", 1), now_ms=2)

    assert seen(machine.task("x")) == ("pending", 1, 1, None, None)


# Which promises may carry obligations, and which deadlines fire by themselves


@pytest.mark.parametrize(
    ("tags", "scope", "external"),
    [
        (INTERNAL, ScopeExternal.ANY, False),
        (EXT, ScopeExternal.OFF, True),
        (TGT, ScopeExternal.OFF, True),
        (TMR, ScopeExternal.OFF, True),
        ({"resonate:external": "TRUE"}, ScopeExternal.ANY, False),
        ({"resonate:timer": "false"}, ScopeExternal.ANY, False),
        (LOCAL, ScopeExternal.ANY, True),
        (LOCAL, ScopeExternal.GLOBAL, False),
        (LOCAL, ScopeExternal.OFF, False),
        (GLOBAL, ScopeExternal.ANY, True),
        (GLOBAL, ScopeExternal.GLOBAL, True),
        (GLOBAL, ScopeExternal.OFF, False),
    ],
)
def test_tags_and_the_scope_knob_decide_who_is_external(
    tags: dict[str, str], scope: ScopeExternal, *, external: bool
) -> None:
    profile = Profile(scope_external=scope)
    machine = Machine(profile)
    machine.do(create("a", tags), now_ms=0)
    machine.do(task_create("x"), now_ms=0)

    statuses = [
        status_of(machine.do(listener("a"), now_ms=1)),
        status_of(machine.do(callback("a", "x"), now_ms=1)),
        status_of(machine.do(suspend("x", 1, "a"), now_ms=1)),
    ]

    assert is_external(tags, profile) == external
    assert statuses == ([200] * 3 if external else [422] * 3)


def test_internal_promises_may_be_awaited_when_the_knob_allows_it() -> None:
    machine = Machine(Profile(await_internal=AwaitInternal.ALLOW))
    machine.do(create("i", timeout_at_ms=100), now_ms=0)
    machine.do(task_create("x"), now_ms=0)
    assert not machine.promise("i").armed

    outcomes = [
        machine.do(listener("i"), now_ms=1),
        machine.do(suspend("x", 1, "i"), now_ms=1),
    ]

    assert [status_of(outcome) for outcome in outcomes] == [200, 200]
    assert machine.promise("i").armed, "nothing waits on a deadline that cannot fire"
    machine.tick(100)
    assert machine.task("x").state == "pending"


@pytest.mark.parametrize(
    ("tags", "armed"),
    [(INTERNAL, False), (LOCAL, False), (GLOBAL, True), (EXT, True), (TGT, True), (TMR, True)],
)
def test_deadlines_of_promises_that_others_may_await_are_armed_at_birth(
    machine: Machine, tags: dict[str, str], *, armed: bool
) -> None:
    machine.do(create("a", tags, timeout_at_ms=100), now_ms=0)

    machine.tick(100)

    assert (machine.promise("a").state != "pending") == armed


@pytest.mark.parametrize("way", ["callback", "listener", "suspend"])
def test_an_obligation_arms_the_deadline(machine: Machine, way: str) -> None:
    machine.do(create("a", LOCAL, timeout_at_ms=100), now_ms=0)
    machine.do(task_create("x"), now_ms=0)
    requests: dict[str, Request] = {
        "callback": callback("a", "x"),
        "listener": listener("a"),
        "suspend": suspend("x", 1, "a"),
    }

    assert machine.do(requests[way], now_ms=1).status == 200

    assert machine.promise("a").armed
    machine.tick(100)
    assert machine.promise("a").state == "rejected_timedout"
    assert not machine.promise("a").armed


@pytest.mark.parametrize("check", list(OriginCheck))
def test_awaits_across_trees_are_refused_only_when_the_knob_says_so(check: OriginCheck) -> None:
    machine = Machine(Profile(origin_check=check))
    for promise_id in ("ex:a", "other:a"):
        machine.do(create(promise_id, EXT), now_ms=0)
    machine.do(task_create("ex:t1"), now_ms=0)

    within = machine.do(callback("ex:a", "ex:t1"), now_ms=1)
    across = machine.do(callback("other:a", "ex:t1"), now_ms=1)
    mixed = machine.do(suspend("ex:t1", 1, "ex:a", "other:a"), now_ms=1)

    refused = 400 if check is OriginCheck.COMPOSITE else 200
    assert [status_of(o) for o in (within, across, mixed)] == [200, refused, refused]


def test_a_create_never_carries_obligations_over(machine: Machine) -> None:
    """Listening before creation is a 404, so nothing can wait for a promise that is not there."""
    assert status_of(machine.do(listener("a"), now_ms=0)) == 404
    assert machine.do(create("a", EXT), now_ms=1) == Done(
        promise=machine.promise("a"), created=True
    )
    assert not machine.state.listeners
