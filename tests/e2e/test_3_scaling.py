"""Phase 3: from no worker at all to the most that are allowed, and back, by queue depth alone.

Nothing here writes replicas or metrics: orders are placed, and the operator has to see them.
"""

import time
import uuid

import pytest

from tests.e2e.client import Gateway
from tests.e2e.deployment import Deployment
from tests.e2e.evidence import collect, judge
from tests.e2e.figures import Figures
from tests.e2e.load import unfinished
from tests.e2e.waiting import until

pytestmark = [pytest.mark.timeout(600)]

GROUP = "workers"
ORDERS = 60


def test_workers_come_from_zero_and_go_back_to_zero(
    deployment: Deployment, gateway: Gateway, figures: Figures
) -> None:
    most = deployment.worker_group(GROUP)["spec"]["autoscaling"]["max"]
    until(lambda: _sizes(deployment) == (0, 0), "idle workers sleep", seconds=180)
    order_ids = [f"scale-{uuid.uuid4()}" for _ in range(ORDERS)]

    begin = time.monotonic()
    for order_id in order_ids:
        assert gateway.post_order(order_id).status_code == 202
    deployment.ready_pod("worker", group=GROUP)
    first_ready = time.monotonic() - begin
    until(
        lambda: any(gateway.order_status(i)["status"] == "done" for i in order_ids[:3]),
        "an order is done",
    )
    first_done = time.monotonic() - begin
    until(lambda: deployment.replicas(GROUP) == most, f"{most} replicas are wanted", seconds=60)
    left = unfinished(gateway, order_ids, seconds=180)
    all_done = time.monotonic() - begin
    until(lambda: _sizes(deployment) == (0, 0), "idle workers sleep again", seconds=180)

    assert left == {}
    verdict = judge(collect(deployment), order_ids, kills=[])
    assert (verdict.lost, verdict.doubled, verdict.repeated) == ({}, {}, ())
    figures.add("scale from zero: first order to a ready worker", f"{first_ready:.1f} s")
    figures.add("scale from zero: first order to an order done", f"{first_done:.1f} s")
    figures.add(f"scale 0 to {most}: {ORDERS} orders done", f"{all_done:.1f} s, {verdict}")
    figures.add("back to zero", f"{time.monotonic() - begin - all_done:.1f} s after the last order")


def test_the_worker_group_says_why(deployment: Deployment) -> None:
    status = deployment.worker_group(GROUP)["status"]

    conditions = {c["type"]: c for c in status["conditions"]}
    assert conditions["StoreReachable"]["status"] == "True", conditions
    assert conditions["Ready"]["status"] == "True", conditions
    assert (status["desiredReplicas"], status["due"], status["running"]) == (0, 0, 0)
    assert all(c["message"].endswith(".") for c in conditions.values()), conditions


def _sizes(deployment: Deployment) -> tuple[int, int]:
    """What is wanted, and the pods that there are."""
    pods = deployment.pods("worker", group=GROUP)
    return deployment.replicas(GROUP), len(pods)
