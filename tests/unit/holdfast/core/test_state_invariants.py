"""Every state invariant can be broken, and is then found: a check that never fails is none."""

from msgspec.structs import replace

from holdfast.core.checks import states
from holdfast.core.invariants import State, check_state
from holdfast.core.limits import INTEGER_MAX
from holdfast.core.profile import AwaitInternal, Profile
from holdfast.core.records import (
    DELAY,
    Callback,
    Promise,
    PromiseState,
    Task,
    Value,
    WaitMode,
    fulfilled,
)
from tests.unit.holdfast.core.build import EXT, TGT, TMR
from tests.unit.holdfast.core.rows import (
    ADDRESS,
    AWAITED,
    END_MS,
    HALTED,
    HELD,
    NOW_MS,
    PARKED,
    PENDING,
    PLAN,
    RUN,
    RUN_ENDED,
    SETTLED,
    UNBLOCK,
    WAIT,
    Row,
    laws,
    names,
    store,
)

GOOD_STATES = [
    store(),
    store(AWAITED, SETTLED, RUN, PENDING, ("a", ADDRESS), UNBLOCK),
    store(AWAITED, RUN, HELD, Callback(awaited="a", awaiter="x")),
    store(AWAITED, RUN, PARKED, WAIT),
    store(AWAITED, RUN, replace(PARKED, wait_mode=WaitMode.ALL_SETTLED), WAIT),
    store(RUN, replace(HALTED, resumes=frozenset({"s"})), SETTLED),
    store(RUN_ENDED, fulfilled(HELD)),
    store(RUN, replace(PENDING, queued_at_ms=NOW_MS, resumes=frozenset({"forgotten"}))),
    store(PLAN),
    store(replace(PLAN, last_run_at_ms=60_000, next_run_at_ms=120_000, paused=True)),
]


def test_sound_states_pass() -> None:
    for number, state in enumerate(GOOD_STATES):
        assert check_state(state, now_ms=NOW_MS) == [], number


def changed(promise: Promise, **fields: object) -> State:
    """Make a state of one promise with some fields changed."""
    return store(replace(promise, **fields))


def run_with(task: Task, **fields: object) -> State:
    """Make a state of one run whose task has some fields changed."""
    return store(AWAITED, RUN, replace(task, **fields), WAIT)


