"""What one end writes, the other end reads: every operation and every answer, both ways."""

from collections.abc import Mapping

import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core import requests
from holdfast.core.limits import INTEGER_MAX
from holdfast.core.membership import DeliveryMode, Member, TaskOffer, TaskPush
from holdfast.core.records import (
    Preload,
    Promise,
    PromiseState,
    ReleaseReason,
    Schedule,
    Task,
    TaskState,
    Value,
    WaitMode,
)
from holdfast.core.requests import SKIPPED, Done, Outcome, Refusal, Request
from holdfast.rpc import answers as client_answers
from holdfast.rpc import requests as client_requests
from holdfast.v1 import workers_pb2 as pb
from holdfast_store.rpc import answers
from holdfast_store.rpc import requests as store_requests
from holdfast_store.rpc.answers import MESSAGE_BYTES_MAX

texts = st.text(st.characters(codec="utf-8"), max_size=20)
mappings: st.SearchStrategy[Mapping[str, str]] = st.dictionaries(texts, texts, max_size=4)
integers = st.integers(0, INTEGER_MAX)
values = st.builds(Value, data=st.none() | st.binary(max_size=30), headers=st.none() | mappings)
creates = st.builds(
    requests.PromiseCreate, id=texts, timeout_at_ms=integers, param=values, tags=mappings
)
settles = st.builds(
    requests.PromiseSettle, id=texts, state=st.sampled_from(PromiseState), value=values
)
records = st.builds(
    requests.PromiseRecord, create=creates, state=st.sampled_from(PromiseState), value=values
)
callbacks = st.builds(requests.PromiseRegisterCallback, awaited=texts, awaiter=texts)
refs = st.builds(requests.TaskRef, id=texts, version=integers)
operations: dict[type[Request], st.SearchStrategy[Request]] = {
    requests.PromiseGet: st.builds(requests.PromiseGet, id=texts),
    requests.PromiseCreate: creates,
    requests.PromiseSettle: settles,
    requests.PromiseRegisterCallback: callbacks,
    requests.PromiseRegisterListener: st.builds(
        requests.PromiseRegisterListener, awaited=texts, address=texts
    ),
    requests.TaskGet: st.builds(requests.TaskGet, id=texts),
    requests.TaskCreate: st.builds(
        requests.TaskCreate,
        pid=texts,
        ttl_ms=integers,
        action=creates,
        skip_preload=st.booleans(),
        instance=st.none(),
    ),
    requests.TaskAcquire: st.builds(
        requests.TaskAcquire,
        id=texts,
        version=integers,
        pid=texts,
        ttl_ms=integers,
        skip_preload=st.booleans(),
        instance=st.none(),
    ),
    requests.TaskRelease: st.builds(
        requests.TaskRelease,
        id=texts,
        version=integers,
        not_before_ms=st.none() | integers,
        reason=st.none() | st.sampled_from(ReleaseReason),
    ),
    requests.TaskFulfill: st.builds(
        requests.TaskFulfill, id=texts, version=integers, action=settles
    ),
    requests.TaskSuspend: st.builds(
        requests.TaskSuspend,
        id=texts,
        version=integers,
        actions=st.lists(callbacks, max_size=3).map(tuple),
        wait_mode=st.sampled_from(WaitMode),
    ),
    requests.TaskFence: st.builds(
        requests.TaskFence,
        id=texts,
        version=integers,
        action=creates | settles | records,
        skip_preload=st.booleans(),
        required=st.booleans(),
    ),
    requests.TaskHeartbeat: st.builds(
        requests.TaskHeartbeat, pid=texts, tasks=st.lists(refs, max_size=3).map(tuple)
    ),
    requests.TaskHalt: st.builds(
        requests.TaskHalt,
        id=texts,
        reason=st.none() | texts.filter(bool),
        version=st.none() | integers,
    ),
    requests.TaskContinue: st.builds(requests.TaskContinue, id=texts),
    requests.ScheduleGet: st.builds(requests.ScheduleGet, id=texts),
    requests.ScheduleCreate: st.builds(
        requests.ScheduleCreate,
        id=texts,
        cron=texts,
        promise_id=texts,
        promise_timeout_ms=integers,
        promise_param=values,
        promise_tags=mappings,
        paused=st.booleans(),
        time_zone=texts,
    ),
    requests.ScheduleDelete: st.builds(requests.ScheduleDelete, id=texts),
    requests.SchedulePause: st.builds(requests.SchedulePause, id=texts, paused=st.booleans()),
}

