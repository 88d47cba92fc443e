"""Every transition invariant can be broken, and is then found."""

import dataclasses
from dataclasses import dataclass

from msgspec.structs import replace

from holdfast.core.checks import (
    obligation_steps,
    promise_steps,
    schedule_steps,
    task_steps,
)
from holdfast.core.checks.step import REQUEST_RULES
from holdfast.core.invariants import State, StepKind, Violation, check_step
from holdfast.core.profile import DEFAULT_PROFILE
from holdfast.core.records import (
    DELAY,
    PromiseState,
    Unblock,
    Value,
    WaitMode,
    fulfilled,
)
from holdfast.core.requests import (
    PromiseGet,
    Request,
    ScheduleDelete,
    SchedulePause,
    TaskRelease,
)
from tests.unit.holdfast.core.build import (
    TGT,
    callback,
    create,
    fence,
    fulfill,
    heartbeat,
    record,
    schedule_create,
    settle,
    suspend,
    task_create,
)
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
    laws,
    names,
    store,
)


@dataclass(frozen=True, kw_only=True)
class Way:
    """A step from one state to another, and the rule that it breaks."""

    rule: str = ""
    before: State
    after: State
    kind: StepKind = StepKind.OPERATION
    request: Request | None = None
    now_ms: int = NOW_MS

    def violations(self) -> list[Violation]:
        return check_step(
            self.before,
            self.after,
            now_ms=self.now_ms,
            profile=DEFAULT_PROFILE,
            kind=self.kind,
            request=self.request,
        )


NOTHING = store()
DELIVERY, INTERNAL, RETENTION = StepKind.DELIVERY, StepKind.INTERNAL, StepKind.RETENTION
FIRING = StepKind.FIRING

BORN = replace(AWAITED, created_at_ms=NOW_MS)
RUN_BORN = replace(RUN, created_at_ms=NOW_MS)
TASK_BORN = replace(PENDING, version=0, deliveries=0)
ENDED_NOW = replace(AWAITED, state=PromiseState.REJECTED, settled_at_ms=NOW_MS, armed=False)
TIMED_OUT = replace(
    AWAITED, state=PromiseState.REJECTED_TIMEDOUT, settled_at_ms=END_MS, armed=False
)
QUEUED = replace(PENDING, queued_at_ms=NOW_MS, dispatch_at_ms=NOW_MS + 30_000)
CLAIMED = replace(QUEUED, queued_at_ms=None)
AGAIN = replace(HELD, version=2, deliveries=2)
WOKEN = replace(PENDING, resumes=frozenset({"a"}), deliveries=0)
B = replace(AWAITED, id="b")
ALL = replace(PARKED, wait_mode=WaitMode.ALL_SETTLED, waiting_on=2)
WAIT_B = replace(WAIT, awaited="b")
RELEASED = replace(PENDING, paced_until_ms=NOW_MS + 100)
PLANNED = replace(PLAN, created_at_ms=NOW_MS)
FIRED = replace(PLAN, last_run_at_ms=60_000, next_run_at_ms=120_000)
PAUSED = replace(PLAN, paused=True)
PAUSE = SchedulePause(id="nightly", paused=True)
EARLIER = replace(RUN, created_at_ms=NOW_MS - 100)
TOO_LATE = replace(
    EARLIER,
    state=PromiseState.REJECTED_TIMEDOUT,
    timeout_at_ms=NOW_MS - 50,
    settled_at_ms=NOW_MS - 50,
    armed=False,
)

