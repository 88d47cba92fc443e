"""Who may join with which pid and name, where tokens are asked for."""

import grpc
import pytest

from holdfast.v1 import workers_pb2 as pb
from tests.integration.auth.test_every_method import ISSUER, bearing, guard
from tests.integration.rpc.support import RawStream, reason_of, serve

ADA, MALLORY = ISSUER.token(sub="ada", prefix="a/"), ISSUER.token(sub="mallory", prefix="a/")


async def answers(stream: RawStream) -> bool:
    """Whether a stream goes on."""
    operation = pb.Operation()
    operation.promise_get.id = "a/1"
    await stream.send(chains=[pb.Chain(correlation_id=1, operations=[operation])])
    while not (message := await stream.read()).results:
        pass
    return message.results[0].results[0].status == 404


@pytest.mark.parametrize("token", [MALLORY, ISSUER.token(sub="mallory", role="admin")])
async def test_nobody_is_sent_away_by_a_token_of_another_subject(token: str) -> None:
    async with serve(guard=guard()) as served, served.channel() as channel:
        victim = RawStream(channel, metadata=bearing(ADA))
        await victim.hello("w")
        thief = RawStream(channel, metadata=bearing(token))
        await thief.send(hello=pb.Hello(pid="w", instance_id="other", groups=["g"]))

        assert reason_of(await thief.fails()) == "pid_taken"
        assert await answers(victim)


async def test_a_process_that_starts_again_takes_its_own_place() -> None:
    async with serve(guard=guard()) as served, served.channel() as channel:
        before = RawStream(channel, metadata=bearing(ADA))
        await before.hello("w")
        again = RawStream(channel, metadata=bearing(ISSUER.token(sub="ada", prefix="a/")))
        await again.hello("w", instance_id="started again")

        assert reason_of(await before.fails()) == "member_replaced"
        assert await answers(again)


async def test_a_process_comes_back_with_a_token_of_another_subject() -> None:
    async with serve(guard=guard()) as served, served.channel() as channel:
        before = RawStream(channel, metadata=bearing(ADA))
        await before.hello("w", instance_id="the same")
        again = RawStream(channel, metadata=bearing(MALLORY))
        await again.hello("w", instance_id="the same")

        assert await answers(again)


async def test_a_token_with_a_prefix_takes_no_messages_under_another_name() -> None:
    """The member with that name for its pid may sit at another store."""
    async with serve(guard=guard()) as served, served.channel() as channel:
        thief = RawStream(channel, metadata=bearing(MALLORY))
        await thief.send(hello=pb.Hello(pid="x", name="w", instance_id="x", groups=["g"]))
        error = await thief.fails()
        wide = RawStream(channel, metadata=bearing(ISSUER.token(sub="gateway", prefix="")))
        await wide.hello("y", name="w")

        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        assert reason_of(error) == "prefix_not_empty"
