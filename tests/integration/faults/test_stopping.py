"""A store that is asked to stop waits for nobody who only watches."""

import asyncio
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from holdfast.v1 import admin_pb2 as admin
from holdfast.v1 import admin_pb2_grpc, externalscaler_pb2_grpc
from holdfast.v1 import externalscaler_pb2 as scaler
from holdfast_store.rpc import server as server_module
from tests.integration.rpc.support import reason_of, serve, until

FOR_EVER_S = 600.0


async def test_standing_calls_do_not_keep_a_store_from_stopping(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is left of the grace when all have ended is not waited for."""
    monkeypatch.setattr(server_module, "CALLS_GRACE_S", FOR_EVER_S)
    async with serve() as served, served.channel() as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        queues: Any = admin_pb2_grpc.AdminStub(channel)
        keda: Any = externalscaler_pb2_grpc.ExternalScalerStub(channel)
        watches = [
            health.Watch(health_pb2.HealthCheckRequest(service="readiness")),
            queues.WatchQueues(admin.AdminWatchQueuesRequest()),
            keda.StreamIsActive(scaler.ScaledObjectRef(scalerMetadata={"group": "g"})),
        ]
        for watch in watches:
            await until(watch.read())

        await until(served.server.stop(grace_s=FOR_EVER_S), 20)
        errors = await until(asyncio.gather(*map(_end_of, watches)))

    assert {error.code() for error in errors} == {grpc.StatusCode.UNAVAILABLE}
    assert {reason_of(error) for error in errors} == {"store_stopping"}


async def _end_of(watch: Any) -> grpc.aio.AioRpcError:
    try:
        while await watch.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("the watch ended without an error")
