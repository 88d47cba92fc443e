"""Who is given which task, seen from the members' ends of real streams."""

from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice

import grpc
import pytest

from holdfast.core.records import FUNC_HEADER
from holdfast.v1 import common_pb2 as common
from holdfast.v1 import promises_pb2 as promises
from holdfast.v1 import tasks_pb2 as tasks
from holdfast.v1 import workers_pb2 as pb
from tests.integration.rpc.support import FAR_MS, RawStream, Served, chain, serve, until

LARGE = 100_000
CHAIN = 256


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serve() as served:
        yield served


@pytest.fixture
async def channel(served: Served) -> AsyncIterator[grpc.aio.Channel]:
    async with served.channel() as channel:
        yield channel


class Worker:
    """A member that does its tasks when it is told to."""

    def __init__(self, channel: grpc.aio.Channel, pid: str) -> None:
        self.pid = pid
        self._stream = RawStream(channel)
        self._waiting: list[pb.TaskPush] = []
        self._chains = 0

    async def join(self, credits: int = 1, **fields: object) -> "Worker":
        """Introduce the worker."""
        await self._stream.hello(self.pid, credits=credits, **fields)
        return self

    async def task(self) -> pb.TaskPush:
        """Wait for the next task."""
        while not self._waiting:
            self._waiting += (await until(self._stream.read())).tasks
        return self._waiting.pop(0)

    async def done(self, push: pb.TaskPush) -> None:
        """Fulfill a task and give its credit back."""
        task = push.task
        action = promises.PromisesSettleRequest(id=task.id, state=common.PROMISE_STATE_RESOLVED)
        request = tasks.TasksFulfillRequest(id=task.id, version=task.version, action=action)
        await self._send(pb.Operation(task_fulfill=request), credits=1)

    async def pause(self, push: pb.TaskPush, *, until_settled: str) -> None:
        """Suspend a task until a promise is settled, and give its credit back."""
        callback = promises.PromisesRegisterCallbackRequest(
            awaited=until_settled, awaiter=push.task.id
        )
        request = tasks.TasksSuspendRequest(
            id=push.task.id, version=push.task.version, actions=[callback]
        )
        await self._send(pb.Operation(task_suspend=request), credits=1)

    async def create(self, *operations: pb.Operation) -> list[int]:
        """Send operations, and wait for their statuses."""
        await self._send(*operations)
        while not (results := (await until(self._stream.read(), 60)).results):
            pass
        return [result.status for result in results[0].results]

    async def create_all(self, chains: Iterable[list[pb.Operation]]) -> None:
        """Send many chains, no more at once than a stream may have queued."""
        of_message = 16
        for some in batched(chains, of_message):
            await self._stream.send(chains=[chain(n, *each) for n, each in enumerate(some)])
            answered = 0
            while answered < len(some):
                answered += len((await until(self._stream.read(), 60)).results)

    async def _send(self, *operations: pb.Operation, credits: int = 0) -> None:
        self._chains += 1
        await self._stream.send(chains=[chain(self._chains, *operations)], credits=credits)


def work(
    task_id: str, *, target: str = "poll://any@g", func: str = "", **tags: str
) -> pb.Operation:
    """Make a promise that has a task."""
    request = promises.PromisesCreateRequest(id=task_id, timeout_at_ms=FAR_MS)
    request.tags.update({"resonate:target": target} | {f"resonate:{k}": v for k, v in tags.items()})
    if func:
        request.param.headers.entries[FUNC_HEADER] = func
    return pb.Operation(promise_create=request)


def runs(*names: str) -> pb.Functions:
    return pb.Functions(names=names)


def external(promise_id: str) -> pb.Operation:
    request = promises.PromisesCreateRequest(id=promise_id, timeout_at_ms=FAR_MS)
    request.tags["resonate:external"] = "true"
    return pb.Operation(promise_create=request)


def get(promise_id: str) -> pb.Operation:
    return pb.Operation(promise_get=promises.PromisesGetRequest(id=promise_id))


def settle(promise_id: str) -> pb.Operation:
    state = common.PROMISE_STATE_RESOLVED
    return pb.Operation(promise_settle=promises.PromisesSettleRequest(id=promise_id, state=state))


async def test_the_preferred_pid_is_given_the_task_though_another_is_less_loaded(
    channel: grpc.aio.Channel,
) -> None:
    await Worker(channel, "idle").join(credits=9)
    named = await Worker(channel, "named").join()
    client = await Worker(channel, "client").join(credits=0)

    await client.create(work("t", target="poll://any@g/named"))

    assert (await named.task()).task.pid == "named"


