"""Schedules: the worked trace §11.10, and what the tables of §5 say, judged at every step."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from holdfast.core.decide import decide
from holdfast.core.limits import ID_BYTES_MAX, INTEGER_MAX, TAGS_MAX
from holdfast.core.profile import DEFAULT_PROFILE
from holdfast.core.records import DELAY, TARGET, Promise, PromiseState, Schedule, TaskState, Value
from holdfast.core.requests import (
    Done,
    PromiseGet,
    Refusal,
    ScheduleDelete,
    ScheduleGet,
    SchedulePause,
)
from holdfast.core.schedule import due_by, fire, occurrence_id
from holdfast.core.validation import validate
from holdfast.core.working_set import WorkingSet
from tests.unit.holdfast.core.build import TGT, TMR, create, done, schedule_create, settle
from tests.unit.holdfast.core.machine import Machine

GET = ScheduleGet(id="nightly")
DELETE = ScheduleDelete(id="nightly")
PAUSE = SchedulePause(id="nightly", paused=True)
RESUME = SchedulePause(id="nightly", paused=False)
PLAN = Schedule(
    id="nightly",
    cron="* * * * *",
    promise_id="{{.id}}-{{.timestamp}}",
    promise_timeout_ms=30_000,
    promise_tags=TGT,
    created_at_ms=60_000,
    next_run_at_ms=120_000,
)


def planned(machine: Machine, *, now_ms: int = 60_000, **fields: Any) -> Schedule:
    return schedule_of(machine.do(schedule_create(**fields), now_ms=now_ms))


def schedule_of(outcome: Done | Refusal) -> Schedule:
    schedule = done(outcome).schedule
    assert schedule is not None
    return schedule


def promise_at(machine: Machine, promise_id: str, now_ms: int) -> Promise:
    promise = done(machine.do(PromiseGet(id=promise_id), now_ms=now_ms)).promise
    assert promise is not None
    return promise


def test_the_worked_trace() -> None:
    machine = Machine()
    made = schedule_of(
        machine.do(schedule_create(promise_param=Value(data=b"MQ==")), now_ms=60_000)
    )
    assert (made.created_at_ms, made.next_run_at_ms, made.last_run_at_ms) == (60_000, 120_000, None)
    machine.tick(119_999)
    assert not machine.executes()

    machine.tick(120_000)

    assert machine.executes() == {("nightly-120000", 0, "poll://any@w1")}
    promise = promise_at(machine, "nightly-120000", 120_001)
    assert promise.state is PromiseState.PENDING
    assert promise.param == Value(data=b"MQ==")
    assert (promise.created_at_ms, promise.timeout_at_ms) == (120_000, 150_000)
    assert promise.tags == {
        "resonate:target": "poll://any@w1",
        "resonate:schedule": "nightly",
        "resonate:origin": "nightly-120000",
        "resonate:branch": "nightly-120000",
        "resonate:parent": "nightly-120000",
        "resonate:prefix": "nightly-120000",
    }
    seen = schedule_of(machine.do(GET, now_ms=120_002))
    assert (seen.next_run_at_ms, seen.last_run_at_ms) == (180_000, 120_000)

    machine.tick(310_000)  # 180000, 240000 and 300000 were missed

    missed = promise_at(machine, "nightly-180000", 310_001)
    assert missed.state is PromiseState.REJECTED_TIMEDOUT
    assert (missed.created_at_ms, missed.timeout_at_ms, missed.settled_at_ms) == (
        *(180_000, 210_000, 210_000),
    )
    seen = schedule_of(machine.do(GET, now_ms=310_002))
    assert (seen.last_run_at_ms, seen.next_run_at_ms) == (300_000, 360_000)
    assert machine.do(DELETE, now_ms=310_003) == Done()
    gone = machine.do(DELETE, now_ms=310_004)
    assert isinstance(gone, Refusal)
    assert (gone.status, gone.code) == (404, "schedule_not_found")


def test_an_occurrence_past_its_deadline_sends_no_execute() -> None:
    machine = Machine()
    planned(machine)

    machine.tick(310_000)

    assert machine.executes() == {("nightly-300000", 0, "poll://any@w1")}
    assert machine.task("nightly-240000").state is TaskState.FULFILLED


def test_without_a_timeout_an_occurrence_is_born_settled() -> None:
    machine = Machine()
    planned(machine, promise_timeout_ms=0)

    machine.tick(120_000)

    promise = machine.promise("nightly-120000")
    assert promise.state is PromiseState.REJECTED_TIMEDOUT
    assert promise.created_at_ms == promise.settled_at_ms == 120_000
    assert not machine.executes()


def test_creating_twice_answers_the_first_and_compares_nothing() -> None:
    machine = Machine()
    first = machine.do(schedule_create(), now_ms=60_000)

    second = machine.do(
        schedule_create(cron="0 0 * * *", time_zone="Europe/Berlin", paused=True), now_ms=90_000
    )

    assert done(first).created
    assert second == replace(done(first), created=False)


def test_a_promise_with_the_id_of_an_occurrence_stays_as_it_is() -> None:
    machine = Machine()
    planned(machine)
    machine.do(create("nightly-120000", timeout_at_ms=200_000), now_ms=70_000)

    machine.tick(120_000)

    assert machine.promise("nightly-120000").tags == {}
    assert schedule_of(machine.do(GET, now_ms=120_000)).last_run_at_ms == 120_000


def test_a_template_without_a_timestamp_creates_its_promise_once() -> None:
    machine = Machine()
    planned(machine, promise_id="report")
    machine.tick(120_000)
    machine.do(settle("report"), now_ms=121_000)

    machine.tick(180_000)

    assert machine.promise("report").state is PromiseState.RESOLVED
    assert schedule_of(machine.do(GET, now_ms=180_000)).last_run_at_ms == 180_000


def test_a_deleted_schedule_fires_no_more_and_leaves_its_promises() -> None:
    machine = Machine()
    planned(machine)
    machine.tick(120_000)
    machine.do(DELETE, now_ms=121_000)

    machine.tick(500_000)

    assert list(machine.state.promises) == ["nightly-120000"]


def test_what_a_paused_schedule_would_have_fired_is_not_made_up_for() -> None:
    machine = Machine()
    planned(machine)
    paused = schedule_of(machine.do(PAUSE, now_ms=119_000))
    assert paused.paused
    machine.tick(190_000)
    assert not machine.state.promises

    resumed = schedule_of(machine.do(RESUME, now_ms=190_000))

    assert (resumed.paused, resumed.next_run_at_ms) == (False, 240_000)
    machine.tick(240_000)
    assert list(machine.state.promises) == ["nightly-240000"]


def test_what_cannot_be_planned_any_more_stays_paused() -> None:
    """Time zones are renamed, and another store may know one that this one does not."""
    lost = replace(PLAN, paused=True, time_zone="Mars/Olympus")
    ws = WorkingSet(schedules=[lost])

    outcome = decide(ws, RESUME, now_ms=190_000, profile=DEFAULT_PROFILE)

    assert isinstance(outcome, Refusal)
    assert (outcome.status, outcome.code) == (422, "schedule_unplannable")
    assert "Mars/Olympus" in outcome.message
    assert not ws.changes()


def test_pausing_twice_changes_nothing_more() -> None:
    machine = Machine()
    planned(machine)
    assert machine.do(RESUME, now_ms=60_500) == machine.do(GET, now_ms=60_500)

    first = machine.do(PAUSE, now_ms=61_000)

    assert machine.do(PAUSE, now_ms=62_000) == first


@pytest.mark.parametrize("request_", [GET, DELETE, PAUSE, RESUME])
def test_a_schedule_that_is_not_there_is_404(request_: ScheduleGet) -> None:
    outcome = Machine().do(request_, now_ms=1)

    assert isinstance(outcome, Refusal)
    assert (outcome.status, outcome.code) == (404, "schedule_not_found")


def test_a_schedule_may_be_created_paused() -> None:
    machine = Machine()
    assert planned(machine, paused=True).next_run_at_ms == 120_000

    machine.tick(200_000)

    assert not machine.state.promises


def test_the_time_zone_says_when_it_is_midnight() -> None:
    machine = Machine()

    made = planned(machine, cron="0 0 * * *", time_zone="Asia/Tokyo", now_ms=0)

    assert made.next_run_at_ms == 15 * 3_600_000


def test_the_tags_of_the_store_win() -> None:
    machine = Machine()
    planned(machine, promise_tags=TGT | {"resonate:origin": "mine", "name": "report"})

    machine.tick(120_000)

    tags = machine.promise("nightly-120000").tags
    assert tags["resonate:origin"] == "nightly-120000"
    assert tags["name"] == "report"


def test_both_blanks_are_filled_in_everywhere_and_only_once() -> None:
    filled = occurrence_id(
        template="{{.id}}/{{.timestamp}}/{{.id}}{{.timestamp}}/{{.other}}",
        schedule_id="{{.timestamp}}",
        at_ms=7,
    )

    assert filled == "{{.timestamp}}/7/{{.timestamp}}7/{{.other}}"


def test_a_deadline_saturates_at_the_largest_integer() -> None:
    machine = Machine()
    planned(machine, promise_timeout_ms=INTEGER_MAX)

    machine.tick(120_000)

    assert machine.promise("nightly-120000").timeout_at_ms == INTEGER_MAX


def test_a_schedule_that_has_no_next_occurrence_waits_for_the_end_of_time() -> None:
    machine = Machine()
    december_9999 = 253_400_000_000_000
    made = planned(machine, cron="0 0 31 12 *", now_ms=december_9999)

    machine.tick(made.next_run_at_ms)

    assert schedule_of(machine.do(GET, now_ms=made.next_run_at_ms)).next_run_at_ms == INTEGER_MAX


def test_at_the_end_of_time_nothing_is_due_that_never_occurs() -> None:
    over = replace(PLAN, last_run_at_ms=120_000, next_run_at_ms=INTEGER_MAX)

    assert over.due_at_ms is None
    assert due_by(over, now_ms=INTEGER_MAX, limit=10).occurrences == ()
    last = replace(PLAN, cron="0 0 31 12 *", next_run_at_ms=253_402_214_400_000)
    (only,) = due_by(last, now_ms=INTEGER_MAX, limit=10).occurrences
    assert only.next_ms == INTEGER_MAX


def test_an_expression_that_never_occurs_from_now_on_is_refused() -> None:
    refusal = Machine().do(schedule_create(), now_ms=INTEGER_MAX)

    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.code) == (400, "invalid_cron")


# Firing


def test_what_was_planned_on_another_record_is_not_fired() -> None:
    """Another store may have fired it, paused it, or put another one in its place meanwhile."""
    due = due_by(PLAN, now_ms=200_000, limit=10)
    assert [each.at_ms for each in due.occurrences] == [120_000, 180_000]

    for stored in (
        replace(PLAN, last_run_at_ms=120_000, next_run_at_ms=180_000),
        replace(PLAN, paused=True),
        replace(PLAN, promise_id="other-{{.timestamp}}"),
    ):
        ws = WorkingSet(schedules=[stored])
        assert fire(ws, due, now_ms=200_000) == []
        assert not ws.changes()
    assert fire(WorkingSet(), due, now_ms=200_000) == []


def test_what_is_planned_too_early_is_left_for_later() -> None:
    due = due_by(PLAN, now_ms=200_000, limit=10)
    ws = WorkingSet(schedules=[PLAN])

    assert fire(ws, due, now_ms=150_000) == [120_000]

    left = ws.schedule(PLAN.id)
    assert left is not None
    assert left.next_run_at_ms == 180_000


@settings(deadline=None)  # a busy machine is slow
@given(
    st.sampled_from(["* * * * *", "*/3 * * * *", "0 * * * *", "*/20 * * * * *"]),
    st.integers(0, 100_000),
    st.lists(st.integers(0, 400_000), min_size=1, max_size=6),
    st.integers(1, 4),
)
def test_however_late_and_in_however_small_parts_each_occurrence_comes_once(
    cron: str, timeout_ms: int, pauses_ms: list[int], limit: int
) -> None:
    """What is fired in parts is what is fired at once, whenever the store came to it."""
    prompt, late = Machine(), Machine()
    for machine in (prompt, late):
        planned(machine, cron=cron, promise_timeout_ms=timeout_ms, now_ms=0)
    now_ms = 0
    for pause_ms in pauses_ms:
        for instant in range(now_ms, now_ms + pause_ms, 20_000):
            prompt.tick(instant)
        now_ms += pause_ms
    prompt.tick(now_ms)

    while late.fire(now_ms, limit=limit):
        pass
    late.tick(now_ms)

    assert prompt.state.schedules == late.state.schedules
    assert prompt.state.promises == late.state.promises
    assert len(prompt.state.promises) == len(set(prompt.state.promises))


# Validation


FLAWS: list[tuple[str, str, dict[str, Any]]] = [
    ("invalid_text", "promise_id", {"promise_id": ""}),
    ("invalid_text", "promise_id", {"promise_id": "a\0"}),
    ("invalid_text", str(ID_BYTES_MAX), {"promise_id": "{{.timestamp}}" + "x" * ID_BYTES_MAX}),
    ("invalid_text", "filled in", {"promise_id": "{{.timestamp}}" * 70}),
    ("invalid_cron", "cron", {"cron": ""}),
    ("invalid_cron", "five fields", {"cron": "seven"}),
    ("invalid_cron", "never", {"cron": "0 0 30 2 *"}),
    ("invalid_time_zone", "time_zone", {"time_zone": "Mars/Olympus"}),
    ("out_of_range", "promise_timeout_ms", {"promise_timeout_ms": -1}),
    ("out_of_range", "promise_timeout_ms", {"promise_timeout_ms": INTEGER_MAX + 1}),
    ("target_required", TARGET, {"promise_tags": {}}),
    ("invalid_address", TARGET, {"promise_tags": {TARGET: "nowhere"}}),
    ("timer_with_target", TARGET, {"promise_tags": TGT | TMR}),
    ("invalid_delay", DELAY, {"promise_tags": TGT | {DELAY: "5"}}),
    ("invalid_text", "promise_tags", {"promise_tags": TGT | {"a": "\0"}}),
    (
        "too_many_tags",
        "promise_tags",
        {"promise_tags": TGT | dict.fromkeys(map(str, range(TAGS_MAX)), "")},
    ),
    (
        "too_many_tags",
        "that the store adds",
        {"promise_tags": TGT | {str(n): "" for n in range(TAGS_MAX - 5)}},
    ),
    ("tags_too_large", "promise_tags", {"promise_tags": TGT | {"a": "x" * 70_000}}),
    ("value_too_large", "promise_param", {"promise_param": Value(data=b"x" * 1_048_577)}),
]


@pytest.mark.parametrize(("code", "named", "fields"), FLAWS)
def test_a_flaw_is_named_with_its_field(code: str, named: str, fields: dict[str, Any]) -> None:
    refusal = validate(schedule_create(**fields), DEFAULT_PROFILE)

    assert refusal is not None
    assert (refusal.status, refusal.code) == (400, code)
    assert named in refusal.message


@pytest.mark.parametrize("make", [ScheduleGet, ScheduleDelete, lambda id: replace(PAUSE, id=id)])
def test_an_id_is_needed(make: type[ScheduleGet]) -> None:
    refusal = validate(make(id=""), DEFAULT_PROFILE)

    assert refusal is not None
    assert refusal.code == "invalid_text"


def test_validation_comes_before_existence() -> None:
    machine = Machine()
    planned(machine)

    refusal = machine.do(schedule_create(cron="often"), now_ms=61_000)

    assert isinstance(refusal, Refusal)
    assert refusal.status == 400
