"""Answers in brief say as much as full ones, to whoever knows what it asked for."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from holdfast.core.decide import decide_chain
from holdfast.core.profile import DEFAULT_PROFILE
from holdfast.core.records import EMPTY, Promise, PromiseState, Task, TaskState, Value
from holdfast.core.requests import (
    Done,
    Outcome,
    PromiseCreate,
    PromiseGet,
    PromiseRecord,
    PromiseRegisterListener,
    PromiseSettle,
    Request,
    TaskCreate,
    TaskFence,
    TaskFulfill,
)
from holdfast.core.working_set import WorkingSet
from holdfast.rpc.answers import outcomes_of
from holdfast.v1.workers_pb2 import ConnectResponse, OperationResult
from holdfast_store.rpc.answers import answer_bytes

NOW_MS = 1_000
TARGET = {"resonate:target": "poll://any@g"}
EXTERNAL = {"resonate:external": "true"}

ids = st.sampled_from(["a", "b", "c"])
values = st.sampled_from([EMPTY, Value(data=b"1"), Value(data=b"2"), Value(headers={"h": "1"})])
states = st.sampled_from([PromiseState.RESOLVED, PromiseState.REJECTED])
creates = st.builds(
    PromiseCreate,
    id=ids,
    timeout_at_ms=st.sampled_from([900, 2_000]),  # one is over already
    param=values,
    tags=st.sampled_from([{}, EXTERNAL, TARGET]),
)
settles = st.builds(PromiseSettle, id=ids, state=states, value=values)
records = st.builds(PromiseRecord, create=creates, state=states, value=values)
requests: st.SearchStrategy[Request] = st.one_of(
    creates,
    settles,
    st.builds(PromiseGet, id=ids),
    st.builds(PromiseRegisterListener, awaited=ids, address=st.just("poll://uni@g/p")),
    st.builds(
        TaskCreate,
        pid=st.just("p"),
        ttl_ms=st.just(9),
        action=creates.map(lambda create: replace(create, tags=TARGET)),
    ),
    st.builds(TaskFence, id=st.just("t"), version=st.just(1), action=creates | settles | records),
    st.just(
        TaskFulfill(id="t", version=1, action=PromiseSettle(id="t", state=PromiseState.RESOLVED))
    ),
)


@settings(deadline=None, max_examples=400)
@given(chain=st.lists(requests, min_size=1, max_size=6), was_there=st.booleans())
def test_a_brief_answer_reads_as_a_full_one(chain: list[Request], *, was_there: bool) -> None:
    outcomes = decided(chain, was_there=was_there)

    brief = read(answer_bytes(1, outcomes, chain), chain)
    full = read(answer_bytes(1, outcomes), chain)

    assert brief == full


def test_a_step_and_a_call_are_answered_by_instants_alone() -> None:
    step = PromiseRecord(
        create=PromiseCreate(id="a", timeout_at_ms=2_000, tags={"k": "v"}),
        state=PromiseState.RESOLVED,
        value=Value(data=b"1"),
    )
    call = PromiseCreate(id="b", timeout_at_ms=2_000, tags=TARGET)
    chain: list[Request] = [
        TaskFence(id="t", version=1, action=step, skip_preload=True),
        call,
        PromiseRegisterListener(awaited="b", address="poll://uni@g/p"),
    ]

    fence, made, heard = results(answer_bytes(1, decided(chain), chain))

    assert not fence.action.HasField("promise")
    assert fence.action.as_asked_at_ms == made.as_asked_at_ms == NOW_MS
    assert not made.HasField("promise")
    assert not heard.HasField("promise")


def test_what_went_otherwise_is_told_in_full() -> None:
    chain: list[Request] = [
        PromiseSettle(id="b", state=PromiseState.RESOLVED, value=Value(data=b"2")),
        PromiseCreate(id="b", timeout_at_ms=2_000),
        TaskFulfill(id="t", version=1, action=PromiseSettle(id="t", state=PromiseState.RESOLVED)),
    ]

    answered = results(answer_bytes(1, decided(chain, was_there=True), chain))

    assert [result.HasField("promise") for result in answered] == [True, True, True]


AS_ASKED: dict[str, object] = {}


@pytest.mark.parametrize(
    "otherwise",
    [
        AS_ASKED,
        {"param": Value(data=b"other")},
        {"value": Value(data=b"other")},
        {"tags": {"k": "other"}},
        {"timeout_at_ms": 2_001},
        {"created_at_ms": 6},
        {"state": PromiseState.REJECTED},
    ],
)
def test_a_promise_that_differs_in_one_thing_is_told_in_full(otherwise: dict[str, object]) -> None:
    asked = PromiseRecord(
        create=PromiseCreate(
            id="b", timeout_at_ms=2_000, param=Value(data=b"p"), tags={"k": "asked"}
        ),
        state=PromiseState.RESOLVED,
        value=Value(data=b"v"),
    )
    found = Promise(
        id="b",
        state=asked.state,
        param=asked.create.param,
        value=asked.value,
        tags=asked.create.tags,
        timeout_at_ms=asked.create.timeout_at_ms,
        created_at_ms=7,
        settled_at_ms=7,
    )
    chain = [TaskFence(id="t", version=1, action=asked)]
    outcome = Done(action=Done(promise=replace(found, **otherwise)))

    (result,) = results(answer_bytes(1, [outcome], chain))

    assert result.action.HasField("promise") == (otherwise is not AS_ASKED)


def test_who_did_not_ask_for_brief_answers_gets_full_ones() -> None:
    chain: list[Request] = [PromiseCreate(id="a", timeout_at_ms=2_000)]

    (result,) = results(answer_bytes(1, decided(chain)))

    assert result.promise.id == "a"
    assert not result.HasField("as_asked_at_ms")


def decided(chain: Sequence[Request], *, was_there: bool = False) -> list[Outcome]:
    """Carry out a chain where task `t` is held, and `b` perhaps settled already."""
    root = Promise(id="t", tags=TARGET, timeout_at_ms=2_000, created_at_ms=1, armed=True)
    task = Task(id="t", state=TaskState.ACQUIRED, version=1, target="poll://any@g")
    settled = Promise(
        id="b", state=PromiseState.RESOLVED, timeout_at_ms=2_000, created_at_ms=1, settled_at_ms=2
    )
    ws = WorkingSet(promises=[root, *([settled] if was_there else [])], tasks=[task])
    return decide_chain(ws, chain, now_ms=NOW_MS, profile=DEFAULT_PROFILE)


def results(data: bytes) -> Sequence[OperationResult]:
    (result,) = ConnectResponse.FromString(data).results
    return result.results


def read(data: bytes, chain: Sequence[Request]) -> list[object]:
    """Read an answer as a member does; of a task, what the wire carries."""
    (result,) = ConnectResponse.FromString(data).results
    return [
        (outcome.status, outcome.promise, outcome.created, outcome.action, outcome.task)
        if isinstance(outcome, Done)
        else outcome
        for outcome in outcomes_of(result.results, chain)
    ]
