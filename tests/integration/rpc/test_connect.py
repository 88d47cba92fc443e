"""`Workers.Connect` as any client may use it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from holdfast.core.records import TaskState
from holdfast.core.requests import Done, TaskGet
from holdfast.v1 import common_pb2 as common
from holdfast.v1 import promises_pb2 as promises
from holdfast.v1 import tasks_pb2 as tasks
from holdfast.v1 import workers_pb2 as pb
from holdfast_store.rpc import server as server_module
from holdfast_store.rpc import stream as stream_module
from holdfast_store.rpc.server import OPTIONS
from holdfast_store.rpc.stream import StreamLimits
from tests.integration.rpc.support import (
    FAR_MS,
    Proxy,
    RawStream,
    Served,
    chain,
    ids,
    reason_of,
    serve,
    until,
)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serve() as served:
        yield served


@pytest.fixture
async def channel(served: Served) -> AsyncIterator[grpc.aio.Channel]:
    async with served.channel() as channel:
        yield channel


@pytest.fixture
def stream(channel: grpc.aio.Channel) -> RawStream:
    return RawStream(channel)


def get(promise_id: str) -> pb.Operation:
    return pb.Operation(promise_get=promises.PromisesGetRequest(id=promise_id))


def create(promise_id: str, *, data: bytes | None = None, target: str = "") -> pb.Operation:
    request = promises.PromisesCreateRequest(id=promise_id, timeout_at_ms=FAR_MS)
    if data is not None:
        request.param.data = data
    if target:
        request.tags["resonate:target"] = target
    return pb.Operation(promise_create=request)


def fulfill(task_id: str, version: int) -> pb.Operation:
    action = promises.PromisesSettleRequest(id=task_id, state=common.PROMISE_STATE_RESOLVED)
    return pb.Operation(
        task_fulfill=tasks.TasksFulfillRequest(id=task_id, version=version, action=action)
    )


# The introduction


async def test_the_welcome_names_version_clock_and_limit(served: Served, stream: RawStream) -> None:
    welcome = await stream.hello()

    assert welcome.store_version == "9.9.9"
    assert abs(welcome.now_ms - served.engine.now_ms()) < 60_000
    assert welcome.value_bytes_max == 1_048_576


async def test_a_stream_that_does_not_introduce_itself_is_refused(stream: RawStream) -> None:
    await stream.send(chains=[chain(1, get("a"))])

    error = await stream.fails()

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(error) == "hello_required"
    assert "`hello`" in str(error.details())


async def test_a_stream_that_ends_without_a_word_is_refused(stream: RawStream) -> None:
    await stream.call.done_writing()

    assert reason_of(await stream.fails()) == "hello_required"


@pytest.mark.parametrize(
    ("hello", "reason"),
    [
        ({"pid": ""}, "invalid_text"),
        ({"instance_id": ""}, "invalid_text"),
        ({"groups": [""]}, "invalid_text"),
        ({"credits": -1}, "out_of_range"),
        ({"lease_ttl_ms": 0, "credits": 1}, "out_of_range"),
        ({"delivery_mode": 9}, "invalid_delivery_mode"),
    ],
)
async def test_a_wrong_introduction_is_refused_by_field(
    stream: RawStream, hello: dict[str, Any], reason: str
) -> None:
    fields: dict[str, Any] = {
        "pid": "p",
        "instance_id": "i",
        "groups": ["g"],
        "lease_ttl_ms": 1,
    } | hello
    await stream.send(hello=pb.Hello(**fields))

    error = await stream.fails()

    assert (error.code(), reason_of(error)) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert f"hello.{next(iter(hello))}" in str(error.details())


async def test_bytes_that_are_no_message_end_the_stream(
    served: Served, channel: grpc.aio.Channel
) -> None:
    call: Any = channel.stream_stream("/holdfast.v1.Workers/Connect")()
    hello = pb.ConnectRequest(hello=pb.Hello(pid="p", instance_id="i"))
    await call.write(hello.SerializeToString())
    await call.read()

    await call.write(b"\xff\xff\xff")

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await until(call.read())
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(caught.value) == "invalid_message"
    assert served.engine.members() == []


async def test_members_are_bounded() -> None:
    async with serve(members_max=1) as served, served.channel() as channel:
        await RawStream(channel).hello("a")
        late = RawStream(channel)
        await late.send(hello=pb.Hello(pid="b", instance_id="i"))

        error = await late.fails()

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert reason_of(error) == "too_many_members"


# Chains


@pytest.mark.parametrize("brief", [False, True])
async def test_only_who_asked_for_brief_answers_is_spared_what_it_said(
    stream: RawStream, *, brief: bool
) -> None:
    await stream.hello(brief=brief)

    await stream.send(chains=[chain(1, create("a", data=b"1"))])

    (answered,) = (await stream.read()).results
    (made,) = answered.results
    assert made.created
    assert made.HasField("as_asked_at_ms") is brief
    assert made.promise.param.data == (b"" if brief else b"1")


async def test_a_chain_in_the_first_message_is_answered_after_the_welcome(
    stream: RawStream,
) -> None:
    await stream.send(
        hello=pb.Hello(pid="p", instance_id="i"), chains=[chain(5, create("a"), get("a"))]
    )

    first = await stream.read()
    results = list(first.results) or list((await stream.read()).results)

    assert first.HasField("welcome")
    assert results[0].correlation_id == 5
    assert [each.status for each in results[0].results] == [200, 200]


async def test_the_first_refusal_skips_the_rest_of_its_chain_only(stream: RawStream) -> None:
    await stream.hello()

    await stream.send(chains=[chain(1, create("a"), get("no"), create("b")), chain(2, get("b"))])
    message = await stream.read()

    first, second = message.results
    assert [each.status for each in first.results] == [200, 404, 0]
    assert first.results[1].code == "promise_not_found"
    assert [each.status for each in second.results] == [404]  # `b` was skipped


@pytest.mark.parametrize(
    "broken",
    [pb.Operation(), get(""), pb.Operation(task_fence=tasks.TasksFenceRequest(id="a"))],
    ids=["unknown", "invalid", "malformed"],
)
async def test_what_precedes_a_malformed_operation_stands(
    stream: RawStream, broken: pb.Operation
) -> None:
    await stream.hello()

    await stream.send(chains=[chain(1, create("a"), broken, create("b")), chain(2, broken)])
    await stream.send(chains=[chain(3, get("a")), chain(4, get("b"))])
    statuses = await collect(stream, 4)

    assert statuses == {1: [200, 400, 0], 2: [400], 3: [200], 4: [404]}


async def test_a_malformed_operation_behind_a_refused_one_is_skipped(stream: RawStream) -> None:
    await stream.hello()

    await stream.send(chains=[chain(1, get("no"), pb.Operation())])

    assert await collect(stream, 1) == {1: [404, 0]}


async def test_a_chain_has_a_length(stream: RawStream) -> None:
    await stream.hello()

    await stream.send(chains=[chain(1), chain(2, *[get("a")] * 257)])
    message = await stream.read()

    empty, long = sorted(message.results, key=lambda result: result.correlation_id)
    assert [each.code for each in empty.results] == ["invalid_chain"]
    assert long.results[0].code == "invalid_chain"
    assert [each.status for each in long.results[1:]] == [0] * 256


async def test_answers_of_one_transaction_leave_as_one_message(stream: RawStream) -> None:
    await stream.hello()

    await stream.send(chains=[chain(number, create(f"p{number}")) for number in range(200)])
    message = await stream.read()

    assert [result.correlation_id for result in message.results] == list(range(200))


async def test_answers_that_do_not_fit_into_one_message_are_split(stream: RawStream) -> None:
    await stream.hello()
    big = b"x" * 1_000_000
    for name in "abcdefgh":
        await stream.send(chains=[chain(1, create(name, data=big))])
    await collect(stream, 8)

    await stream.send(chains=[chain(number, get(name)) for number, name in enumerate("abcdefgh")])
    messages: list[pb.ConnectResponse] = []
    while sum(len(message.results) for message in messages) < 8:
        messages.append(await stream.read())

    assert all(message.ByteSize() <= 4 * 1024 * 1024 for message in messages)
    assert all(
        result.results[0].promise.param.data == big for m in messages for result in m.results
    )


async def test_chains_in_flight_are_bounded() -> None:
    async with serve(stream_limits=StreamLimits(chains_max=3)) as served, served.channel() as c:
        stream = RawStream(c)
        await stream.hello()

        await stream.send(chains=[chain(n, create(f"p{n}"), get("a")) for n in range(5)])
        statuses = await collect(stream, 5)

    assert [statuses[n][0] for n in range(5)] == [200, 200, 200, 429, 429]
    assert statuses[4] == [429, 0]


# Work


async def test_a_task_is_acquired_and_pushed_when_it_is_created(stream: RawStream) -> None:
    await stream.hello("w", credits=1)

    await stream.send(chains=[chain(1, create("t", data=b"in", target="poll://any@g"))])
    message = await with_tasks(stream)

    (push,) = message.tasks
    assert (push.task.id, push.task.version, push.task.pid) == ("t", 1, "w")
    assert push.task.state == common.TASK_STATE_ACQUIRED
    assert push.promise.param.data == b"in"
    assert push.preload.complete


async def test_a_member_that_connects_is_given_what_waits(
    stream: RawStream, channel: grpc.aio.Channel
) -> None:
    await stream.hello("client")
    await stream.send(chains=[chain(1, create("t", target="poll://any@g"))])
    await stream.read()
    worker = RawStream(channel)

    await worker.hello("w", credits=1)

    assert ids((await with_tasks(worker)).tasks) == ["t"]


async def test_a_credit_given_back_brings_the_next_task(stream: RawStream) -> None:
    await stream.hello("w", credits=1)
    await stream.send(
        chains=[chain(1, create("a", target="poll://any@g"), create("b", target="poll://any@g"))]
    )
    (first,) = (await with_tasks(stream)).tasks

    await stream.send(chains=[chain(2, fulfill(first.task.id, 1))], credits=1)

    (second,) = (await with_tasks(stream)).tasks
    assert {first.task.id, second.task.id} == {"a", "b"}


async def test_a_member_may_be_offered_tasks_instead(stream: RawStream) -> None:
    await stream.hello("w", credits=1, delivery_mode=pb.DELIVERY_MODE_OFFERED)

    await stream.send(chains=[chain(1, create("t", target="poll://any@g"))])
    message = await stream.read()
    while not message.offers:
        message = await stream.read()

    assert [(offer.id, offer.version) for offer in message.offers] == [("t", 0)]


async def test_a_draining_member_is_given_nothing(
    stream: RawStream, channel: grpc.aio.Channel
) -> None:
    await stream.hello("w", credits=5)
    await stream.send(draining=True)
    await stream.send(chains=[chain(1, create("t", target="poll://any@g"))])
    await stream.read()
    other = RawStream(channel)

    await other.hello("x", credits=1)

    assert ids((await with_tasks(other)).tasks) == ["t"]


async def test_a_settled_promise_is_pushed_to_who_listens(
    stream: RawStream, channel: grpc.aio.Channel
) -> None:
    await stream.hello("listener")
    listen = promises.PromisesRegisterListenerRequest(awaited="t", address="poll://uni@g/listener")
    await stream.send(
        chains=[
            chain(
                1,
                create("t", target="poll://any@other"),
                pb.Operation(promise_register_listener=listen),
            )
        ]
    )
    await stream.read()
    settler = RawStream(channel)
    await settler.hello("settler", groups=[])

    settle = promises.PromisesSettleRequest(id="t", state=common.PROMISE_STATE_REJECTED)
    await settler.send(chains=[chain(1, pb.Operation(promise_settle=settle))])
    message = await until(stream.read())

    assert [(p.id, p.state) for p in message.settled] == [("t", common.PROMISE_STATE_REJECTED)]


# The end


async def test_a_member_that_ends_its_side_gets_its_answers_first(
    served: Served, stream: RawStream
) -> None:
    await stream.hello()

    await stream.send(chains=[chain(1, create("a"))])
    await stream.call.done_writing()

    assert await collect(stream, 1) == {1: [200]}
    assert await until(stream.call.read()) is grpc.aio.EOF
    assert await stream.call.code() is grpc.StatusCode.OK
    assert served.engine.members() == []


async def test_leases_of_a_member_that_closes_its_stream_go_to_another(
    stream: RawStream, channel: grpc.aio.Channel
) -> None:
    """At once, not after the lease: the kernel closes the connections of a killed process."""
    await stream.hello("a", credits=1)
    await stream.send(chains=[chain(1, create("t", target="poll://any@g"))])
    await with_tasks(stream)
    other = RawStream(channel)
    await other.hello("b", credits=1)

    stream.call.cancel()

    message = await until(with_tasks(other))
    assert [(push.task.id, push.task.version) for push in message.tasks] == [("t", 2)]


async def test_a_second_stream_with_the_same_pid_replaces_the_first(
    served: Served, stream: RawStream, channel: grpc.aio.Channel
) -> None:
    await stream.hello("p")
    second = RawStream(channel)

    await second.hello("p")
    error = await until(stream.fails())

    assert error.code() is grpc.StatusCode.ABORTED
    assert reason_of(error) == "member_replaced"
    assert [m.pid for m in served.engine.members()] == ["p"]
    await second.send(chains=[chain(1, create("a"))])
    assert await collect(second, 1) == {1: [200]}


async def test_leases_of_a_member_that_cannot_be_reached_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The connection is silent and not closed: its member may be at work on the other side."""
    monkeypatch.setattr(stream_module, "QUIET_S_MAX", 0.2)
    names = ("keepalive_time_ms", "keepalive_timeout_ms", "http2.ping_timeout_ms")
    quick = {f"grpc.{name}": 300 for name in names}
    monkeypatch.setattr(server_module, "OPTIONS", tuple((dict(OPTIONS) | quick).items()))
    async with serve() as served, Proxy(served.target) as proxy:
        async with grpc.aio.insecure_channel(proxy.url.removeprefix("grpc://")) as channel:
            stream = RawStream(channel)
            await stream.hello("a", credits=1)
            await stream.send(chains=[chain(1, create("t", target="poll://any@g"))])
            await with_tasks(stream)

            proxy.hold()
            async with asyncio.timeout(20):
                while served.engine.members():  # noqa: ASYNC110 - nobody tells when one has left
                    await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)  # longer than the grace, which is the point
        (outcome,) = await served.engine.apply(TaskGet(id="t"))

    assert isinstance(outcome, Done)
    assert outcome.task is not None
    assert (outcome.task.state, outcome.task.pid) == (TaskState.ACQUIRED, "a")


