"""Each knob of the operating profile, from its setting to what callers get (§0.4)."""

from collections.abc import Sequence
from typing import Any

import pytest

from holdfast_chassis.settings import load
from holdfast_store.settings import StoreSettings
from tests.integration.debug.conftest import serving
from tests.traces.store_player import StorePlayer
from tests.traces.traces import Json

TARGET = {"resonate:target": "poll://any@g"}
FAR = 900_000
Ask = tuple[str, Json]


def create(promise_id: str, **tags: str) -> Ask:
    named = {f"resonate:{name}": text for name, text in tags.items()}
    return "promise.create", {"id": promise_id, "timeoutAt": FAR, "tags": named}


def run(promise_id: str, ttl: int = 100) -> Ask:
    made = {"id": promise_id, "timeoutAt": FAR, "tags": TARGET}
    return "task.create", {"pid": "w", "ttl": ttl, "action": {"data": made}}


def listen(promise_id: str) -> Ask:
    address = "poll://uni@h/x"
    return "promise.register_listener", {"awaited": promise_id, "address": address}


def call_back(awaited: str, awaiter: str) -> Ask:
    return "promise.register_callback", {"awaited": awaited, "awaiter": awaiter}


def suspend(task_id: str, awaited: str) -> Ask:
    action = {"data": {"awaited": awaited, "awaiter": task_id}}
    return "task.suspend", {"id": task_id, "version": 1, "actions": [action]}


BEAT: Ask = ("task.heartbeat", {"pid": "w", "tasks": []})


def knobs(**values: str) -> StoreSettings:
    environ = {f"HOLDFAST_STORE_{name.upper()}": value for name, value in values.items()}
    return load(StoreSettings, service="STORE", environ=environ)


async def statuses(settings: StoreSettings, *asks: Ask) -> list[int]:
    """Ask a store that runs with these settings, all at the same instant."""
    profile = settings.profile()
    async with serving("memory:", profile=profile) as store, StorePlayer(store.url) as player:
        return [(await player.handle(kind, data, at=1_000))[0] for kind, data in asks]


INTERNAL = [create("p"), create("t", target="poll://any@g"), listen("p"), call_back("p", "t")]
AWAITS = [
    run("x.t"),
    create("y.p", external="true"),
    call_back("y.p", "x.t"),
    suspend("x.t", "y.p"),
]
WITHIN = [
    run("x.t"),
    create("x.p", external="true"),
    call_back("x.p", "x.t"),
    suspend("x.t", "x.p"),
]
LOCAL = [create("p", scope="local"), listen("p")]
GLOBAL = [create("p", scope="global"), listen("p")]
LINEAGE = [
    *(create("a.1", origin="a"), create("b", origin="a"), create("c.d.1", origin="c.d")),
    *(create("e.f.2", branch="e.f", parent="e"), create("g", branch="h"), create("i", parent="j")),
    *(create("k", prefix="k"), create("l", prefix="l.m")),
]
SEARCHES: list[Ask] = [("promise.search", {}), ("task.search", {})]


@pytest.mark.parametrize(
    ("knob", "value", "asks", "expected"),
    [
        ("await_internal", None, INTERNAL, [200, 200, 422, 422]),
        ("await_internal", "reject", INTERNAL, [200, 200, 422, 422]),
        ("await_internal", "allow", INTERNAL, [200, 200, 200, 200]),
        ("scope_external", None, LOCAL + GLOBAL, [200, 200, 200, 200]),
        ("scope_external", "any", LOCAL, [200, 200]),
        ("scope_external", "global", LOCAL, [200, 422]),
        ("scope_external", "global", GLOBAL, [200, 200]),
        ("scope_external", "off", GLOBAL, [200, 422]),
        ("origin_check", None, AWAITS, [200, 200, 200, 200]),
        ("origin_check", "composite", AWAITS, [200, 200, 400, 400]),
        ("origin_check", "composite", WITHIN, [200, 200, 200, 200]),
        ("lineage_tags", None, LINEAGE, [200] * 8),
        ("lineage_tags", "strict", LINEAGE, [200, 400, 400, 200, 400, 400, 200, 400]),
        ("empty_heartbeat", None, [BEAT], [200]),
        ("empty_heartbeat", "ok", [BEAT], [200]),
        ("empty_heartbeat", "reject", [BEAT], [400]),
        ("search", None, SEARCHES, [200, 200]),
        ("search", "501", SEARCHES, [501, 501]),
    ],
)
async def test_a_knob_decides_what_is_refused(
    knob: str, value: str | None, asks: Sequence[Ask], expected: list[int]
) -> None:
    settings = knobs() if value is None else knobs(**{knob: value})

    assert await statuses(settings, *asks) == expected


async def state_after(settings: StoreSettings, *steps: tuple[int, Ask]) -> Any:
    profile = settings.profile()
    async with serving("memory:", profile=profile) as store, StorePlayer(store.url) as player:
        for at, (kind, data) in steps:
            status, answer = await player.handle(kind, data, at=at)
            assert status == 200, answer
        return await player.admin.debug_snap()


async def test_a_promise_that_may_be_awaited_has_a_deadline_that_fires() -> None:
    """Nothing may wait on a deadline that cannot fire (§2.5)."""
    state = await state_after(knobs(await_internal="allow"), *((1_000, ask) for ask in INTERNAL))

    assert state.promise_timeouts == {"p": FAR, "t": FAR}


@pytest.mark.parametrize(("value", "lease"), [(None, 1_150), ("refresh-pid", 1_150), ("ok", 1_100)])
async def test_an_empty_heartbeat_extends_what_its_process_holds(
    value: str | None, lease: int
) -> None:
    settings = knobs() if value is None else knobs(empty_heartbeat=value)

    state = await state_after(settings, (1_000, run("t")), (1_050, BEAT))

    assert state.task_leases == {"t": lease}


@pytest.mark.parametrize(("value", "waits"), [(None, True), ("hold", True), ("drop", False)])
async def test_a_message_without_a_taker_waits_or_comes_again(
    value: str | None, *, waits: bool
) -> None:
    named = {} if value is None else {"undeliverable": value}
    made = (1_000, create("t", target="poll://any@g"))

    state = await state_after(knobs(retry_interval_ms="7000", **named), made)

    message = ("poll://any@g", "t", 0)
    assert state.executes == ({message} if waits else set())
    assert state.task_retries == {"t": 8_000}


@pytest.mark.parametrize(("value", "paced_ms"), [(None, 100), ("250", 250), ("0", 0)])
async def test_a_task_that_is_given_back_is_not_dispatched_at_once(
    value: str | None, paced_ms: int
) -> None:
    settings = knobs() if value is None else knobs(pacing_ms=value)
    released = [
        (1_000, run("t")),
        (1_001, ("task.release", {"id": "t", "version": 1})),
    ]
    due = 1_001 + paced_ms

    soon = await state_after(settings, *released, (due - 1, ("debug.tick", {"time": due - 1})))
    then = await state_after(settings, *released, (due, ("debug.tick", {"time": due})))

    assert bool(soon.executes) is (paced_ms == 0)
    assert then.executes == {("poll://any@g", "t", 1)}


async def test_an_unanswered_message_is_sent_again_after_the_retry_interval() -> None:
    settings = knobs(undeliverable="drop", retry_interval_ms="7000")
    made = (1_000, create("t", target="poll://any@g"))

    first = await state_after(settings, made, (7_999, ("debug.tick", {"time": 7_999})))
    second = await state_after(settings, made, (8_000, ("debug.tick", {"time": 8_000})))

    assert first.task_retries == {"t": 8_000}
    assert second.task_retries == {"t": 15_000}
