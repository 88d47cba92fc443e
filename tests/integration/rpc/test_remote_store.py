"""The library's store over gRPC: what it does when all is well, and when nothing is."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from holdfast import errors
from holdfast.core.membership import DeliveryMode
from holdfast.core.records import PromiseState, Value
from holdfast.core.requests import (
    SKIPPED,
    Done,
    PromiseCreate,
    PromiseGet,
    PromiseRegisterListener,
    PromiseSettle,
    Refusal,
    TaskFulfill,
)
from holdfast.rpc import Access, RemoteStore
from holdfast.rpc import store as module
from holdfast.v1 import workers_pb2 as pb
from holdfast_store.engine import EngineSettings
from tests.integration.rpc.support import (
    FAR_MS,
    Mailbox,
    Proxy,
    Served,
    join,
    member,
    serve,
    targeted,
    until,
)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serve() as served:
        yield served


def create(promise_id: str, **fields: Any) -> PromiseCreate:
    return PromiseCreate(id=promise_id, timeout_at_ms=FAR_MS, **fields)


def resolve(promise_id: str) -> PromiseSettle:
    return PromiseSettle(id=promise_id, state=PromiseState.RESOLVED)


# When all is well


async def test_a_chain_is_answered_in_order(served: Served) -> None:
    async with join(served.url) as (store, _):
        answer = await store.submit(
            [create("a"), PromiseGet(id="a"), PromiseGet(id="b"), create("c")]
        )

    made, read, missing, skipped = answer.outcomes
    assert isinstance(made, Done)
    assert made.created
    assert made.promise == (read.promise if isinstance(read, Done) else None)
    assert isinstance(missing, Refusal)
    assert (missing.status, missing.code) == (404, "promise_not_found")
    assert skipped is SKIPPED
    assert not answer.resent


async def test_chains_of_one_turn_share_a_message(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def batch_committed(*, operations: int, statements: int, seconds: float) -> None:
        sizes.append(operations)

    monkeypatch.setattr(served.metrics, "batch_committed", batch_committed)
    async with join(served.url) as (store, _):
        answers = await asyncio.gather(*[store.submit([create(f"p{n}")]) for n in range(100)])

    assert len(answers) == 100
    assert [size for size in sizes if size] == [100]  # the others look for waiting tasks


async def test_the_limit_of_the_store_is_known_after_connecting(served: Served) -> None:
    async with join(served.url) as (store, _):
        assert store.value_bytes_max == 1_048_576


async def test_tasks_and_settlements_arrive(served: Served) -> None:
    async with join(served.url) as (store, mailbox):
        listen = PromiseRegisterListener(awaited="t", address="poll://uni@g/p")
        await store.submit([targeted("t"), listen])
        push = await until(mailbox.tasks.get())
        action = PromiseSettle(id="t", state=PromiseState.RESOLVED, value=Value(data=b"out"))
        await store.submit([TaskFulfill(id="t", version=push.task.version, action=action)])
        settled = await until(mailbox.settled.get())

    assert (push.task.pid, push.task.version, push.task.target) == ("p", 1, "poll://any@g")
    assert push.preload.complete
    assert (settled.state, settled.value.data) == (PromiseState.RESOLVED, b"out")


async def test_tasks_may_be_offered(served: Served) -> None:
    offered = member(delivery_mode=DeliveryMode.OFFERED)
    async with join(served.url, offered) as (store, mailbox):
        await store.submit([targeted("t")])

        offer = await until(mailbox.offers.get())

    assert (offer.id, offer.version) == ("t", 0)


async def test_who_is_offered_tasks_must_be_able_to_take_them() -> None:
    class Deaf:
        on_task = on_settled = on_connected = on_disconnected = print

    with pytest.raises(TypeError, match="on_offer"):
        await RemoteStore("grpc://a:1").start(member(delivery_mode=DeliveryMode.OFFERED), Deaf())


async def test_credits_bound_what_is_pushed_and_bring_more_when_given_back(
    served: Served,
) -> None:
    async with join(served.url, member(credits=1)) as (store, mailbox):
        await store.submit([targeted("a"), targeted("b"), targeted("c")])
        first = await until(mailbox.tasks.get())
        assert mailbox.tasks.empty()

        fulfill = TaskFulfill(id=first.task.id, version=1, action=resolve(first.task.id))
        store.submit([fulfill], credits=1)
        await until(mailbox.tasks.get())
        store.give_back(1)
        await until(mailbox.tasks.get())

        assert served.engine.members()[0].credits == 0


async def test_a_draining_member_takes_nothing_on_later_streams_either(served: Served) -> None:
    async with (
        Proxy(served.target) as proxy,
        join(proxy.url) as (store, mailbox),
        join(served.url, member("other", groups=())) as (client, _),
    ):
        store.drain()
        await store.submit([create("x")])
        await client.submit([targeted("a")])
        proxy.cut()
        await until(mailbox.disconnected.wait())
        await until(mailbox.connected.wait())
        await client.submit([targeted("b")])
        await store.submit([create("y")])

        assert mailbox.tasks.empty()


# What cannot be sent


async def test_what_the_wire_cannot_carry_is_refused_as_the_rules_do(served: Served) -> None:
    async with join(served.url) as (store, _):
        answer = await store.submit([create("a"), create("\ud800"), create("b")])
        later = await store.submit([PromiseGet(id="a")])

    first, flaw, last = answer.outcomes
    assert (first, last) == (SKIPPED, SKIPPED)
    assert isinstance(flaw, Refusal)
    assert (flaw.status, flaw.code) == (400, "invalid_text")
    assert isinstance(later.outcomes[0], Refusal)  # nothing was sent


async def test_numbers_beyond_64_bits_are_refused(served: Served) -> None:
    async with join(served.url) as (store, _):
        answer = await store.submit([PromiseCreate(id="a", timeout_at_ms=2**64)])

    (flaw,) = answer.outcomes
    assert isinstance(flaw, Refusal)
    assert (flaw.status, flaw.code) == (400, "out_of_range")


async def test_a_chain_that_no_message_holds_is_refused(served: Served) -> None:
    megabyte = Value(data=b"x" * 1_000_000)
    async with join(served.url) as (store, _):
        answer = await store.submit([create(str(n), param=megabyte) for n in range(5)])
        empty = await store.submit([])

    assert isinstance(answer.outcomes[0], Refusal)
    assert answer.outcomes[0].code == "invalid_chain"
    assert list(answer.outcomes[1:]) == [SKIPPED] * 4
    assert isinstance(empty.outcomes[0], Refusal)


async def test_more_chains_than_may_be_on_the_wire_wait_for_their_turn(served: Served) -> None:
    async with join(served.url) as (store, _):
        asked = [store.submit([create(str(number))]) for number in range(5_000)]
        answers = await until(asyncio.gather(*asked), 30)

    assert all(isinstance(answer.outcomes[0], Done) for answer in answers)


async def test_many_large_chains_are_spread_over_messages(served: Served) -> None:
    megabyte = Value(data=b"x" * 1_000_000)
    async with join(served.url) as (store, _):
        answers = await asyncio.gather(
            *[store.submit([create(str(n), param=megabyte)]) for n in range(20)]
        )

    assert all(isinstance(answer.outcomes[0], Done) for answer in answers)


# When nothing is well


async def test_what_a_broken_stream_left_open_is_sent_again_and_says_so(served: Served) -> None:
    async with Proxy(served.target) as proxy, join(proxy.url) as (store, mailbox):
        await store.submit([create("before")])
        proxy.hold()
        asked = [store.submit([create(f"p{n}")]) for n in range(10)]
        await until(proxy.holds_something.wait())
        while store._chains.on_wire < len(asked):  # noqa: ASYNC110 - nobody tells of a sending
            await asyncio.sleep(0)
        proxy.cut()
        proxy.let_go()

        answers = await until(asyncio.gather(*asked))

        assert mailbox.connections == 2
    assert [answer.resent for answer in answers] == [True] * 10
    assert all(isinstance(a.outcomes[0], Done) and a.outcomes[0].created for a in answers)


async def test_what_was_never_sent_is_not_marked_as_sent_again(served: Served) -> None:
    async with Proxy(served.target) as proxy, join(proxy.url) as (store, mailbox):
        proxy.cut()
        await until(mailbox.disconnected.wait())
        answer = await until(store.submit([create("a")]))

    assert not answer.resent


async def test_a_stream_that_comes_back_at_once_keeps_its_leases() -> None:
    grace = EngineSettings(stream_grace_ms=500)  # longer than a busy machine takes to come back
    async with (
        serve(engine_settings=grace) as served,
        Proxy(served.target) as proxy,
        join(proxy.url) as (store, mailbox),
    ):
        await store.submit([targeted("t")])
        push = await until(mailbox.tasks.get())

        proxy.cut()
        await until(mailbox.disconnected.wait())
        await until(mailbox.connected.wait())
        await asyncio.sleep(0.7)  # longer than the grace, which is the point
        fulfill = TaskFulfill(id="t", version=push.task.version, action=resolve("t"))
        answer = await store.submit([fulfill])

    assert isinstance(answer.outcomes[0], Done)


async def test_room_is_announced_anew_after_a_break(served: Served) -> None:
    """One of two credits is out: one is left, and the other comes back later."""
    async with Proxy(served.target) as proxy, join(proxy.url) as (store, mailbox):
        await store.submit([targeted("a")])
        await until(mailbox.tasks.get())

        proxy.cut()
        await until(mailbox.disconnected.wait())
        await until(mailbox.connected.wait())
        assert [m.credits for m in served.engine.members()] == [1]

        store.submit([TaskFulfill(id="a", version=1, action=resolve("a"))], credits=1)
        await store.submit([targeted("b"), targeted("c")])
        taken = {(await until(mailbox.tasks.get())).task.id for _ in range(2)}

    assert taken == {"b", "c"}


async def test_without_a_store_a_call_fails_when_its_time_is_over() -> None:
    async with join("grpc://127.0.0.1:1", connected=False) as (store, _):
        with pytest.raises(errors.ServerUnavailable, match="did not answer in time") as caught:
            await until(store.submit([PromiseGet(id="a")], timeout=0.3))

    assert caught.value.retriable
    assert "grpc://127.0.0.1:1" in caught.value.message


async def test_a_store_that_is_silent_is_given_up_in_time(served: Served) -> None:
    async with Proxy(served.target) as proxy, join(proxy.url) as (store, _):
        proxy.hold()

        with pytest.raises(errors.ServerUnavailable, match="connected but silent"):
            await until(store.submit([create("a")], timeout=0.3))
        proxy.let_go()
        answer = await until(store.submit([PromiseGet(id="a")]))

    assert isinstance(answer.outcomes[0], Done)  # given up is not undone


async def test_a_store_that_starts_later_is_found(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACKOFF_S_MIN", 0.01)
    async with Proxy(served.target) as proxy:
        proxy.accepting = False
        async with join(proxy.url, connected=False) as (store, mailbox):
            asked = store.submit([create("a")])
            await asyncio.sleep(0.1)
            proxy.accepting = True

            answer = await until(asked)

    assert isinstance(answer.outcomes[0], Done)
    assert mailbox.connections == 1


async def test_the_next_endpoint_is_tried(served: Served) -> None:
    url = f"grpc://127.0.0.1:1,{served.target}"
    async with join(url) as (store, _):
        answer = await until(store.submit([create("a")]))

    assert isinstance(answer.outcomes[0], Done)


async def test_what_the_store_has_no_room_for_is_sent_again() -> None:
    """The queue holds one operation: of many at once most are refused at the door."""
    async with (
        serve(engine_settings=EngineSettings(queue_operations_max=1)) as served,
        join(served.url) as (store, _),
    ):
        asked = [store.submit([create(f"p{n}")]) for n in range(20)]
        answers = await until(asyncio.gather(*asked), 25)

    assert all(isinstance(answer.outcomes[0], Done) for answer in answers)
    assert not any(answer.resent for answer in answers)


async def test_a_store_without_room_is_an_error_of_its_own_in_the_end() -> None:
    async with (
        serve(engine_settings=EngineSettings(queue_operations_max=0)) as served,
        join(served.url) as (store, _),
    ):
        with pytest.raises(errors.ServerOverloaded) as caught:
            await until(store.submit([create("a")], timeout=0.3))

    assert caught.value.code == "overloaded"


async def test_who_was_replaced_does_not_come_back(served: Served) -> None:
    async with (
        join(served.url, member("p", instance="1")) as (first, mailbox),
        join(served.url, member("p", instance="2")) as (second, _),
    ):
        await until(mailbox.disconnected.wait())
        with pytest.raises(errors.ServerUnavailable) as caught:
            await until(first.submit([create("a")]))
        answer = await until(second.submit([create("b")]))

    assert (caught.value.code, caught.value.retriable) == ("member_replaced", False)
    assert isinstance(answer.outcomes[0], Done)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, errors.Unauthenticated),
        (grpc.StatusCode.PERMISSION_DENIED, errors.PermissionDenied),
        (grpc.StatusCode.INVALID_ARGUMENT, errors.InvalidRequest),
        (grpc.StatusCode.UNIMPLEMENTED, errors.NotSupported),
    ],
)
async def test_what_waiting_does_not_change_fails_at_once(
    code: grpc.StatusCode, expected: type[errors.ResonateError]
) -> None:
    seen: list[Any] = []

    async def refuse(_requests: object, context: Any) -> None:
        seen.append(dict(context.invocation_metadata()).get("authorization"))
        await context.abort(code, "no")

    async with (
        stranger(refuse) as url,
        join(url, connected=False, access=Access(token="secret")) as (store, _),
    ):
        with pytest.raises(expected):
            await until(store.submit([PromiseGet(id="a")]))

    assert seen[0] == "Bearer secret"


async def test_a_stranger_that_does_not_welcome_is_left_alone() -> None:
    async def mute(_requests: object, context: Any) -> None:
        await context.write(pb.ConnectResponse().SerializeToString())

    async with stranger(mute) as url, join(url, connected=False) as (store, _):
        with pytest.raises(errors.ServerUnavailable, match="did not welcome"):
            await until(store.submit([PromiseGet(id="a")], timeout=0.5))


async def test_a_receiver_that_breaks_does_not_end_the_stream(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Mailbox):
        def on_task(self, push: object) -> None:
            raise RuntimeError("a defect")

    store, mailbox = RemoteStore(served.url), Broken()
    await store.start(member(), mailbox)
    await until(mailbox.connected.wait())
    await store.submit([targeted("t")])
    answer = await until(store.submit([PromiseGet(id="t")]))
    await store.close()

    assert isinstance(answer.outcomes[0], Done)
    assert "receiver_broke" in caplog.text
    assert mailbox.connections == 1


# Leaving


async def test_a_stream_that_cannot_be_written_to_any_more_is_made_anew(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect in what is to be sent ends the stream, which would be silent for ever."""
    async with join(served.url) as (store, _):
        await store.submit([create("before")])
        write = store.next_message

        def break_once() -> bytes | None:
            monkeypatch.setattr(store, "next_message", write)
            raise ZeroDivisionError

        monkeypatch.setattr(store, "next_message", break_once)
        answer = await until(store.submit([create("after")]))

    (outcome,) = answer.outcomes
    assert isinstance(outcome, Done)
    assert outcome.created