async def test_a_member_that_reads_too_slowly_is_sent_away() -> None:
    limits = StreamLimits(buffer_bytes_max=3_000_000)
    async with serve(stream_limits=limits) as served, served.channel() as channel:
        stream = RawStream(channel)
        await stream.hello("slow")
        await stream.send(chains=[chain(1, create("a", data=b"x" * 1_000_000))])
        await stream.read()

        # Answers of 60 MB that nobody reads: more than the network and the buffer hold.
        for number in range(60):
            await stream.send(chains=[chain(number, get("a"))])
        error = await until(stream.fails(), 30)

        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert reason_of(error) == "slow_consumer"
        assert served.engine.members() == []


async def with_tasks(stream: RawStream) -> pb.ConnectResponse:
    """Read until a message holds tasks."""
    message = await until(stream.read())
    while not message.tasks:
        message = await until(stream.read())
    assert isinstance(message, pb.ConnectResponse)
    return message


async def collect(stream: RawStream, number: int) -> dict[int, list[int]]:
    """Read until so many results have come; answer their statuses by correlation id."""
    found: list[tuple[int, list[int]]] = []
    while len(found) < number:
        message = await until(stream.read())
        found += [(r.correlation_id, [each.status for each in r.results]) for r in message.results]
    return dict(found)
