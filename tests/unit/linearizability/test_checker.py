"""The search for an explanation: intervals, silent requests, and what the store does by itself."""

import ast
import inspect
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from tests.linearizability import checker, recording, rules, tree
from tests.linearizability.checker import Settings, check, check_tree
from tests.linearizability.recording import BadRecording, Event, by_origin, event_of
from tests.linearizability.rules import breaches

EXTERNAL = {"resonate:external": "true"}
TARGET = {"resonate:target": "poll://any@w"}
TIMER = {"resonate:timer": "true"}
FAR = 900_000
CREATE_X = {"kind": "promise.create", "data": {"id": "t.x", "timeoutAt": FAR, "tags": TARGET}}


def said(
    kind: str,
    req: Mapping[str, Any],
    status: int | None,
    data: object = "",
    *,
    between: tuple[int, int],
    now: int | None = None,
) -> Event:
    """One request that was open between two milliseconds; without a status nobody answered."""
    envelope = {"kind": kind, "head": {"corrId": "-", "status": status}, "data": data}
    call, answered = between
    return Event(
        kind=kind,
        req=req,
        res=None if status is None else envelope,
        call_ns=call * 1_000_000,
        return_ns=None if status is None else answered * 1_000_000,
        now=now,
    )


def promise(promise_id: str, *, created: int, **fields: Any) -> dict[str, Any]:
    record = {"id": promise_id, "state": "pending", "param": {}, "value": {}, "tags": EXTERNAL}
    return {"promise": record | {"timeoutAt": FAR, "createdAt": created} | fields}


def created(promise_id: str, at: int, *, between: tuple[int, int], **fields: Any) -> Event:
    shown = promise(promise_id, created=at, **fields)["promise"]
    req = {"id": promise_id, "timeoutAt": shown["timeoutAt"], "tags": shown["tags"]}
    return said("promise.create", req, 200, {"promise": shown}, between=between)


def task(state: str, version: int, **fields: Any) -> dict[str, Any]:
    return {"task": {"id": "t.x", "state": state, "version": version, "resumes": 0} | fields}


def task_created(at: int, *, ttl: int, between: tuple[int, int]) -> Event:
    data = task("acquired", 1, ttl=ttl, pid="p") | promise("t.x", created=at, tags=TARGET)
    req = {"pid": "p", "ttl": ttl, "action": CREATE_X}
    return said("task.create", req, 200, data, between=between)


def suspended(*awaited: str, between: tuple[int, int], status: int = 200) -> Event:
    actions = [{"data": {"awaited": name, "awaiter": "t.x"}} for name in awaited]
    req = {"id": "t.x", "version": 1, "actions": actions}
    return said("task.suspend", req, status, {}, between=between)


def settled(promise_id: str, *, between: tuple[int, int], at: int, created_at: int = 1) -> Event:
    shown = promise(promise_id, created=created_at, state="resolved", settledAt=at)
    req = {"id": promise_id, "state": "resolved"}
    return said("promise.settle", req, 200, shown, between=between)


def got_task(state: str, version: int, *, between: tuple[int, int], **fields: Any) -> Event:
    return said("task.get", {"id": "t.x"}, 200, task(state, version, **fields), between=between)


def is_explained(*events: Event, **settings: Any) -> bool | None:
    return check_tree("t", events, Settings(**{"slack_ms": 0} | settings)).linearizable


def test_requests_that_overlap_may_have_happened_in_either_order() -> None:
    get = {"id": "t.a"}
    create = created("t.a", 5, between=(1, 10))

    early = said("promise.get", get, 404, between=(2, 9))
    late = said("promise.get", get, 200, promise("t.a", created=5), between=(2, 9))

    assert is_explained(create, early)
    assert is_explained(create, late)


def test_a_request_that_was_called_behind_the_return_of_another_comes_after_it() -> None:
    create = created("t.a", 5, between=(1, 10))

    late = said("promise.get", {"id": "t.a"}, 404, between=(11, 12))

    assert is_explained(create, late) is False


def test_a_request_without_an_answer_may_have_happened_or_not_and_at_any_time() -> None:
    silent = said(
        "promise.create", {"id": "t.a", "timeoutAt": FAR, "tags": EXTERNAL}, None, between=(1, 0)
    )
    absent = said("promise.get", {"id": "t.a"}, 404, between=(100, 101))
    there = said("promise.get", {"id": "t.a"}, 200, promise("t.a", created=150), between=(200, 201))

    assert is_explained(silent, absent)
    assert is_explained(silent, absent, there)
    assert is_explained(absent, there) is False, "nobody made it"


