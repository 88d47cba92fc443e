"""Phase 5: an upgrade and a rollback under load, neither of which anybody notices."""

import pytest

from tests.e2e.client import Gateway
from tests.e2e.deployment import Deployment
from tests.e2e.evidence import collect, judge
from tests.e2e.figures import Figures
from tests.e2e.load import Load, unfinished
from tests.e2e.waiting import until

pytestmark = [pytest.mark.timeout(1200)]

PER_SECOND = 6.0
BETWEEN = 15
GENERATION = "e2e/generation"
PARTS = ("store", "gateway", "operator", "workerGroupDefaults")


def test_upgrade_and_rollback_lose_and_repeat_nothing(
    deployment: Deployment, gateway: Gateway, figures: Figures
) -> None:
    """Every pod is replaced twice. Nothing is killed, so that no step has a reason to run twice."""
    first = deployment.revision()
    failed_before = gateway.tries_failed
    before = _staying(deployment)

    with Load(gateway, per_second=PER_SECOND) as load:
        load.wait_for(BETWEEN)
        before |= _staying(deployment)
        with figures.seconds("helm upgrade --wait under load"):
            deployment.upgrade(*_changes())
        until(lambda: _generations(deployment) == {"two"}, "all pods are of the second generation")
        upgraded = _staying(deployment)
        load.wait_for(BETWEEN)
        upgraded |= _staying(deployment)
        with figures.seconds("helm rollback --wait under load"):
            deployment.rollback(first)
        until(lambda: _generations(deployment) == {None}, "all pods are as they were")
        after = _staying(deployment)
        load.wait_for(BETWEEN)
    left = unfinished(gateway, load.acknowledged, seconds=240)

    verdict = judge(collect(deployment), load.acknowledged, kills=[])
    figures.add(
        "orders during upgrade and rollback",
        f"{len(load.acknowledged)} acknowledged, {len(left)} not done, {verdict};"
        f" {gateway.tries_failed - failed_before} requests repeated,"
        f" longest time without an acknowledgment {load.longest_gap_s:.1f} s",
    )
    assert before.isdisjoint(upgraded)
    assert upgraded.isdisjoint(after)
    assert left == {}
    assert (verdict.lost, verdict.doubled) == ({}, {})


def _changes() -> list[str]:
    """Values of an upgrade that replaces every pod."""
    changes = []
    for part in PARTS:
        changes += ["--set-string", f"{part}.podAnnotations.{GENERATION}=two"]
    return [*changes, "--set", "gateway.settings.HOLDFAST_GATEWAY_LOG_LEVEL=debug"]


def _generations(deployment: Deployment) -> set[str | None]:
    """Generations of the pods that will stay; those of test hooks do not count."""
    pods = [pod for pod in deployment.pods() if pod.component != "test"]
    return {pod.annotations.get(GENERATION) for pod in pods if not pod.is_leaving}


def _staying(deployment: Deployment) -> set[str]:
    """Ids of the pods that nobody told to go."""
    return {pod.uid for pod in deployment.pods() if not pod.is_leaving}
