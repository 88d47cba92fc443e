"""A member that takes a task and never answers: with and without a heartbeat."""

from pathlib import Path

from holdfast.v1 import common_pb2 as common
from holdfast.v1 import promises_pb2 as promises
from holdfast.v1 import tasks_pb2 as tasks
from holdfast.v1 import workers_pb2 as pb
from tests.integration.faults.processes import running
from tests.integration.rpc.support import FAR_MS, RawStream, chain, until

LEASE_MS = 1_000


def work(task_id: str, *, timeout_at_ms: int = FAR_MS) -> pb.Operation:
    create = promises.PromisesCreateRequest(id=task_id, timeout_at_ms=timeout_at_ms)
    create.tags["resonate:target"] = "poll://any@g"
    return pb.Operation(promise_create=create)


async def task_of(stream: RawStream) -> pb.TaskPush:
    """Wait for a task."""
    pushed: list[pb.TaskPush] = []
    while not pushed:
        pushed += (await until(stream.read(), 30)).tasks
    return pushed[0]


async def test_a_task_of_a_member_without_a_heartbeat_goes_to_another_after_its_lease(
    tmp_path: Path,
) -> None:
    """Although its stream stands, and it has more room than the other one."""
    async with running(tmp_path) as store, store.channel() as c, store.channel() as d:
        silent, other = RawStream(c), RawStream(d)
        await silent.hello("silent", credits=50, lease_ttl_ms=LEASE_MS)
        await silent.send(chains=[chain(1, work("t"))])
        first = await task_of(silent)
        await other.hello("other", credits=1, lease_ttl_ms=60_000)

        second = await task_of(other)

        assert (first.task.pid, first.task.version) == ("silent", 1)
        assert (second.task.pid, second.task.version) == ("other", 2)
        late = tasks.TasksReleaseRequest(id="t", version=1)
        assert await statuses(silent, pb.Operation(task_release=late)) == [409]


async def test_a_task_of_a_member_that_only_sends_heartbeats_ends_at_its_deadline(
    tmp_path: Path,
) -> None:
    """The lease stands as long as it is extended: a step may take days. The promise may not."""
    async with running(tmp_path) as store, store.channel() as c, store.channel() as d:
        busy, other = RawStream(c), RawStream(d)
        welcome = await busy.hello("busy", credits=1, lease_ttl_ms=LEASE_MS)
        deadline_ms = welcome.now_ms + 3 * LEASE_MS
        await busy.send(chains=[chain(1, work("t", timeout_at_ms=deadline_ms))])
        await task_of(busy)
        await other.hello("other", credits=1)
        beat = tasks.TasksHeartbeatRequest(pid="busy", tasks=[tasks.TaskRef(id="t", version=1)])
        get = pb.Operation(promise_get=promises.PromisesGetRequest(id="t"))

        promise = await _promise(busy, get)
        while promise.state == common.PROMISE_STATE_PENDING:
            assert await statuses(busy, pb.Operation(task_heartbeat=beat)) == [200]
            promise = await _promise(busy, get)

        assert promise.state == common.PROMISE_STATE_REJECTED_TIMEDOUT
        assert promise.settled_at_ms == deadline_ms
        task = tasks.TasksGetRequest(id="t")
        (result,) = await results(other, pb.Operation(task_get=task))
        assert result.task.state == common.TASK_STATE_FULFILLED
        assert result.task.version == 1, "nobody else was given it"


async def results(stream: RawStream, *operations: pb.Operation) -> list[pb.OperationResult]:
    """Send a chain and wait for its results."""
    await stream.send(chains=[chain(7, *operations)])
    while not (message := await until(stream.read(), 30)).results:
        pass
    return list(message.results[0].results)


async def statuses(stream: RawStream, *operations: pb.Operation) -> list[int]:
    return [result.status for result in await results(stream, *operations)]


async def _promise(stream: RawStream, get: pb.Operation) -> common.Promise:
    (result,) = await results(stream, get)
    return result.promise
