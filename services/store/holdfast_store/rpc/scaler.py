"""KEDA's external scaler: the queue numbers in the form that KEDA asks for.

A `ScaledObject` names the worker group in its trigger metadata. A group is active while it has
tasks that are due or running; a suspended task needs no worker.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import grpc

from holdfast.core.ids import flaw_of_text
from holdfast.core.requests import Refusal
from holdfast.v1 import externalscaler_pb2 as pb
from holdfast_store.engine import Engine
from holdfast_store.rpc.errors import Context, abort, unavailable
from holdfast_store.rpc.standing import Standing
from holdfast_store.rpc.unary import service, unary
from holdfast_store.storage import StorageError

TARGET_DEFAULT: Final = 10
TARGET_MAX: Final = 1_000_000
STREAM_PAUSE_S: Final = 0.25
METRICS: Final = ("due+running", "due", "running")


@dataclass(frozen=True, slots=True)
class _Trigger:
    """A trigger's metadata, parsed."""

    group: str
    target: int
    metric: str

    @property
    def metric_name(self) -> str:
        """A name that is valid in the Kubernetes metrics API and differs between groups."""
        return "holdfast-" + re.sub(r"[^a-z0-9]+", "-", self.group.lower()).strip("-")


class _BadMetadata(Exception):
    """A sentence about a trigger's metadata."""


class Scaler:
    """Answers for any group; it keeps nothing between calls."""

    def __init__(self, engine: Engine, standing: Standing) -> None:
        self._engine = engine
        self._standing = standing

    def handler(self) -> grpc.GenericRpcHandler:
        """Serve the service."""
        return service(
            "externalscaler.ExternalScaler",
            {
                "IsActive": unary(pb.ScaledObjectRef, self.is_active),
                "StreamIsActive": self._standing.watch(pb.ScaledObjectRef, self.stream_is_active),
                "GetMetricSpec": unary(pb.ScaledObjectRef, self.get_metric_spec),
                "GetMetrics": unary(pb.GetMetricsRequest, self.get_metrics),
            },
        )

    async def is_active(self, request: pb.ScaledObjectRef, context: Context) -> pb.IsActiveResponse:
        """Answer whether the group needs any worker."""
        trigger = await _trigger(request, context)
        return pb.IsActiveResponse(result=await self._number(trigger, context) > 0)

    async def stream_is_active(
        self, request: pb.ScaledObjectRef, context: Context
    ) -> AsyncIterator[pb.IsActiveResponse]:
        """Answer the same at once, and again whenever it changes."""
        trigger = await _trigger(request, context)
        last: bool | None = None
        while True:
            active = await self._number(trigger, context) > 0
            seen = self._engine.queues_version
            if active is not last:
                last = active
                yield pb.IsActiveResponse(result=active)
            # The numbers are read from the database once a second at most, however often they
            # change: asking faster than this would only repeat them.
            await asyncio.sleep(STREAM_PAUSE_S)
            await self._engine.queues_changed(since=seen)

    async def get_metric_spec(
        self, request: pb.ScaledObjectRef, context: Context
    ) -> pb.GetMetricSpecResponse:
        """Answer what is counted, and how much of it one replica is for."""
        trigger = await _trigger(request, context)
        spec = pb.MetricSpec(
            metricName=trigger.metric_name,
            targetSize=trigger.target,
            targetSizeFloat=trigger.target,
        )
        return pb.GetMetricSpecResponse(metricSpecs=[spec])

    async def get_metrics(
        self, request: pb.GetMetricsRequest, context: Context
    ) -> pb.GetMetricsResponse:
        """Answer the number of tasks."""
        trigger = await _trigger(request.scaledObjectRef, context)
        number = await self._number(trigger, context)
        value = pb.MetricValue(
            metricName=request.metricName or trigger.metric_name,
            metricValue=number,
            metricValueFloat=number,
        )
        return pb.GetMetricsResponse(metricValues=[value])

    async def _number(self, trigger: _Trigger, context: Context) -> int:
        try:
            (queue,) = await self._engine.queues([trigger.group])
        except StorageError as error:
            await abort(context, unavailable(error))
        match trigger.metric:
            case "due":
                return queue.due
            case "running":
                return queue.running
            case _:
                return queue.due + queue.running


async def _trigger(request: pb.ScaledObjectRef, context: Context) -> _Trigger:
    try:
        return _parse(dict(request.scalerMetadata))
    except _BadMetadata as flaw:
        refusal = Refusal(status=400, code="invalid_scaler_metadata", message=str(flaw))
    return await abort(context, refusal)


def _parse(metadata: dict[str, str]) -> _Trigger:
    group = metadata.get("group")
    if group is None:
        raise _BadMetadata("scalerMetadata must hold `group`, the worker group to scale")
    flaw = flaw_of_text(group, field="scalerMetadata.group")
    if flaw is not None:
        raise _BadMetadata(flaw)
    target = metadata.get("targetPerReplica", str(TARGET_DEFAULT))
    if not re.fullmatch(r"[0-9]{1,7}", target) or not 1 <= int(target) <= TARGET_MAX:
        raise _BadMetadata(
            f"scalerMetadata.targetPerReplica must be a whole number from 1 to {TARGET_MAX},"
            f" it is {target!r}"
        )
    metric = metadata.get("metric", METRICS[0])
    if metric not in METRICS:
        raise _BadMetadata(
            f"scalerMetadata.metric must be one of {', '.join(METRICS)}, it is {metric!r}"
        )
    return _Trigger(group=group, target=int(target), metric=metric)