GOOD_WAYS = [
    Way(before=NOTHING, after=store(PLANNED), request=schedule_create("nightly")),
    Way(before=store(PLAN), after=store(FIRED), kind=FIRING, now_ms=60_000),
    Way(before=store(PLAN), after=store(PAUSED), request=PAUSE),
    Way(before=store(PLAN), after=NOTHING, request=ScheduleDelete(id="nightly")),
    Way(before=NOTHING, after=store(EARLIER, TASK_BORN), kind=FIRING),
    Way(before=NOTHING, after=store(TOO_LATE, fulfilled(TASK_BORN)), kind=FIRING),
    Way(
        before=store(RUN, HELD),
        after=store(RUN, HELD, replace(ENDED_NOW, created_at_ms=NOW_MS)),
        request=fence("x", 1, record("a", "rejected")),
    ),
    Way(before=NOTHING, after=store(BORN), request=create("a")),
    Way(before=NOTHING, after=store(RUN_BORN, TASK_BORN), request=create("x")),
    Way(before=NOTHING, after=store(RUN_BORN, HELD), request=task_create("x")),
    Way(before=store(AWAITED), after=store(ENDED_NOW), request=settle("a")),
    Way(before=store(AWAITED), after=store(TIMED_OUT), kind=INTERNAL, now_ms=END_MS),
    Way(before=store(RUN, PENDING), after=store(RUN, AGAIN)),
    Way(before=store(RUN, PENDING), after=store(RUN, QUEUED), kind=INTERNAL),
    Way(before=store(RUN, QUEUED), after=store(RUN, CLAIMED), kind=DELIVERY),
    Way(before=store(RUN, HELD), after=store(RUN_ENDED, fulfilled(HELD)), request=fulfill("x", 1)),
    Way(before=store(RUN, HELD), after=store(RUN, PENDING), kind=INTERNAL),
    Way(before=store(RUN, HELD), after=store(RUN, PENDING)),
    Way(
        before=store(RUN, HELD), after=store(RUN, RELEASED), request=TaskRelease(id="x", version=1)
    ),
    Way(
        before=store(AWAITED, RUN, HELD),
        after=store(AWAITED, RUN, PARKED, WAIT),
        request=suspend("x", 1, "a"),
    ),
    Way(before=store(AWAITED, RUN, PARKED, WAIT), after=store(ENDED_NOW, RUN, WOKEN)),
    Way(
        before=store(AWAITED, B, RUN, ALL, WAIT, WAIT_B),
        after=store(ENDED_NOW, B, RUN, replace(ALL, waiting_on=1), WAIT_B),
    ),
    Way(
        before=store(AWAITED, ("a", ADDRESS)),
        after=store(ENDED_NOW, replace(UNBLOCK, promise_id="a")),
    ),
    Way(before=store(SETTLED, UNBLOCK), after=store(SETTLED), kind=DELIVERY),
    Way(before=store(RUN_ENDED, fulfilled(HELD), SETTLED), after=NOTHING, kind=RETENTION),
    Way(
        before=store(AWAITED, RUN_ENDED, fulfilled(HELD), replace(WAIT, wait_version=None)),
        after=store(AWAITED),
        kind=RETENTION,
    ),
]


def test_sound_steps_pass() -> None:
    for number, way in enumerate(GOOD_WAYS):
        assert way.violations() == [], number


