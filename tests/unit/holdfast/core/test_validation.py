"""What is refused at the door with 400, before anything is looked up (§2.8, §3.5, §14)."""

from dataclasses import dataclass

import pytest

from holdfast.core import limits
from holdfast.core.profile import (
    DEFAULT_PROFILE,
    EmptyHeartbeat,
    LineageTags,
    OriginCheck,
    Profile,
)
from holdfast.core.records import (
    BRANCH,
    DELAY,
    EXTERNAL,
    ORIGIN,
    PARENT,
    PREFIX,
    TARGET,
    TIMER,
    PromiseState,
    Value,
)
from holdfast.core.requests import (
    PromiseCreate,
    PromiseGet,
    PromiseRegisterCallback,
    PromiseSettle,
    Refusal,
    Request,
    TaskContinue,
    TaskFulfill,
    TaskGet,
    TaskHalt,
    TaskRelease,
    TaskSuspend,
)
from holdfast.core.validation import validate
from tests.unit.holdfast.core.build import (
    EXT,
    FAR,
    TGT,
    TMR,
    acquire,
    callback,
    code_of,
    create,
    done,
    fence,
    fulfill,
    heartbeat,
    listener,
    settle,
    status_of,
    suspend,
    task_create,
)
from tests.unit.holdfast.core.machine import Machine

MAX = limits.INTEGER_MAX
STRICT = Profile(lineage_tags=LineageTags.STRICT)
COMPOSITE = Profile(origin_check=OriginCheck.COMPOSITE)
SURROGATE = "\ud800"


@dataclass(frozen=True)
class Bad:
    """A request, the code of its refusal, and a word that the message must contain."""

    request: Request
    code: str
    names: str
    profile: Profile = DEFAULT_PROFILE


def with_id(bad: str) -> list[tuple[Request, str]]:
    """Put a bad id, pid or address in each place where one stands; name the fields."""
    return [
        (PromiseGet(id=bad), "id"),
        (create(bad), "id"),
        (settle(bad), "id"),
        (callback(bad, "x"), "awaited"),
        (callback("a", bad), "awaiter"),
        (listener(bad), "awaited"),
        (listener("a", bad), "address"),
        (TaskGet(id=bad), "id"),
        (task_create(bad), "action.id"),
        (task_create("x", pid=bad), "pid"),
        (acquire(bad, 0), "id"),
        (acquire("x", 0, pid=bad), "pid"),
        (TaskRelease(id=bad, version=0), "id"),
        (TaskFulfill(id=bad, version=0, action=settle("x")), "id"),
        (TaskFulfill(id="x", version=0, action=settle(bad)), "action.id"),
        (suspend(bad, 0, "a"), "id"),
        (suspend("x", 0, "a", bad), "awaited"),
        (fence(bad, 0, create("x.1")), "id"),
        (fence("x", 0, create(bad)), "action.id"),
        (fence("x", 0, settle(bad)), "action.id"),
        (heartbeat(bad, ("x", 1)), "pid"),
        (heartbeat(bad), "pid"),
        (heartbeat("p", ("x", 1), (bad, 1)), "tasks.id"),
        (TaskHalt(id=bad), "id"),
        (TaskContinue(id=bad), "id"),
    ]