promises = st.builds(
    Promise,
    id=texts,
    state=st.sampled_from(PromiseState),
    param=values,
    value=values,
    tags=mappings,
    timeout_at_ms=integers,
    created_at_ms=integers,
    settled_at_ms=st.none() | integers,
    armed=st.none().map(bool),  # false: the store's business, not on the wire
)
tasks = st.builds(
    Task,
    id=texts,
    state=st.sampled_from(TaskState),
    version=integers,
    resumes=st.frozensets(texts, max_size=3),
    ttl_ms=st.none() | integers,
    pid=st.none() | texts,
    target=st.just(""),
)
schedules = st.builds(
    Schedule,
    id=texts,
    cron=texts,
    promise_id=texts,
    promise_timeout_ms=integers,
    promise_param=values,
    promise_tags=mappings,
    created_at_ms=integers,
    next_run_at_ms=integers,
    last_run_at_ms=st.none() | integers,
    paused=st.booleans(),
    time_zone=texts,
)
preloads = st.builds(
    Preload, promises=st.lists(promises, max_size=2).map(tuple), complete=st.booleans()
)
refusals = st.builds(
    Refusal, status=st.sampled_from([400, 404, 409, 422, 429, 500, 503]), code=texts, message=texts
)
inner = st.builds(Done, promise=promises, created=st.booleans())
dones = st.builds(
    Done,
    status=st.sampled_from([200, 300]),
    promise=st.none() | promises,
    task=st.none() | tasks,
    created=st.booleans(),
    preload=st.none() | preloads,
    schedule=st.none() | schedules,
)
fences = st.builds(Done, action=inner | refusals, preload=st.none() | preloads)
outcomes: st.SearchStrategy[Outcome] = dones | fences | refusals | st.just(SKIPPED)

ANY_REQUEST = requests.PromiseGet(id="a")
"""Only an answer in brief is read with its request in hand."""


def test_every_operation_of_the_core_has_a_message() -> None:
    assert set(operations) == set(Request.__args__)


@pytest.mark.parametrize("kind", operations, ids=lambda kind: kind.__name__)
def test_a_request_arrives_as_it_was_sent(kind: type[Request]) -> None:
    @settings(deadline=None, max_examples=40)
    @given(chain=st.lists(operations[kind], min_size=1, max_size=3))
    def check(chain: list[Request]) -> None:
        message = pb.ConnectRequest()
        client_requests.write_chain(message, chain, correlation_id=7)
        (received,) = pb.ConnectRequest.FromString(message.SerializeToString()).chains

        arrived, flaw = store_requests.chain_of(received.operations)

        assert received.correlation_id == 7
        assert (arrived, flaw) == (chain, None)

    check()


@settings(deadline=None, max_examples=150)
@given(sent=st.lists(outcomes, min_size=1, max_size=4))
def test_an_outcome_arrives_as_it_was_answered(sent: list[Outcome]) -> None:
    data = answers.answer_bytes(7, sent)

    (result,) = pb.ConnectResponse.FromString(data).results
    arrived = client_answers.outcomes_of(result.results, [ANY_REQUEST] * len(sent))

    assert result.correlation_id == 7
    assert [_visible(outcome) for outcome in arrived] == [_visible(outcome) for outcome in sent]


@settings(deadline=None, max_examples=50)
@given(promise=promises, task=tasks, preload=preloads)
def test_a_task_arrives_as_it_was_pushed(promise: Promise, task: Task, preload: Preload) -> None:
    data = answers.push_bytes(TaskPush(task=task, promise=promise, preload=preload))

    (message,) = pb.ConnectResponse.FromString(data).tasks
    push = client_answers.push_of(message)

    assert (push.promise, push.preload) == (promise, preload)
    assert _visible_task(push.task) == _visible_task(task)


def test_the_target_of_a_task_is_read_from_its_promise() -> None:
    promise = Promise(
        id="a", timeout_at_ms=1, created_at_ms=0, tags={"resonate:target": "poll://any@g"}
    )
    task = Task(id="a", target="poll://any@g")

    data = answers.answer_bytes(1, [Done(task=task, promise=promise)])
    (result,) = pb.ConnectResponse.FromString(data).results
    (done,) = client_answers.outcomes_of(result.results, [ANY_REQUEST])

    assert isinstance(done, Done)
    assert done.task == task


def test_an_offer_and_a_settled_promise_arrive() -> None:
    promise = Promise(id="p", timeout_at_ms=1, created_at_ms=0, settled_at_ms=0)
    joined = answers.offer_bytes(TaskOffer(id="a", version=3)) + answers.settled_bytes(promise)

    message = pb.ConnectResponse.FromString(joined)

    assert client_answers.offer_of(message.offers[0]) == TaskOffer(id="a", version=3)
    assert client_answers.promise_of(message.settled[0]) == promise