BROKEN_STATES: list[tuple[str, State]] = [
    ("I1", store(AWAITED, AWAITED)),
    ("I1", store(RUN, PENDING, PENDING)),
    ("I1", store(AWAITED, RUN, PARKED, WAIT, WAIT)),
    ("I1", store(AWAITED, ("a", ADDRESS), ("a", ADDRESS))),
    ("I1", store(SETTLED, UNBLOCK, UNBLOCK)),
    ("I1", store(PLAN, PLAN)),
    ("I2", changed(AWAITED, created_at_ms=END_MS)),
    ("I2", changed(SETTLED, created_at_ms=END_MS + 1)),
    ("I3", changed(AWAITED, settled_at_ms=200)),
    ("I3", changed(SETTLED, settled_at_ms=None)),
    ("I3", changed(SETTLED, settled_at_ms=99)),
    ("I3", changed(SETTLED, timeout_at_ms=199)),
    ("I4", changed(AWAITED, value=Value(data=b""))),
    ("I5", changed(SETTLED, timeout_at_ms=200)),
    ("I5", changed(SETTLED, tags=TMR, timeout_at_ms=200, value=Value(data=b"1"))),
    ("I6", changed(SETTLED, state=PromiseState.REJECTED_TIMEDOUT)),
    ("I7", changed(AWAITED, tags=TMR | TGT)),
    ("I7", store(replace(PLAN, promise_tags=TMR | TGT))),
    ("I8", store(replace(AWAITED, tags={}), ("a", ADDRESS))),
    ("I8", store(replace(AWAITED, tags={}), RUN, PARKED, WAIT)),
    ("I8", store(RUN, PENDING, Callback(awaited="x", awaiter="x"))),
    ("I9", changed(AWAITED, created_at_ms=NOW_MS + 1)),
    ("I9", changed(SETTLED, settled_at_ms=NOW_MS + 1)),
    ("I9", store(SETTLED, replace(UNBLOCK, enqueued_at_ms=NOW_MS + 1))),
    ("I10", store(RUN)),
    ("I10", store(replace(RUN, tags=EXT), PENDING)),
    ("I10", store(PENDING)),
    ("I10", store(RUN, replace(PENDING, target="poll://any@other"))),
    ("I11", run_with(HELD, pid=None)),
    ("I11", run_with(HELD, ttl_ms=None)),
    ("I11", run_with(HELD, lease_at_ms=None)),
    ("I11", run_with(HELD, version=0)),
    ("I11", run_with(PENDING, pid="p")),
    ("I11", run_with(PARKED, lease_at_ms=NOW_MS)),
    ("I12", run_with(PENDING, dispatch_at_ms=None)),
    ("I12", run_with(HALTED, dispatch_at_ms=NOW_MS)),
    ("I13", run_with(PARKED, resumes=frozenset({"s"}))),
    ("I13", run_with(HALTED, paced_until_ms=1)),
    ("I14", run_with(PENDING, resumes=frozenset({"a"}))),
    ("I15", store(RUN_ENDED, PENDING)),
    ("I15", store(RUN, fulfilled(HELD))),
    ("I16", store(AWAITED, replace(AWAITED, id="b"), Callback(awaited="a", awaiter="b"))),
    ("I16", store(AWAITED, WAIT)),
    ("I16", store(AWAITED, ("a", "nowhere"))),
    ("I17", run_with(HALTED, queued_at_ms=NOW_MS)),
    ("I17", run_with(PENDING, queued_at_ms=NOW_MS + 1)),
    ("I18", store(AWAITED, replace(UNBLOCK, promise_id="a"))),
    ("I18", store(UNBLOCK)),
    ("I19", store(RUN, PARKED)),
    ("I19", run_with(PARKED, wait_mode=WaitMode.ALL_SETTLED, version=2)),
    ("I21", changed(AWAITED, tags={"resonate:target": ""})),
    ("I21", changed(RUN, tags=TGT | {DELAY: str(END_MS)})),
    ("I21", changed(RUN, tags=TGT | {DELAY: "soon"})),
    ("I21", changed(RUN, tags=TGT | {DELAY: "9" * 5_000})),
    ("I21", run_with(HELD, ttl_ms=0)),
    ("H1", store(SETTLED, ("s", ADDRESS))),
    ("H2", changed(AWAITED, armed=False)),
    ("H2", changed(SETTLED, armed=True)),
    ("H3", changed(AWAITED, timeout_at_ms=INTEGER_MAX + 1)),
    ("H3", run_with(PENDING, dispatch_at_ms=INTEGER_MAX + 1)),
    ("H4", run_with(PARKED, waiting_on=2)),
    ("H4", run_with(PENDING, waiting_on=1)),
    ("I20", store(replace(PLAN, next_run_at_ms=99))),
    ("I20", store(replace(PLAN, last_run_at_ms=60_000))),
    ("I20", store(replace(PLAN, last_run_at_ms=99))),
    ("H10", store(replace(PLAN, cron="often"))),
    ("H10", store(replace(PLAN, time_zone="Nowhere"))),
    ("H4", run_with(HALTED, wait_mode=WaitMode.ALL_SETTLED)),
    ("H4", store(AWAITED, replace(RUN, timeout_at_ms=NOW_MS), replace(PARKED, waiting_on=0), WAIT)),
    ("H5", run_with(PENDING, instance="i")),
    ("H6", run_with(PENDING, unknown_releases=2)),
    ("H6", run_with(PENDING, deliveries=2)),
    ("H6", run_with(PARKED, deliveries=1)),
    ("H7", run_with(HELD, lease_at_ms=NOW_MS + 51)),
    ("H8", store(RUN, PARKED, WAIT)),
    ("H8", store(("a", ADDRESS))),
    ("H9", store(AWAITED, RUN, PARKED, replace(WAIT, wait_version=2))),
]


def test_broken_states_are_found() -> None:
    for number, (rule, state) in enumerate(BROKEN_STATES):
        violations = check_state(state, now_ms=NOW_MS)

        assert rule in {violation.rule for violation in violations}, number


def test_every_state_rule_has_been_broken() -> None:
    found: set[tuple[str, str]] = set()
    for _, state in BROKEN_STATES:
        found |= names(check_state(state, now_ms=NOW_MS))

    every_rule = laws(
        states.PROMISE_RULES,
        states.TASK_RULES,
        states.CALLBACK_RULES,
        states.LISTENER_RULES,
        states.UNBLOCK_RULES,
        states.SCHEDULE_RULES,
    )
    assert every_rule <= found


def test_rows_without_their_counterparts_are_judged_without_an_error() -> None:
    """An offline check meets stores that somebody has edited by hand."""
    rows: list[Row] = [AWAITED, SETTLED, RUN, PENDING, WAIT, UNBLOCK, ("a", ADDRESS)]
    for left_out in range(len(rows)):
        some = [row for number, row in enumerate(rows) if number != left_out]
        check_state(store(*some), now_ms=NOW_MS)


def test_the_profile_decides_who_may_carry_obligations() -> None:
    state = store(replace(AWAITED, tags={}), ("a", ADDRESS))
    allowing = Profile(await_internal=AwaitInternal.ALLOW)

    assert check_state(state, now_ms=NOW_MS, profile=allowing) == []


def test_a_violation_names_the_rule_and_the_row_but_no_payload() -> None:
    secret = replace(AWAITED, param=Value(data=b"secret"), value=Value(data=b"secret"))

    (violation,) = check_state(store(secret), now_ms=NOW_MS)

    assert str(violation) == (
        "I4 (a pending promise has no value) broken by a: "
        "pending, created 100, settled None, deadline 1000, armed True"
    )


def test_every_number_of_the_catalogue_is_covered() -> None:
    assert {f"I{n}" for n in range(1, 21)} <= {rule for rule, _ in BROKEN_STATES}