def test_a_request_without_an_answer_happens_once_at_most() -> None:
    halt = said("task.halt", {"id": "t.x"}, None, between=(4, 0))
    resume = {"id": "t.x"}
    begin = task_created(1, ttl=FAR, between=(1, 2))

    one = said("task.continue", resume, 200, {}, between=(6, 7))
    other = said("task.continue", resume, 200, {}, between=(8, 9))

    assert is_explained(begin, halt, one)
    assert is_explained(begin, halt, one, other) is False


def test_a_server_error_is_as_good_as_no_answer() -> None:
    broken = said(
        "promise.create", {"id": "t.a", "timeoutAt": FAR, "tags": EXTERNAL}, 503, between=(1, 2)
    )
    there = said("promise.get", {"id": "t.a"}, 200, promise("t.a", created=50), between=(49, 51))

    assert is_explained(broken)
    assert is_explained(broken, there)


def test_a_lease_may_expire_once_it_has_run_out_and_need_not_at_once() -> None:
    begin = task_created(10, ttl=100, between=(10, 10))

    early = got_task("pending", 1, between=(105, 109))
    lapsed = got_task("pending", 1, between=(110, 112))
    lazy = got_task("acquired", 1, between=(300, 310), ttl=100, pid="p")

    assert is_explained(begin, early) is False
    assert is_explained(begin, lapsed)
    assert is_explained(begin, lazy)


def test_a_heartbeat_moves_the_end_of_a_lease() -> None:
    begin = task_created(10, ttl=100, between=(10, 10))
    beat = {"pid": "p", "tasks": [{"id": "t.x", "version": 1}]}
    heartbeat = said("task.heartbeat", beat, 200, {}, between=(60, 61))

    expired = got_task("pending", 1, between=(150, 155))

    assert is_explained(begin, expired)
    assert is_explained(begin, heartbeat, expired) is False


def test_a_wake_up_may_be_late_but_not_for_ever() -> None:
    begin = [created("t.a", 1, between=(1, 2)), task_created(3, ttl=FAR, between=(3, 3))]
    events = [*begin, suspended("t.a", between=(5, 6)), settled("t.a", between=(10, 11), at=10)]

    woken = got_task("pending", 1, between=(12, 13), resumes=1)
    asleep = got_task("suspended", 1, between=(500, 501))

    assert is_explained(*events, woken)
    assert is_explained(*events, asleep, patience_ms=None)
    assert is_explained(*events, asleep, patience_ms=100) is False


def test_nothing_wakes_a_task_whose_promises_are_pending() -> None:
    begin = [created("t.a", 1, between=(1, 2)), task_created(3, ttl=FAR, between=(3, 3))]

    woken = got_task("pending", 1, between=(12, 13), resumes=1)

    assert is_explained(*begin, suspended("t.a", between=(5, 6)), woken) is False


def test_a_suspend_is_redirected_exactly_when_an_awaited_promise_is_settled() -> None:
    begin = [created("t.a", 1, between=(1, 2)), task_created(3, ttl=FAR, between=(3, 3))]
    settle = settled("t.a", between=(10, 20), at=15)

    for status in (200, 300):
        assert is_explained(*begin, settle, suspended("t.a", between=(12, 18), status=status))
    assert is_explained(*begin, settle, suspended("t.a", between=(21, 22))) is False


def test_a_timer_fires_at_its_deadline_and_wakes_whoever_waits() -> None:
    begin = [
        created("t.s", 1, between=(1, 2), tags=TIMER, timeoutAt=50),
        task_created(3, ttl=FAR, between=(3, 3)),
        suspended("t.s", between=(5, 6)),
    ]

    early = got_task("pending", 1, between=(48, 49), resumes=1)
    woken = got_task("pending", 1, between=(48, 51), resumes=1)

    assert is_explained(*begin, early) is False
    assert is_explained(*begin, woken)


def test_an_awaiter_behind_its_own_deadline_is_fulfilled_and_not_pending() -> None:
    data = {"id": "t.x", "timeoutAt": 60, "tags": TARGET}
    shown = promise("t.x", created=3, tags=TARGET, timeoutAt=60) | task(
        "acquired", 1, ttl=FAR, pid="p"
    )
    begin = [
        created("t.a", 1, between=(1, 2)),
        said(
            "task.create",
            {"pid": "p", "ttl": FAR, "action": {"kind": "promise.create", "data": data}},
            200,
            shown,
            between=(3, 3),
        ),
        suspended("t.a", between=(5, 6)),
        settled("t.a", between=(70, 71), at=70),
    ]

    assert is_explained(*begin, got_task("fulfilled", 1, between=(80, 81)))
    assert is_explained(*begin, got_task("pending", 1, between=(80, 81), resumes=1)) is False