async def test_a_preferred_pid_without_room_leaves_the_task_to_another(
    channel: grpc.aio.Channel,
) -> None:
    named = await Worker(channel, "named").join()
    other = await Worker(channel, "other").join()
    client = await Worker(channel, "client").join(credits=0)
    await client.create(work("first", target="poll://any@g/named"))
    await named.task()

    await client.create(work("second", target="poll://any@g/named"))

    assert (await other.task()).task.id == "second"


async def test_a_woken_task_goes_back_to_the_member_that_ran_it_last(
    channel: grpc.aio.Channel,
) -> None:
    """It may have kept the workflow as it stood."""
    warm = await Worker(channel, "warm").join()
    client = await Worker(channel, "client").join(credits=0)
    await client.create(work("t"), external("signal"))
    await warm.pause(await warm.task(), until_settled="signal")
    await Worker(channel, "idle").join(credits=9)

    await client.create(settle("signal"))

    again = await warm.task()
    assert (again.task.id, again.task.version) == ("t", 2)


async def test_a_new_task_goes_to_the_least_loaded_member(channel: grpc.aio.Channel) -> None:
    await Worker(channel, "busy").join(credits=2)
    idle = await Worker(channel, "idle").join(credits=3)
    client = await Worker(channel, "client").join(credits=0)

    await client.create(work("t"))

    assert (await idle.task()).task.pid == "idle"


async def test_everything_due_is_given_to_a_member_when_it_connects(
    channel: grpc.aio.Channel,
) -> None:
    client = await Worker(channel, "client").join(credits=0)
    names = [f"t{number}" for number in range(300)]
    await client.create(*map(work, names[:150]))
    await client.create(*map(work, names[150:]))

    worker = await Worker(channel, "w").join(credits=1_000)

    assert {(await worker.task()).task.id for _ in names} == set(names)


async def test_a_member_is_given_only_functions_that_it_advertised(
    channel: grpc.aio.Channel,
) -> None:
    pays = await Worker(channel, "pays").join(credits=9, functions=runs("pay"))
    ships = await Worker(channel, "ships").join(credits=1, functions=runs("ship"))
    client = await Worker(channel, "client").join(credits=0)

    await client.create(work("b", func="nobody"), work("c", func="ship"), work("a", func="pay@2"))

    assert (await pays.task()).task.id == "a"
    assert (await ships.task()).task.id == "c"
    late = await Worker(channel, "late").join(functions=runs("nobody"))
    assert (await late.task()).task.id == "b"


def batched(
    chains: Iterable[list[pb.Operation]], count: int
) -> Iterator[tuple[list[pb.Operation], ...]]:
    rest = iter(chains)
    while some := tuple(islice(rest, count)):
        yield some


def children(root: str, count: int) -> Iterator[list[pb.Operation]]:
    """Make the chains that create so many tasks of one tree."""
    for start in range(0, count, CHAIN):
        numbers = range(start, min(start + CHAIN, count))
        yield [work(f"{root}.{number}", prefix=root, origin=root) for number in numbers]


async def test_an_order_behind_a_hundred_thousand_tasks_of_one_tree_is_soon_dispatched(
    served: Served, channel: grpc.aio.Channel
) -> None:
    """One worker with one slot: what is given to it one by one shows the order."""
    client = await Worker(channel, "client").join(credits=0)
    await client.create_all(children("large", LARGE))
    await client.create(work("order"))
    worker = await Worker(channel, "w").join()

    before = 0
    while (push := await worker.task()).task.id != "order":
        before += 1
        assert before < 10, "the order waits behind a large tree"
        await worker.done(push)

    (queue,) = await served.engine.queues(["g"])
    assert queue.due >= LARGE - 10


async def test_a_group_with_a_long_queue_does_not_delay_another_group(
    channel: grpc.aio.Channel,
) -> None:
    client = await Worker(channel, "client").join(credits=0)
    await client.create_all(children("large", 5_000))
    await client.create(work("small", target="poll://any@h"))
    busy = await Worker(channel, "busy").join(credits=10)
    other = await Worker(channel, "other").join(groups=["h"])

    assert (await other.task()).task.id == "small"
    assert (await busy.task()).task.id.startswith("large.")


async def test_a_client_with_a_full_queue_does_not_delay_another_s_operation(
    served: Served,
) -> None:
    """The engine takes one chain of each stream in turn, whatever waits behind it."""
    async with served.channel() as flooding, served.channel() as quiet:
        flood = RawStream(flooding)
        await flood.hello("flood")
        other = await Worker(quiet, "other").join(credits=0)
        await flood.send(
            chains=[
                chain(number, *(external(f"f{number}.{n}") for n in range(32)))
                for number in range(700)
            ]
        )
        while not (await until(flood.read())).results:
            pass  # all of it is queued, and some of it is answered

        statuses = await other.create(external("mine"), get("f699.0"))

    assert statuses == [200, 404], "the last chain of the flood came first"
