"""What operators and their tools ask: queues, members, KEDA's scaler, health, reflection."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from holdfast import errors
from holdfast.core.requests import PromiseCreate
from holdfast.rpc.admin import Admin, ConnectedMember, Queue
from holdfast.v1 import admin_pb2, admin_pb2_grpc
from holdfast.v1 import externalscaler_pb2 as keda
from holdfast.v1.externalscaler_pb2_grpc import ExternalScalerStub
from holdfast_cli.__main__ import main
from tests.integration.rpc.support import (
    Served,
    join,
    member,
    reason_of,
    serve,
    targeted,
    until,
)

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serve() as served:
        yield served


@pytest.fixture
async def admin(served: Served) -> AsyncIterator[Admin]:
    async with Admin(served.url) as admin:
        yield admin


@pytest.fixture
async def scaler(served: Served) -> AsyncIterator[Any]:
    async with served.channel() as channel:
        yield ExternalScalerStub(channel)


async def fill(served: Served, *, due: int, group: str = "g") -> None:
    tasks: list[PromiseCreate] = [targeted(f"{group}{n}", group) for n in range(due)]
    await served.engine.apply(*tasks)


def scaled(**metadata: str) -> keda.ScaledObjectRef:
    return keda.ScaledObjectRef(name="so", namespace="ns", scalerMetadata=metadata)


# Queues and members


async def test_queues_tell_what_waits_and_who_works(served: Served, admin: Admin) -> None:
    async with join(served.url, member("w", credits=3)) as (_, mailbox):
        await fill(served, due=5)
        for _number in range(3):
            await until(mailbox.tasks.get())

        (queue,) = await admin.get_queues()
        (who,) = await admin.list_members()

    assert queue == Queue(
        group="g",
        due=2,
        running=3,
        suspended=0,
        halted=0,
        oldest_due_age_ms=queue.oldest_due_age_ms,
        members=1,
        free_credits=0,
    )
    assert who == ConnectedMember(
        pid="w",
        groups=("g",),
        credits=0,
        held=3,
        connected_at_ms=who.connected_at_ms,
        store=who.store,
    )
    assert who.store.startswith(f"{socket.gethostname()}/")


async def test_the_command_line_lists_members_and_their_stores(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with serve() as served, join(served.url, member("w", credits=3)):
        code = await asyncio.to_thread(main, ["members", "--store", served.url])

    heading, row = capsys.readouterr().out.splitlines()
    assert code == 0
    assert heading.split() == ["pid", "store", "free_credits", "held", "groups"]
    pid, store, *rest = row.split()
    assert (pid, rest) == ("w", ["3", "0", "g"])
    assert store.startswith(f"{socket.gethostname()}/")


async def test_a_named_group_without_work_is_listed_with_zeros(admin: Admin) -> None:
    (queue,) = await admin.get_queues(["nobody"])

    assert (queue.group, queue.due, queue.members) == ("nobody", 0, 0)


async def test_a_watch_tells_the_numbers_now_and_when_they_change(
    served: Served, admin: Admin
) -> None:
    watch = admin.watch_queues(["g"], interval_ms=100)

    first = await until(anext(watch))
    await fill(served, due=2)
    second = await until(anext(watch))
    await watch.aclose()

    assert [(q.group, q.due) for q in first] == [("g", 0)]
    assert [(q.group, q.due) for q in second] == [("g", 2)]


@pytest.mark.parametrize("interval_ms", [-1, 99, 60_001])
async def test_a_watch_has_an_interval_within_bounds(admin: Admin, interval_ms: int) -> None:
    watch = admin.watch_queues(interval_ms=interval_ms)

    with pytest.raises(errors.InvalidRequest, match="interval_ms must be from 100 to 60000"):
        await until(anext(watch))


async def test_a_watch_ends_with_the_store(served: Served, admin: Admin) -> None:
    watch = admin.watch_queues()
    await until(anext(watch))

    await served.server.stop(grace_s=0)

    with pytest.raises(errors.ServerUnavailable):
        await until(anext(watch))


async def test_operators_are_told_that_a_store_is_away() -> None:
    async with Admin("grpc://127.0.0.1:1") as admin:
        with pytest.raises(errors.ServerUnavailable, match=r"grpc://127\.0\.0\.1:1"):
            await admin.get_queues()


async def test_operators_ask_the_next_store_as_well(served: Served) -> None:
    async with Admin(f"grpc://127.0.0.1:1,{served.target}") as admin:
        assert await admin.list_members() == []
        assert await admin.get_queues() == []


async def test_a_wrong_group_is_an_error_with_its_code(admin: Admin) -> None:
    with pytest.raises(errors.InvalidRequest, match="groups must not be empty") as caught:
        await admin.get_queues([""])

    assert caught.value.code == "invalid_text"


# KEDA


async def test_a_group_is_active_while_tasks_are_due_or_running(
    served: Served, scaler: ExternalScalerStub
) -> None:
    await fill(served, due=1)

    idle: Any = await scaler.IsActive(scaled(group="h"))  # type: ignore[misc]
    busy: Any = await scaler.IsActive(scaled(group="g"))  # type: ignore[misc]

    assert (idle.result, busy.result) == (False, True)


@pytest.mark.parametrize(("metric", "expected"), [(None, 5), ("due", 2), ("running", 3)])
async def test_the_metric_is_the_number_of_tasks(
    served: Served, scaler: ExternalScalerStub, metric: str | None, expected: int
) -> None:
    metadata = {"group": "g"} | ({} if metric is None else {"metric": metric})
    async with join(served.url, member("w", credits=3)) as (_, mailbox):
        await fill(served, due=5)
        for _number in range(3):
            await until(mailbox.tasks.get())
        request = keda.GetMetricsRequest(scaledObjectRef=scaled(**metadata), metricName="m")
        response: Any = await scaler.GetMetrics(request)  # type: ignore[misc]

    (value,) = response.metricValues
    assert (value.metricName, value.metricValue, value.metricValueFloat) == (
        "m",
        expected,
        expected,
    )


async def test_the_target_of_one_replica_can_be_chosen(scaler: ExternalScalerStub) -> None:
    default: Any = await scaler.GetMetricSpec(scaled(group="Big_Group.1"))  # type: ignore[misc]
    chosen: Any = await scaler.GetMetricSpec(  # type: ignore[misc]
        scaled(group="g", targetPerReplica="3")
    )

    (spec,) = default.metricSpecs
    assert (spec.metricName, spec.targetSize) == ("holdfast-big-group-1", 10)
    assert [(s.metricName, s.targetSize) for s in chosen.metricSpecs] == [("holdfast-g", 3)]


async def test_activity_is_told_when_it_changes(served: Served, scaler: ExternalScalerStub) -> None:
    call: Any = scaler.StreamIsActive(scaled(group="g"))

    idle = await until(call.read())
    await fill(served, due=1)
    active = await until(call.read())
    call.cancel()

    assert (idle.result, active.result) == (False, True)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({}, "must hold `group`"),
        ({"group": ""}, "scalerMetadata.group must not be empty"),
        ({"group": "g", "targetPerReplica": "0"}, "targetPerReplica must be a whole number"),
        ({"group": "g", "targetPerReplica": "ten"}, "targetPerReplica must be a whole number"),
        ({"group": "g", "metric": "age"}, "metric must be one of due+running, due, running"),
    ],
)
async def test_wrong_metadata_is_refused_with_a_sentence(
    scaler: ExternalScalerStub, metadata: dict[str, str], words: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await scaler.GetMetricSpec(scaled(**metadata))  # type: ignore[misc]

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(caught.value) == "invalid_scaler_metadata"
    assert words in str(caught.value.details())


# Health and reflection


async def test_health_follows_readiness_and_the_drain(served: Served) -> None:
    async with served.channel() as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service="holdfast.v1.Workers"))
        ready = await until(watch.read())
        await served.server.set_ready(False)
        unready = await until(watch.read())
        overall = await health.Check(health_pb2.HealthCheckRequest())
        await served.server.set_ready(True)
        again = await until(watch.read())
        stopping = served.server.stop(grace_s=5)
        await until(stopping)
        draining = await until(watch.read())

    assert [each.status for each in (ready, unready, overall, again, draining)] == [
        SERVING,
        NOT_SERVING,
        NOT_SERVING,
        SERVING,
        NOT_SERVING,
    ]


async def test_probes_can_ask_for_readiness_and_for_liveness(served: Served) -> None:
    """A store without its database must not be sent calls, and must not be started anew."""
    async with served.channel() as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        readiness = health_pb2.HealthCheckRequest(service="readiness")
        liveness = health_pb2.HealthCheckRequest(service="liveness")
        before = await health.Check(readiness)
        await served.server.set_ready(False)

        unready = await health.Check(readiness)
        alive = await health.Check(liveness)

    assert before.status == SERVING
    assert unready.status == NOT_SERVING
    assert alive.status == SERVING


async def test_an_unknown_service_has_no_health(served: Served) -> None:
    async with served.channel() as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health.Check(health_pb2.HealthCheckRequest(service="nobody"))

    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_lists_the_services_and_their_files(served: Served) -> None:
    async with served.channel() as channel:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[arg-type]
        call = stub.ServerReflectionInfo()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        listed = await until(call.read())
        await call.write(
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="holdfast.v1.Workers")
        )
        described = await until(call.read())
        await call.done_writing()

    assert {service.name for service in listed.list_services_response.service} >= {
        "holdfast.v1.Promises",
        "holdfast.v1.Tasks",
        "holdfast.v1.Schedules",
        "holdfast.v1.Workers",
        "holdfast.v1.Admin",
        "externalscaler.ExternalScaler",
        "grpc.health.v1.Health",
    }
    assert described.file_descriptor_response.file_descriptor_proto


async def test_plain_stubs_can_ask_as_well(served: Served) -> None:
    async with served.channel() as channel:
        stub: Any = admin_pb2_grpc.AdminStub(channel)
        response = await stub.ListMembers(admin_pb2.AdminListMembersRequest())

    assert list(response.members) == []