BAD_TEXTS = {
    "empty": "",
    "NUL": "a\0b",
    "surrogate": f"a{SURROGATE}",
    "too long": "é" * (limits.ID_BYTES_MAX // 2) + "x",
}


@pytest.mark.parametrize("kind", list(BAD_TEXTS))
def test_ids_pids_and_addresses_are_checked_wherever_they_stand(kind: str) -> None:
    for request, field in with_id(BAD_TEXTS[kind]):
        refusal = validate(request, DEFAULT_PROFILE)

        assert status_of(refusal) == 400, request
        assert code_of(refusal) == "invalid_text"
        assert refusal is not None
        assert field in refusal.message


def test_the_longest_id_is_accepted() -> None:
    longest = "x" * limits.ID_BYTES_MAX

    assert validate(PromiseGet(id=longest), DEFAULT_PROFILE) is None


def with_number(bad: int) -> list[tuple[Request, str]]:
    """Put a bad number in each place where one stands; name the fields."""
    return [
        (create("a", timeout_at_ms=bad), "timeout_at_ms"),
        (task_create("x", timeout_at_ms=bad), "timeout_at_ms"),
        (task_create("x", ttl_ms=bad), "ttl_ms"),
        (acquire("x", bad), "version"),
        (acquire("x", 0, ttl_ms=bad), "ttl_ms"),
        (TaskRelease(id="x", version=bad), "version"),
        (TaskRelease(id="x", version=0, not_before_ms=bad), "not_before_ms"),
        (fulfill("x", bad), "version"),
        (suspend("x", bad, "a"), "version"),
        (fence("x", bad, create("x.1")), "version"),
        (fence("x", 0, create("x.1", timeout_at_ms=bad)), "timeout_at_ms"),
        (heartbeat("p", ("x", bad)), "version"),
        (TaskHalt(id="x", version=bad), "version"),
    ]


@pytest.mark.parametrize("number", [-1, MAX + 1])
def test_numbers_outside_the_protocols_integers_are_refused(number: int) -> None:
    for request, field in with_number(number):
        refusal = validate(request, DEFAULT_PROFILE)

        assert code_of(refusal) == "out_of_range", request
        assert refusal is not None
        assert field in refusal.message
        assert str(MAX) in refusal.message


def test_the_largest_numbers_are_accepted() -> None:
    for request, _ in with_number(MAX):
        assert validate(request, DEFAULT_PROFILE) is None, request


def test_zero_is_accepted_everywhere_but_as_a_ttl() -> None:
    for request, field in with_number(0):
        refusal = validate(request, DEFAULT_PROFILE)

        assert (refusal is not None) == (field == "ttl_ms"), request


def delayed(delay: str, tags: dict[str, str] = TGT) -> PromiseCreate:
    """Create with a delay tag."""
    return create("a", tags | {DELAY: delay})


BIG_TAGS = {f"k{n}": "v" * 4096 for n in range(16)}
MANY_TAGS = {f"k{n}": "v" for n in range(limits.TAGS_MAX + 1)}
SMALL_VALUES = Profile(value_bytes_max=8)
BIG_VALUE = Value(data=b"1234567", headers={"k": "v"})

BAD = {
    "timer and target": Bad(create("a", TMR | TGT), "timer_with_target", TIMER),
    "empty target": Bad(create("a", {TARGET: ""}), "invalid_text", TARGET),
    "target without scheme": Bad(create("a", {TARGET: "w1"}), "invalid_address", TARGET),
    "target with white space": Bad(create("a", {TARGET: "poll://a b"}), "invalid_address", TARGET),
    "target without rest": Bad(create("a", {TARGET: "poll:"}), "invalid_address", TARGET),
    "target too long": Bad(create("a", {TARGET: "a:" + "b" * 1023}), "invalid_text", TARGET),
    "delay not decimal": Bad(delayed("soon"), "invalid_delay", DELAY),
    "delay empty": Bad(delayed(""), "invalid_delay", DELAY),
    "delay negative": Bad(delayed("-1"), "invalid_delay", DELAY),
    "delay signed": Bad(delayed("+1"), "invalid_delay", DELAY),
    "delay fractional": Bad(delayed("1.5"), "invalid_delay", DELAY),
    "delay in other digits": Bad(delayed("\u0661"), "invalid_delay", DELAY),
    "delay with underscore": Bad(delayed("1_0"), "invalid_delay", DELAY),
    "delay beyond integers": Bad(delayed(str(MAX + 1)), "invalid_delay", DELAY),
    "delay of absurd length": Bad(delayed("9" * 5_000), "invalid_delay", DELAY),
    "delay of absurd zeros": Bad(delayed("0" * 5_000), "invalid_delay", DELAY),
    "delay at the deadline": Bad(delayed(str(FAR)), "invalid_delay", "timeout_at_ms"),
    "delay without target": Bad(delayed("5", EXT), "invalid_delay", TARGET),
    "NUL in a tag": Bad(create("a", {"k": "\0"}), "invalid_text", "tags"),
    "NUL in a tag's name": Bad(create("a", {"\0": "v"}), "invalid_text", "tags"),
    "surrogate in a tag": Bad(create("a", {"k": SURROGATE}), "invalid_text", "tags"),
    "surrogate in a tag's name": Bad(create("a", {SURROGATE: "v"}), "invalid_text", "tags"),
    "too many tags": Bad(create("a", MANY_TAGS), "too_many_tags", "64"),
    "tags too large": Bad(create("a", BIG_TAGS), "tags_too_large", "65536"),
    "param too large": Bad(
        PromiseCreate(id="a", timeout_at_ms=1, param=BIG_VALUE),
        "value_too_large",
        "param",
        SMALL_VALUES,
    ),
    "value too large": Bad(
        PromiseSettle(id="a", state=PromiseState.RESOLVED, value=BIG_VALUE),
        "value_too_large",
        "value",
        SMALL_VALUES,
    ),
    "fulfilled value too large": Bad(
        TaskFulfill(
            id="a",
            version=1,
            action=PromiseSettle(id="a", state=PromiseState.RESOLVED, value=BIG_VALUE),
        ),
        "value_too_large",
        "action.value",
        SMALL_VALUES,
    ),
    "surrogate in a header": Bad(
        PromiseSettle(id="a", state=PromiseState.RESOLVED, value=Value(headers={"k": SURROGATE})),
        "invalid_text",
        "value.headers",
    ),
    "settle as timed out": Bad(settle("a", "rejected_timedout"), "invalid_state", "state"),
    "settle as pending": Bad(settle("a", "pending"), "invalid_state", "state"),
    "awaits itself": Bad(callback("a", "a"), "awaits_itself", "awaited"),
    "address without scheme": Bad(listener("a", "nowhere"), "invalid_address", "address"),
    "address with white space": Bad(listener("a", "not a url"), "invalid_address", "address"),
    "address with bad scheme": Bad(listener("a", "1a:b"), "invalid_address", "address"),
    "address with empty scheme": Bad(listener("a", "://x"), "invalid_address", "address"),
    "task without target": Bad(task_create("x", tags=EXT), "target_required", TARGET),
    "task with delay": Bad(task_create("x", tags=TGT | {DELAY: "1"}), "invalid_delay", DELAY),
    "task with timer": Bad(task_create("x", tags=TGT | TMR), "timer_with_target", TIMER),
    "task with bad target": Bad(task_create("x", tags={TARGET: "w"}), "invalid_address", TARGET),
    "fulfil of another": Bad(
        TaskFulfill(id="x", version=1, action=settle("y")), "id_mismatch", "action.id"
    ),
    "fulfil as timed out": Bad(fulfill("x", 1, "rejected_timedout"), "invalid_state", "state"),
    "suspend on nothing": Bad(suspend("x", 1), "empty_suspend", "actions"),
    "suspend on itself": Bad(suspend("x", 1, "x"), "awaits_itself", "awaited"),
    "suspend twice on one": Bad(suspend("x", 1, "a", "b", "a"), "duplicate_awaited", "a"),
    "suspend for another": Bad(
        TaskSuspend(id="x", version=1, actions=(callback("a", "y"),)), "awaiter_mismatch", "awaiter"
    ),
    "fence on itself, create": Bad(fence("x", 1, create("x")), "fences_itself", "action.id"),
    "fence on itself, settle": Bad(fence("x", 1, settle("x")), "fences_itself", "action.id"),
    "halt with a long reason": Bad(TaskHalt(id="x", reason="é" * 513), "reason_too_long", "1024"),
    "halt with NUL": Bad(TaskHalt(id="x", reason="a\0"), "invalid_text", "reason"),
    "halt with a surrogate": Bad(TaskHalt(id="x", reason=SURROGATE), "invalid_text", "reason"),
    "callback across trees": Bad(callback("a.1", "b.1"), "cross_origin", "tree", COMPOSITE),
    "suspend across trees": Bad(suspend("a.1", 1, "a.2", "b"), "cross_origin", "tree", COMPOSITE),
    "origin with a dot": Bad(create("a.b", {ORIGIN: "a.b"}), "invalid_lineage", ORIGIN, STRICT),
    "prefix with a dot": Bad(create("a", {PREFIX: "a.b"}), "invalid_lineage", PREFIX, STRICT),
    "foreign origin": Bad(create("ab", {ORIGIN: "a"}), "invalid_lineage", ORIGIN, STRICT),
    "foreign branch": Bad(create("a.1", {BRANCH: "a.2"}), "invalid_lineage", BRANCH, STRICT),
    "foreign parent": Bad(create("a.1", {PARENT: "b"}), "invalid_lineage", PARENT, STRICT),
    "task with foreign parent": Bad(
        task_create("a", tags=TGT | {PARENT: "b"}), "invalid_lineage", PARENT, STRICT
    ),
    "empty heartbeat": Bad(
        heartbeat("p"), "empty_heartbeat", "tasks", Profile(empty_heartbeat=EmptyHeartbeat.REJECT)
    ),
}


@pytest.mark.parametrize("name", list(BAD))
def test_a_flaw_is_refused_before_existence_and_the_message_names_it(name: str) -> None:
    """The machine is empty, so that any look-up would have answered 404 or 422."""
    bad = BAD[name]
    machine = Machine(bad.profile)

    outcome = machine.do(bad.request, now_ms=10)

    assert status_of(outcome) == 400
    assert code_of(outcome) == bad.code
    assert isinstance(outcome, Refusal)
    assert bad.names in outcome.message


@pytest.mark.parametrize(
    "name",
    ["timer and target", "delay at the deadline", "empty target", "settle as timed out"],
)
def test_a_flaw_is_refused_though_the_promise_exists(name: str) -> None:
    machine = Machine()
    done(machine.do(create("a", EXT), now_ms=0))

    assert status_of(machine.do(BAD[name].request, now_ms=1)) == 400


GOOD: dict[str, tuple[Request, Profile]] = {
    "any scheme as target": (create("a", {TARGET: "local:x"}), DEFAULT_PROFILE),
    "any scheme as listener": (listener("a", "poll://bad"), DEFAULT_PROFILE),
    "scheme with signs": (listener("a", "a+b-c.d1:x"), DEFAULT_PROFILE),
    "delay just before the deadline": (delayed(str(FAR - 1)), DEFAULT_PROFILE),
    "delay in the past": (delayed("0"), DEFAULT_PROFILE),
    "NUL in payload headers": (
        PromiseSettle(id="a", state=PromiseState.REJECTED, value=Value(headers={"k": "\0"})),
        DEFAULT_PROFILE,
    ),
    "timer that is not true": (create("a", TGT | {TIMER: "false"}), DEFAULT_PROFILE),
    "exactly as many tags": (create("a", dict(list(MANY_TAGS.items())[1:])), DEFAULT_PROFILE),
    "exactly as large": (
        PromiseCreate(id="a", timeout_at_ms=1, param=Value(data=b"12345678")),
        SMALL_VALUES,
    ),
    "empty heartbeat": (heartbeat("p"), DEFAULT_PROFILE),
    "empty heartbeat, ok": (heartbeat("p"), Profile(empty_heartbeat=EmptyHeartbeat.OK)),
    "the same ref twice": (heartbeat("p", ("x", 1), ("x", 1)), DEFAULT_PROFILE),
    "cross-origin": (callback("a.1", "b.1"), DEFAULT_PROFILE),
    "cross-origin suspend": (suspend("a.1", 1, "b"), DEFAULT_PROFILE),
    "one tree by colon": (callback("ex:t1", "ex:t2"), COMPOSITE),
    "one tree by dot": (suspend("ghost.3.7", 1, "ghost.1", "ghost"), COMPOSITE),
    "lineage unchecked": (create("x", {ORIGIN: "a.b", PREFIX: "a.b"}), DEFAULT_PROFILE),
    "lineage in order": (
        create("a.1.2", {ORIGIN: "a", BRANCH: "a.1", PARENT: "a.1", PREFIX: "a"}),
        STRICT,
    ),
    "lineage of a root": (create("a", {ORIGIN: "a", BRANCH: "a", PARENT: "a"}), STRICT),
    "halt with the longest reason": (TaskHalt(id="x", reason="é" * 512), DEFAULT_PROFILE),
    "fenced create with broken rules": (fence("x", 1, create("y", TMR | TGT)), DEFAULT_PROFILE),
    "fenced settle with a bad state": (fence("x", 1, settle("y", "pending")), DEFAULT_PROFILE),
    "external that is not true": (create("a", {EXTERNAL: "yes"}), DEFAULT_PROFILE),
}


@pytest.mark.parametrize("name", list(GOOD))
def test_what_the_protocol_admits_passes_the_door(name: str) -> None:
    request, profile = GOOD[name]

    assert validate(request, profile) is None


def test_too_many_awaited_promises_are_refused() -> None:
    action = PromiseRegisterCallback(awaited="a", awaiter="x")
    request = TaskSuspend(id="x", version=1, actions=(action,) * (limits.AWAITED_MAX + 1))

    assert code_of(validate(request, DEFAULT_PROFILE)) == "too_many_awaited"


@pytest.mark.parametrize(
    ("action", "code"),
    [
        (create("x.1", TMR | TGT), "timer_with_target"),
        (create("x.1", {TARGET: ""}), "invalid_text"),
        (create("x.1", {DELAY: "9" * 5_000} | TGT), "invalid_delay"),
        (settle("x.1", "rejected_timedout"), "invalid_state"),
    ],
)
def test_a_fence_answers_broken_rules_of_its_action_inside_after_its_own_guards(
    action: PromiseCreate | PromiseSettle, code: str
) -> None:
    machine = Machine()
    missing = machine.do(fence("x", 1, action), now_ms=0)
    done(machine.do(task_create("x"), now_ms=0))
    stale = machine.do(fence("x", 2, action), now_ms=0)
    before = machine.state

    outcome = done(machine.do(fence("x", 1, action), now_ms=0))

    assert status_of(missing) == 404
    assert status_of(stale) == 409
    assert outcome.status == 200
    assert status_of(outcome.action) == 400
    assert code_of(outcome.action) == code
    assert machine.state == before
