"""KEDA instead of the operator: what KEDA asks, with the metadata of our example, and in its order.

KEDA hands the trigger's metadata to the scaler as it stands, puts an index before the name of the
metric for the HPA and takes it off again, and lets the HPA divide.
"""

import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from holdfast.rpc.admin import Admin
from holdfast.v1 import externalscaler_pb2 as keda
from holdfast.v1.externalscaler_pb2_grpc import ExternalScalerStub
from holdfast_operator.model import Autoscaling
from holdfast_operator.plan import wanted_by
from holdfast_operator.store import work_of
from tests.integration.operator.test_scaling import create, settle, worker_in
from tests.integration.rpc.support import Served, serve, until

EXAMPLE = Path(__file__).parents[3] / "k8s" / "keda-scaledobject.yaml"


class Keda:
    """One trigger of the example, scaled as KEDA and the HPA would."""

    def __init__(self, stub: Any, scaled_object: dict[str, Any], *, index: int) -> None:
        self._stub = stub
        self._index = index
        metadata = dict(scaled_object["spec"]["triggers"][index]["metadata"])
        del metadata["scalerAddress"]  # where to ask; not part of what is asked
        self.ref = keda.ScaledObjectRef(
            name=scaled_object["metadata"]["name"],
            namespace=scaled_object["metadata"]["namespace"],
            scalerMetadata=metadata,
        )

    async def is_active(self) -> bool:
        return bool((await self._stub.IsActive(self.ref)).result)

    def stream(self) -> Any:
        return self._stub.StreamIsActive(self.ref)

    async def metric(self) -> tuple[int, int]:
        """Ask for the target, and for the metric by the name that came back from the HPA."""
        (spec,) = (await self._stub.GetMetricSpec(self.ref)).metricSpecs
        prefix = f"s{self._index}-"
        name_of_the_hpa = f"{prefix}{spec.metricName}"
        request = keda.GetMetricsRequest(
            scaledObjectRef=self.ref, metricName=name_of_the_hpa.removeprefix(prefix)
        )
        (value,) = (await self._stub.GetMetrics(request)).metricValues
        assert value.metricName == spec.metricName
        assert value.metricValueFloat == value.metricValue
        assert spec.targetSizeFloat == spec.targetSize
        return value.metricValue, spec.targetSize

    async def replicas(self) -> int:
        """Nobody while nothing is active; else what the HPA makes of an average."""
        if not await self.is_active():
            return 0
        value, target = await self.metric()
        return max(1, math.ceil(value / target))


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serve() as served:
        yield served


@pytest.fixture
async def triggers(served: Served) -> AsyncIterator[list[Keda]]:
    scaled_object = yaml.safe_load(EXAMPLE.read_text())
    async with served.channel() as channel:
        stub = ExternalScalerStub(channel)
        yield [Keda(stub, scaled_object, index=index) for index in (0, 1)]


async def test_keda_wants_what_the_operator_wants_from_the_numbers_of_admin(
    served: Served, triggers: list[Keda]
) -> None:
    workers, _ = triggers
    await create(served, *(f"t{n}" for n in range(27)), group="workers")
    rules = Autoscaling(target_per_replica=10)

    async with worker_in(served, "w", tasks=4, group="workers") as held, Admin(served.url) as admin:
        assert len(held) == 4
        (queue,) = await admin.get_queues(["workers"])
        value, target = await workers.metric()
        replicas = await workers.replicas()

    assert (queue.due, queue.running) == (23, 4)
    assert (value, target) == (queue.due + queue.running, 10)
    assert replicas == wanted_by(rules, work_of([queue])) == 3


async def test_keda_scales_a_group_without_work_to_zero(
    served: Served, triggers: list[Keda]
) -> None:
    workers, worker = triggers
    await create(served, "a", group="workers")

    assert await workers.replicas() == 1
    assert await worker.replicas() == 0


async def test_the_first_promise_is_pushed_and_so_is_the_end_of_the_last(
    served: Served, triggers: list[Keda]
) -> None:
    workers, _ = triggers
    call = workers.stream()

    pushed = [await until(call.read())]
    await create(served, "a", group="workers")
    pushed.append(await until(call.read()))
    await settle(served, "a")
    pushed.append(await until(call.read()))
    call.cancel()

    assert [each.result for each in pushed] == [False, True, False]