def test_the_instant_of_a_request_lies_in_its_interval_and_never_before_the_last_one() -> None:
    deadline = {"timeoutAt": 50}
    begin = created("t.a", 1, between=(1, 2), **deadline)
    timed_out = promise("t.a", created=1, state="rejected_timedout", settledAt=50, **deadline)
    get = {"id": "t.a"}

    dead = said("promise.get", get, 200, timed_out, between=(45, 55))
    live = said("promise.get", get, 200, promise("t.a", created=1, **deadline), between=(46, 54))
    late = said("promise.get", get, 200, promise("t.a", created=1, **deadline), between=(56, 60))

    assert is_explained(begin, dead, live), "the live one first, before the deadline"
    assert is_explained(begin, dead, late) is False


def test_an_instant_that_the_recording_gives_is_taken_for_granted() -> None:
    timed_out = promise("t.a", created=1, state="rejected_timedout", settledAt=50, timeoutAt=50)
    begin = created("t.a", 1, between=(1, 2), timeoutAt=50)
    get = {"id": "t.a"}

    assert is_explained(begin, said("promise.get", get, 200, timed_out, between=(3, 4), now=50))
    early = said("promise.get", get, 200, timed_out, between=(3, 4), now=49)
    assert is_explained(begin, early) is False


def test_two_holders_of_one_version_are_refuted_however_they_overlap() -> None:
    shown = promise("t.x", created=1, tags=TARGET)
    begin = created("t.x", 1, between=(1, 2), tags=TARGET)
    acquires = [
        said(
            "task.acquire",
            {"id": "t.x", "version": 0, "pid": pid, "ttl": FAR},
            200,
            task("acquired", 1, ttl=FAR, pid=pid) | shown,
            between=(3, 9),
        )
        for pid in ("p", "q")
    ]

    assert is_explained(begin, acquires[0])
    assert is_explained(begin, *acquires) is False
    assert [breach.rule for breach in breaches([begin, *acquires])] == ["B4"]


def test_trees_are_judged_one_by_one_and_requests_across_trees_not_at_all() -> None:
    fine = created("a.p", 5, between=(1, 10))
    lost = said("promise.get", {"id": "b.p"}, 200, promise("b.p", created=1), between=(1, 2))
    across = said(
        "promise.register_callback", {"awaited": "a.p", "awaiter": "b.x"}, 404, between=(1, 2)
    )

    assert {v.origin: v.linearizable for v in check([fine, lost])} == {"a": True, "b": False}
    with pytest.raises(BadRecording):
        by_origin([across])


def test_a_search_that_grows_beyond_its_bound_is_undecided() -> None:
    events = [created(f"t.{n}", 5, between=(1, 10)) for n in range(8)]
    wrong = said("promise.get", {"id": "t.z"}, 200, promise("t.z", created=1), between=(1, 10))

    assert is_explained(*events, wrong, configurations_max=10) is None


def test_a_refutation_says_what_would_have_been_right() -> None:
    create = created("t.a", 5, between=(1, 10))
    lost = said("promise.get", {"id": "t.a"}, 404, between=(11, 12))

    verdict = check_tree("t", [create, lost])

    assert "promise.get {'id': 't.a'}" in str(verdict)
    assert "status=404" in str(verdict)
    assert "status=200" in str(verdict)


def test_the_checker_shares_nothing_with_what_it_judges() -> None:
    """Neither the rules nor the search may repeat a mistake of the product by importing it."""
    imported: set[str] = set()
    for module in (tree, recording, checker, rules):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.ImportFrom):
                imported.add(node.module or "")
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}

    roots = {name.partition(".")[0] for name in imported}
    assert roots <= {*sys.stdlib_module_names, "tests"}
    assert {name for name in imported if name.startswith("tests.")} <= {
        f"tests.linearizability.{name}" for name in ("tree", "recording", "checker")
    }


def test_kinds_that_no_rule_covers_are_refused() -> None:
    with pytest.raises(BadRecording):
        event_of({"kind": "schedule.create", "req": {}, "call": 1, "return": 2})