BAD_WAYS = [
    Way(rule="T1", before=store(SETTLED), after=NOTHING),
    Way(rule="T1", before=store(AWAITED), after=NOTHING, kind=RETENTION),
    Way(rule="T1", before=store(RUN_ENDED, fulfilled(HELD)), after=store(RUN_ENDED)),
    Way(rule="T1", before=store(RUN, QUEUED), after=store(RUN, PENDING)),
    Way(rule="T1", before=store(SETTLED, UNBLOCK), after=store(SETTLED)),
    Way(rule="T1", before=store(SETTLED, UNBLOCK), after=store(SETTLED), kind=RETENTION),
    Way(
        rule="T2",
        before=store(AWAITED),
        after=store(replace(AWAITED, param=Value(data=b"1"))),
    ),
    Way(rule="T2", before=store(AWAITED), after=store(replace(AWAITED, tags=TGT))),
    Way(rule="T2", before=store(AWAITED), after=store(replace(AWAITED, timeout_at_ms=2_000))),
    Way(rule="T2", before=store(AWAITED), after=store(replace(AWAITED, created_at_ms=1))),
    Way(rule="T2", before=store(RUN, PENDING), after=store(RUN, replace(PENDING, target="a:b"))),
    Way(rule="T3", before=store(SETTLED), after=store(replace(SETTLED, value=Value(data=b"")))),
    Way(rule="T3", before=store(SETTLED), after=store(replace(SETTLED, settled_at_ms=201))),
    Way(
        rule="T3",
        before=store(SETTLED),
        after=store(replace(SETTLED, state=PromiseState.PENDING, settled_at_ms=None)),
    ),
    Way(rule="T4", before=NOTHING, after=store(AWAITED)),
    Way(rule="T4", before=NOTHING, after=store(SETTLED)),
    Way(
        rule="T4",
        before=store(RUN, HELD),
        after=store(RUN, HELD, replace(ENDED_NOW, created_at_ms=NOW_MS)),
        request=fence("x", 1, create("a")),
    ),
    Way(
        rule="T4",
        before=store(RUN, HELD),
        after=store(RUN, HELD, replace(ENDED_NOW, created_at_ms=NOW_MS - 1)),
        request=fence("x", 1, record("a", "rejected")),
    ),
    Way(
        rule="T4", before=store(AWAITED), after=store(replace(ENDED_NOW, settled_at_ms=NOW_MS - 1))
    ),
    Way(rule="T4", before=store(AWAITED), after=store(ENDED_NOW), now_ms=END_MS),
    Way(rule="T4", before=store(AWAITED), after=store(TIMED_OUT)),
    Way(
        rule="T4",
        before=store(AWAITED),
        after=store(replace(TIMED_OUT, value=Value(data=b"1"))),
        now_ms=END_MS,
    ),
    Way(rule="T5", before=NOTHING, after=store(BORN, ("a", ADDRESS))),
    Way(rule="T5", before=store(SETTLED), after=store(SETTLED, ("s", ADDRESS))),
    Way(rule="T5", before=store(AWAITED), after=store(AWAITED, ("a", ADDRESS)), now_ms=END_MS),
    Way(
        rule="T5",
        before=store(AWAITED, RUN, HELD),
        after=store(AWAITED, RUN, HELD, replace(WAIT, wait_version=None)),
        now_ms=END_MS,
    ),
    Way(rule="T6", before=store(RUN, PENDING), after=store(RUN, replace(AGAIN, version=1))),
    Way(rule="T6", before=store(RUN, PENDING), after=store(RUN, replace(AGAIN, version=3))),
    Way(rule="T6", before=store(RUN, HELD), after=store(RUN, replace(RELEASED, version=2))),
    Way(rule="T7", before=store(RUN, PENDING), after=store(RUN, PARKED)),
    Way(rule="T7", before=store(RUN, PARKED), after=store(RUN, AGAIN)),
    Way(rule="T7", before=store(RUN, HALTED), after=store(RUN, PARKED)),
    Way(rule="T7", before=store(RUN_ENDED, fulfilled(HELD)), after=store(RUN_ENDED, PENDING)),
    Way(
        rule="T7",
        before=store(RUN_ENDED, fulfilled(HELD)),
        after=store(RUN_ENDED, replace(fulfilled(HELD), reason="x")),
    ),
    Way(rule="T7", before=store(RUN, PENDING), after=store(RUN, AGAIN), request=fulfill("x", 1)),
    Way(rule="T8", before=NOTHING, after=store(BORN), kind=INTERNAL),
    Way(rule="T8", before=NOTHING, after=store(BORN), request=settle("a")),
    Way(rule="T8", before=store(AWAITED), after=store(ENDED_NOW), kind=INTERNAL),
    Way(rule="T8", before=store(AWAITED), after=store(ENDED_NOW), request=create("a")),
    Way(rule="T8", before=store(RUN, PENDING), after=store(RUN, AGAIN), kind=INTERNAL),
    Way(rule="T8", before=store(RUN, PENDING), after=store(RUN, HALTED), kind=INTERNAL),
    Way(rule="T8", before=store(RUN, HALTED), after=store(RUN, PENDING), kind=INTERNAL),
    Way(rule="T8", before=store(RUN, HELD), after=store(RUN, PENDING), kind=DELIVERY),
    Way(rule="T9", before=store(RUN, HELD), after=store(RUN, replace(HALTED, pid="p"))),
    Way(rule="T10", before=store(RUN, HELD), after=store(RUN, replace(HELD, pid="q"))),
    Way(rule="T10", before=store(RUN, HELD), after=store(RUN, replace(HELD, instance="i"))),
    Way(rule="T11", before=store(RUN, PENDING), after=store(RUN, replace(AGAIN, lease_at_ms=999))),
    Way(rule="T11", before=store(RUN, HELD), after=store(RUN, replace(HELD, lease_at_ms=549))),
    Way(rule="T11", before=NOTHING, after=store(RUN_BORN, replace(HELD, lease_at_ms=549))),
    Way(rule="T12", before=NOTHING, after=store(RUN_BORN, replace(TASK_BORN, dispatch_at_ms=501))),
    Way(
        rule="T12",
        before=NOTHING,
        after=store(replace(RUN_BORN, tags=TGT | {DELAY: "700"}), TASK_BORN),
    ),
    Way(
        rule="T12", before=store(RUN, HALTED), after=store(RUN, replace(PENDING, dispatch_at_ms=1))
    ),
    Way(
        rule="T12",
        before=store(RUN, HALTED),
        after=store(RUN, replace(PENDING, dispatch_at_ms=None)),
    ),
    Way(
        rule="T12",
        before=store(RUN, HELD),
        after=store(RUN, replace(RELEASED, dispatch_at_ms=NOW_MS)),
        request=TaskRelease(id="x", version=1, not_before_ms=NOW_MS + 7),
    ),
    Way(
        rule="T12",
        before=store(RUN, HELD),
        after=store(RUN, replace(PENDING, dispatch_at_ms=NOW_MS + 60_001)),
    ),
    Way(
        rule="T12",
        before=store(RUN, replace(PENDING, dispatch_at_ms=NOW_MS + 1)),
        after=store(RUN, replace(PENDING, dispatch_at_ms=NOW_MS + 2)),
    ),
    Way(
        rule="T12",
        before=store(RUN, PENDING),
        after=store(RUN, replace(PENDING, dispatch_at_ms=NOW_MS - 1)),
    ),
    Way(
        rule="T13",
        before=store(RUN, replace(PENDING, resumes=frozenset("ab"))),
        after=store(RUN, replace(PENDING, resumes=frozenset("a"))),
    ),
    Way(
        rule="T13",
        before=store(RUN, replace(PENDING, resumes=frozenset("a"))),
        after=store(RUN, HALTED),
    ),
    Way(
        rule="T13",
        before=store(RUN, replace(PENDING, resumes=frozenset("a"))),
        after=store(RUN, replace(AGAIN, resumes=frozenset("a"))),
    ),
    Way(
        rule="T14",
        before=store(AWAITED, RUN, PARKED, WAIT),
        after=store(AWAITED, RUN, replace(WOKEN, resumes=frozenset())),
    ),
    Way(
        rule="T14",
        before=store(AWAITED, B, RUN, ALL, WAIT, WAIT_B),
        after=store(ENDED_NOW, B, RUN, WOKEN, WAIT_B),
    ),
    Way(
        rule="T14",
        before=store(AWAITED, B, RUN, ALL, replace(WAIT, wait_version=None), WAIT_B),
        after=store(ENDED_NOW, B, RUN, WOKEN, WAIT_B),
    ),
    Way(rule="T15", before=store(AWAITED, RUN, HELD), after=store(AWAITED, RUN, PARKED)),
    Way(
        rule="T15",
        before=store(AWAITED, RUN, HELD),
        after=store(AWAITED, RUN, HELD, WAIT),
        request=suspend("x", 1, "a"),
    ),
    Way(
        rule="T15",
        before=store(AWAITED, RUN, HELD),
        after=store(AWAITED, RUN, PARKED, WAIT),
        request=callback("a", "x"),
    ),
    Way(
        rule="T15",
        before=store(AWAITED, RUN, HELD),
        after=store(AWAITED, RUN, HELD, replace(WAIT, wait_version=None)),
        request=fence("x", 1, create("y")),
    ),
    Way(
        rule="T16",
        before=store(AWAITED, RUN, PARKED, WAIT),
        after=store(ENDED_NOW, RUN, PARKED),
    ),
    Way(
        rule="T16",
        before=store(AWAITED, RUN, HELD, WAIT),
        after=store(ENDED_NOW, RUN, HELD),
    ),
    Way(
        rule="T16",
        before=store(AWAITED, RUN, replace(ALL, waiting_on=1), WAIT),
        after=store(ENDED_NOW, RUN, replace(ALL, waiting_on=0)),
    ),
    Way(rule="T16", before=store(AWAITED, RUN, PARKED, WAIT), after=store(ENDED_NOW)),
    Way(
        rule="T16", before=store(RUN, HELD), after=store(RUN, replace(HELD, resumes=frozenset("a")))
    ),
    Way(rule="T16", before=store(AWAITED, ("a", ADDRESS)), after=store(ENDED_NOW)),
    Way(
        rule="T17",
        before=store(AWAITED, RUN, PARKED, WAIT),
        after=store(AWAITED, RUN, WOKEN),
    ),
    Way(
        rule="T17",
        before=store(AWAITED, ("a", ADDRESS)),
        after=store(AWAITED, replace(UNBLOCK, promise_id="a")),
    ),
    Way(rule="T18", before=store(RUN, HELD), after=store(RUN_ENDED, HELD)),
    Way(rule="T18", before=store(RUN, HELD), after=store(RUN, fulfilled(HELD))),
    Way(rule="T19", before=store(RUN), after=store(RUN, TASK_BORN)),
    Way(rule="T19", before=NOTHING, after=store(RUN_BORN, PENDING)),
    Way(rule="T19", before=NOTHING, after=store(RUN_BORN, PARKED)),
    Way(rule="T19", before=NOTHING, after=store(RUN_BORN, replace(TASK_BORN, queued_at_ms=NOW_MS))),
    Way(
        rule="T20", before=store(RUN, HELD), after=store(RUN, PENDING), kind=INTERNAL, now_ms=END_MS
    ),
    Way(
        rule="T20",
        before=store(RUN, PENDING),
        after=store(RUN, QUEUED),
        kind=INTERNAL,
        now_ms=END_MS,
    ),
    Way(rule="T21", before=store(RUN, PENDING), after=store(RUN, QUEUED)),
    Way(rule="T21", before=store(RUN, RELEASED), after=store(RUN, QUEUED), kind=INTERNAL),
    Way(
        rule="T21",
        before=store(RUN, PENDING),
        after=store(RUN, replace(QUEUED, dispatch_at_ms=NOW_MS + 1)),
        kind=INTERNAL,
    ),
    Way(
        rule="T21",
        before=store(RUN, QUEUED),
        after=store(RUN, replace(QUEUED, queued_at_ms=NOW_MS + 1)),
        kind=INTERNAL,
    ),
    Way(rule="T21", before=store(SETTLED), after=store(SETTLED, UNBLOCK)),
    Way(
        rule="T21",
        before=store(AWAITED, ("a", ADDRESS)),
        after=store(ENDED_NOW, Unblock(promise_id="a", address=ADDRESS, enqueued_at_ms=1)),
    ),
    Way(
        rule="V5",
        before=store(RUN, HELD),
        after=store(RUN, HELD, AWAITED),
        request=fence("x", 0, create("a")),
    ),
    Way(
        rule="V5",
        before=store(RUN, PENDING),
        after=store(RUN_ENDED, fulfilled(PENDING)),
        request=fulfill("x", 1),
    ),
    Way(rule="V5", before=NOTHING, after=store(BORN), request=fence("x", 1, create("a"))),
    Way(
        rule="V6",
        before=store(RUN, HELD),
        after=store(RUN, replace(HELD, lease_at_ms=551)),
        request=heartbeat("q", ("x", 1)),
        now_ms=501,
    ),
    Way(
        rule="V6",
        before=store(RUN, HELD),
        after=store(RUN, replace(HELD, lease_at_ms=551)),
        request=heartbeat("p", ("x", 2)),
        now_ms=501,
    ),
    Way(
        rule="§4.3",
        before=store(RUN, HELD),
        after=store(RUN, PENDING),
        request=TaskRelease(id="x", version=1),
    ),
    Way(rule="§4.3", before=store(RUN, HELD), after=store(RUN, RELEASED), kind=INTERNAL),
    Way(rule="T8", before=NOTHING, after=store(PLANNED), request=PAUSE),
    Way(rule="T8", before=NOTHING, after=store(PLAN), request=schedule_create("nightly")),
    Way(rule="T8", before=store(PLAN), after=store(FIRED), kind=FIRING, now_ms=59_999),
    Way(rule="T8", before=store(PAUSED), after=store(FIRED), kind=FIRING, now_ms=60_000),
    Way(rule="T8", before=store(PLAN), after=store(FIRED), request=PAUSE, now_ms=60_000),
    Way(rule="T8", before=store(PLAN), after=store(PAUSED), kind=INTERNAL),
    Way(rule="T2", before=store(PLAN), after=store(replace(PAUSED, cron="0 0 * * *"))),
    Way(rule="I20", before=store(FIRED), after=store(replace(FIRED, next_run_at_ms=90_000))),
    Way(rule="T1", before=store(PLAN), after=NOTHING, kind=RETENTION),
    Way(rule="T4", before=NOTHING, after=store(EARLIER, TASK_BORN)),
    Way(
        rule="T4",
        before=NOTHING,
        after=store(replace(TOO_LATE, state=PromiseState.REJECTED), fulfilled(TASK_BORN)),
        kind=FIRING,
    ),
]


