"""The operator on a real API server: admission, scaling, outages, and what people see."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.commands import CommandFailed
from tests.e2e.figures import Figures
from tests.e2e.operator.rig import Rig, logged, rig
from tests.integration.operator.test_scaling import create, settle, worker_in

pytestmark = [pytest.mark.timeout(300)]


@pytest.fixture
async def made(cluster: Cluster) -> AsyncIterator[Rig]:
    async with rig(cluster) as made:
        yield made


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"autoscaling": {"min": 5, "max": 2}}, "min must not be greater than autoscaling.max"),
    ({"autoscaling": {"min": 11}}, "min must not be greater than autoscaling.max"),
    ({"autoscaling": {"max": 0}}, "should be greater than or equal to 1"),
    ({"autoscaling": {"mode": "Off"}}, "supported values"),
    ({"groups": ["a", "a"]}, "Duplicate value"),
    ({"groups": []}, "should have at least 1 items"),
    ({"groups": ["a b"]}, "should match"),
    ({"scaleTargetRef": {"name": "w", "kind": "StatefulSet"}}, 'supported values: "Deployment"'),
]


async def test_the_api_server_refuses_what_cannot_be_meant(made: Rig) -> None:
    document = made.worker_group()
    for spec, sentence in REFUSED:
        with pytest.raises(CommandFailed, match=sentence):
            made.apply({**document, "spec": {**document["spec"], **spec}})


async def test_defaults_are_filled_in_and_kubectl_scale_writes_the_replicas(made: Rig) -> None:
    document = made.worker_group()
    del document["spec"]["autoscaling"]
    made.apply(document)

    made.kubectl("scale", "workergroup/w", "--replicas=3")

    spec = made.get("wg", "w")["spec"]
    assert spec["replicas"] == 3
    assert spec["scaleTargetRef"]["kind"] == "Deployment"
    assert spec["autoscaling"] == {
        "mode": "Operator",
        "min": 1,
        "max": 10,
        "targetPerReplica": 10,
        "stabilizationSeconds": 60,
        "idleSeconds": 120,
    }


async def test_replicas_go_from_zero_to_many_and_back_and_spare_who_is_busy(
    made: Rig, figures: Figures
) -> None:
    made.apply(made.deployment(), made.worker_group())
    async with made.operator() as log:
        await made.until(lambda: made.ready_reason() == "Idle", "the first status")
        began = time.monotonic()
        await create(made.store, "a")
        await made.until(lambda: made.replicas() == 1, "a replica for the first promise")
        figures.add("operator: first promise to scale", f"{time.monotonic() - began:.1f} s")
        await create(made.store, *"bcdefgh")
        await made.until(lambda: made.replicas() == 4, "four replicas")
        await made.until(lambda: made.ready_reason() == "Scaled", "four ready replicas")
        busy = sorted(made.pods())[:2]
        async with (
            worker_in(made.store, busy[0], tasks=1) as first,
            worker_in(made.store, busy[1], tasks=1) as second,
        ):
            await settle(made.store, *(set("abcdefgh") - {*first, *second}))
            await made.until(lambda: len(made.pods()) == 2, "the idle pods go")
            assert sorted(made.pods()) == busy
            await settle(made.store, *first, *second)
        await made.until(lambda: made.replicas() == 0, "nobody is left")
        await made.until(lambda: made.ready_reason() == "Idle", "an idle group")
        _look_at_what_people_see(made)

    warnings = [e for e in logged(log) if e["level"] in {"warning", "error"}]
    assert not [e for e in warnings if "forbidden" in str(e).lower()], "the chart's role suffices"


def _look_at_what_people_see(made: Rig) -> None:
    header, line = made.kubectl("get", "wg").splitlines()
    assert header.split() == [
        *("NAME", "GROUP", "MODE", "DUE", "RUNNING", "DESIRED", "REPLICAS", "MIN", "MAX"),
        *("READY", "AGE"),
    ]
    assert line.split()[:10] == ["w", "g", "Operator", "0", "0", "0", "0", "0", "4", "Idle"]
    described = made.kubectl("describe", "wg", "w")
    assert "0 due and 0 running tasks want 0 replicas at 2 a replica." in described
    assert "Scaled Deployment w from 0 to 1: 1 due and 0 running tasks" in described
    metadata = made.get("wg", "w")["metadata"]
    assert "finalizers" not in metadata
    assert list(metadata["annotations"]) == ["kubectl.kubernetes.io/last-applied-configuration"]


async def test_an_api_server_that_goes_away_is_found_again(made: Rig) -> None:
    made.apply(made.deployment(), made.worker_group())
    async with made.operator() as log:
        await made.until(lambda: made.ready_reason() == "Idle", "the first status")
        made.proxy.accepting = False
        made.proxy.cut()
        made.apply(made.worker_group("second", target="second"), made.deployment("second"))
        await create(made.store, "a")
        await made.until(lambda: _tried_in_vain(log), "attempts that failed")
        assert (await made.probe(log, "/health")).status_code == 200
        made.proxy.accepting = True
        await made.until(lambda: made.replicas() == 1, "a replica after the outage")
        await made.until(lambda: made.replicas("second") == 1, "what was made meanwhile")
        made.apply(made.worker_group(mode="Manual", spec={"replicas": 3}))
        await made.until(lambda: made.replicas() == 3, "watches work again")


def _tried_in_vain(log: Path) -> bool:
    return any(e["event"] == "look_failed" for e in logged(log))


async def test_a_worker_group_goes_at_once_with_or_without_an_operator(made: Rig) -> None:
    made.apply(made.deployment(replicas=1), made.worker_group(min=1))
    async with made.operator():
        await made.until(lambda: made.ready_reason() is not None, "the first status")

    made.kubectl("delete", "wg", "w", "--timeout=10s")

    assert made.replicas() == 1


async def test_of_two_for_one_target_the_younger_says_conflict(made: Rig) -> None:
    made.apply(made.deployment(), made.worker_group("older"))
    async with made.operator():
        await made.until(lambda: made.ready_reason("older") is not None, "the older one")
        made.apply(made.worker_group("younger"))
        await made.until(lambda: made.ready_reason("younger") == "Conflict", "the younger one")
        made.apply(made.worker_group("lost", target="nobody"))
        await made.until(lambda: made.ready_reason("lost") == "TargetNotFound", "no target")
        await made.until(lambda: len(_warnings(made)) == 2, "an event for each")

    assert _warnings(made) == {"Conflict", "TargetNotFound"}


def _warnings(made: Rig) -> set[str]:
    events = made.get("events", "--field-selector", "type=Warning")["items"]
    return {e["reason"] for e in events if e["involvedObject"]["kind"] == "WorkerGroup"}


async def test_while_the_store_is_away_replicas_stay(made: Rig) -> None:
    made.apply(made.deployment(replicas=2), made.worker_group(max=2))
    await create(made.store, *"abcdef")
    async with made.operator() as log:
        await made.until(lambda: made.ready_reason() == "Scaled", "two ready replicas")
        await made.store.server.stop(grace_s=0)
        await made.until(lambda: made.ready_reason() == "StoreUnreachable", "it says so")
        assert (await made.probe(log, "/ready")).status_code == 503
        assert (await made.probe(log, "/health")).status_code == 200

    assert made.replicas() == 2
    assert made.condition("StoreReachable")["status"] == "False"