def test_pieces_joined_byte_by_byte_are_one_message() -> None:
    """The writer of a stream relies on it."""
    pieces = [
        answers.answer_bytes(1, [SKIPPED]),
        answers.answer_bytes(2, [Refusal(status=404, code="c", message="m")]),
        answers.offer_bytes(TaskOffer(id="a", version=0)),
    ]

    message = pb.ConnectResponse.FromString(b"".join(pieces))

    assert [result.correlation_id for result in message.results] == [1, 2]
    assert len(message.offers) == 1


@settings(deadline=None, max_examples=50)
@given(
    member=st.builds(
        Member,
        pid=texts,
        instance=texts,
        groups=st.lists(texts, max_size=3).map(tuple),
        credits=st.integers(0, 2**31 - 1),
        lease_ttl_ms=integers,
        delivery_mode=st.sampled_from(DeliveryMode),
        functions=st.none() | st.frozensets(texts, max_size=3),
    )
)
def test_a_member_is_introduced_as_it_is(member: Member) -> None:
    message = pb.ConnectRequest()
    client_requests.write_hello(message, member)

    received = pb.ConnectRequest.FromString(message.SerializeToString())

    assert store_requests.member_of(received.hello) == member


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ("", "unknown_operation"),
        ("task_fence { id: 'a' version: 1 }", "action_required"),
        ("task_release { id: 'a' reason: 99 }", "invalid_reason"),
        ("task_suspend { id: 'a' wait_mode: 99 }", "invalid_wait_mode"),
    ],
)
def test_a_malformed_operation_ends_its_chain_with_a_sentence(operation: str, code: str) -> None:
    good = parsed("promise_get { id: 'a' }")

    chain, flaw = store_requests.chain_of([good, parsed(operation), good])

    assert chain == [requests.PromiseGet(id="a")]
    assert flaw is not None
    assert (flaw.status, flaw.code) == (400, code)
    assert " must " in flaw.message


def test_an_unknown_delivery_mode_is_refused() -> None:
    with pytest.raises(store_requests.Malformed, match="delivery_mode must be known, it is 9"):
        store_requests.member_of(text_format.Parse("delivery_mode: 9", pb.Hello()))


@pytest.mark.parametrize("number", [0, 99])
def test_a_settlement_without_a_known_state_is_left_to_the_rules(number: int) -> None:
    """They refuse it as 400, inside a fence as the inner answer."""
    operation = f"promise_settle {{ id: 'a' state: {number} }}"

    chain, flaw = store_requests.chain_of([parsed(operation)])

    assert flaw is None
    assert chain == [requests.PromiseSettle(id="a", state=PromiseState.PENDING)]


def test_a_lone_surrogate_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        client_requests.write_chain(
            pb.ConnectRequest(), [requests.PromiseGet(id="\ud800")], correlation_id=1
        )


def test_preloads_are_dropped_before_an_answer_outgrows_a_message() -> None:
    big = _promise_of_bytes(1_500_000)
    preload = Preload(promises=(big, big, big), complete=True)

    data = answers.answer_bytes(1, [Done(promise=big, preload=preload)])

    (result,) = pb.ConnectResponse.FromString(data).results
    (done,) = client_answers.outcomes_of(result.results, [ANY_REQUEST])
    assert len(data) <= MESSAGE_BYTES_MAX
    assert done == Done(promise=big, preload=None)


def test_answers_that_outgrow_a_message_read_as_unknown() -> None:
    """The operations took effect; a refusal that denies it would be a lie."""
    big = _promise_of_bytes(1_500_000)

    data = answers.answer_bytes(1, [Done(promise=big)] * 3)

    (result,) = pb.ConnectResponse.FromString(data).results
    assert [each.status for each in result.results] == [500, 500, 500]
    assert {each.code for each in result.results} == {"answer_too_large"}


def test_a_task_is_pushed_without_a_preload_that_does_not_fit() -> None:
    big = _promise_of_bytes(1_500_000)
    preload = Preload(promises=(big, big, big), complete=True)
    task = Task(id="a", target="")

    data = answers.push_bytes(TaskPush(task=task, promise=big, preload=preload))

    push = client_answers.push_of(pb.ConnectResponse.FromString(data).tasks[0])
    assert push.promise == big
    assert push.preload == Preload(promises=(), complete=False)


def parsed(operation: str) -> pb.Operation:
    return text_format.Parse(operation, pb.Operation())


def _promise_of_bytes(size: int) -> Promise:
    return Promise(id="a", param=Value(data=b"x" * size), timeout_at_ms=1, created_at_ms=0)


def _visible(outcome: Outcome) -> object:
    """Everything that the wire carries."""
    if not isinstance(outcome, Done):
        return outcome
    task = None if outcome.task is None else _visible_task(outcome.task)
    return (outcome.status, outcome.promise, task, outcome.created, outcome.action, outcome.preload)


def _visible_task(task: Task) -> tuple[object, ...]:
    return (task.id, task.state, task.version, len(task.resumes), task.ttl_ms, task.pid)