def test_broken_steps_are_found() -> None:
    for number, way in enumerate(BAD_WAYS):
        assert way.rule in {violation.rule for violation in way.violations()}, number


def test_every_step_rule_has_been_broken() -> None:
    found: set[tuple[str, str]] = set()
    for way in BAD_WAYS:
        found |= names(way.violations())

    every_rule = laws(
        REQUEST_RULES,
        promise_steps.PROMISE_BIRTH_RULES,
        promise_steps.PROMISE_CHANGE_RULES,
        promise_steps.PROMISE_DEATH_RULES,
        task_steps.TASK_BIRTH_RULES,
        task_steps.TASK_CHANGE_RULES,
        task_steps.TASK_DEATH_RULES,
        obligation_steps.CALLBACK_ARRIVAL_RULES,
        obligation_steps.CALLBACK_DEPARTURE_RULES,
        obligation_steps.LISTENER_ARRIVAL_RULES,
        obligation_steps.LISTENER_DEPARTURE_RULES,
        obligation_steps.UNBLOCK_ARRIVAL_RULES,
        obligation_steps.UNBLOCK_DEPARTURE_RULES,
        schedule_steps.SCHEDULE_BIRTH_RULES,
        schedule_steps.SCHEDULE_CHANGE_RULES,
        schedule_steps.SCHEDULE_DEATH_RULES,
    )
    assert every_rule <= found


def test_every_number_of_the_catalogue_is_covered() -> None:
    assert {f"T{n}" for n in range(1, 22)} <= {way.rule for way in BAD_WAYS}


def test_a_step_that_changes_nothing_breaks_nothing() -> None:
    state = store(AWAITED, RUN, HELD, ("a", ADDRESS))

    way = Way(before=state, after=state, request=fulfill("x", 9))

    assert way.violations() == []
    assert dataclasses.replace(way, request=PromiseGet(id="a")).violations() == []


def test_any_pair_of_states_is_judged_without_an_error() -> None:
    """Also states that cannot follow each other, or that are broken themselves."""
    worlds = [way.before for way in BAD_WAYS] + [way.after for way in BAD_WAYS]
    for number, before in enumerate(worlds):
        after = worlds[(number * 7 + 3) % len(worlds)]
        for kind in StepKind:
            Way(before=before, after=after, kind=kind).violations()