async def test_closing_sends_what_is_queued_and_waits_for_its_answers(served: Served) -> None:
    async with join(served.url) as (store, _):
        asked = [store.submit([create(f"p{n}")]) for n in range(500)]
        await store.close()

    assert all(isinstance(each.result().outcomes[0], Done) for each in asked)


async def test_after_closing_a_submit_fails(served: Served) -> None:
    async with join(served.url) as (store, _):
        await store.close()
        with pytest.raises(errors.ServerUnavailable) as caught:
            await store.submit([create("a")])

    assert (caught.value.code, caught.value.retriable) == ("closed", False)


async def test_closing_without_a_store_fails_what_waits() -> None:
    async with join("grpc://127.0.0.1:1", connected=False) as (store, _):
        asked = store.submit([create("a")])
        await until(store.close())

    with pytest.raises(errors.ServerUnavailable):
        asked.result()


async def test_members_of_a_store_that_drains_move_to_the_other() -> None:
    async with (
        serve() as one,
        serve() as two,
        join(f"grpc://{one.target},{two.target}") as (store, mailbox),
    ):
        old = one if one.engine.members() else two
        await store.submit([create("on the old one")])

        await until(old.server.stop(grace_s=10))
        await until(mailbox.connected.wait())
        answer = await until(store.submit([PromiseGet(id="on the old one")]))

    assert isinstance(answer.outcomes[0], Refusal)  # another database, for this test's sake
    assert mailbox.connections == 2


async def test_a_store_that_drains_answers_what_is_in_flight(served: Served) -> None:
    async with join(served.url) as (store, mailbox):
        asked = [store.submit([create(f"p{n}")]) for n in range(200)]
        await asyncio.sleep(0)
        await until(served.server.stop(grace_s=10))
        await until(mailbox.disconnected.wait())

        answered = [each for each in asked if each.done()]
        for each in asked:
            each.cancel()
    assert all(isinstance(each.result().outcomes[0], Done) for each in answered)
    read = await served.engine.apply(*[PromiseGet(id=f"p{n}") for n in range(len(answered))])
    assert all(isinstance(outcome, Done) for outcome in read)


@contextlib.asynccontextmanager
async def stranger(behaviour: Any) -> AsyncIterator[str]:
    """Serve `Workers.Connect` by something that is not a store."""
    server = grpc.aio.server()
    handler: Any = grpc.stream_stream_rpc_method_handler(behaviour)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("holdfast.v1.Workers", {"Connect": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        await server.stop(0)
