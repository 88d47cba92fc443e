"""Phase 4: every kind of process is killed under load; no acknowledged order is lost or doubled."""

from collections.abc import Callable

import pytest

from tests.e2e.client import Gateway
from tests.e2e.deployment import Deployment, Pod
from tests.e2e.evidence import collect, judge
from tests.e2e.figures import Figures
from tests.e2e.killing import Kill, kill_pod, kill_process, kill_some
from tests.e2e.load import Load, unfinished
from tests.e2e.waiting import until

pytestmark = [pytest.mark.timeout(900)]

VICTIMS = [
    ("store", ""),
    ("gateway", ""),
    ("worker", "workers"),
    ("worker", "db"),
    ("operator", ""),
]
PER_SECOND = 6.0
BETWEEN = 12


@pytest.mark.parametrize("kill", [kill_process, kill_pod])
def test_nothing_acknowledged_is_lost_or_doubled(
    deployment: Deployment,
    gateway: Gateway,
    figures: Figures,
    kill: Callable[[Deployment, Pod], Kill],
) -> None:
    kills: list[Kill] = []
    failed_before = gateway.tries_failed

    with Load(gateway, per_second=PER_SECOND) as load:
        for component, group in VICTIMS:
            load.wait_for(BETWEEN)
            kills.append(kill_some(deployment, kill, component, group=group))
            deployment.ready_pod(component, group=group)
        load.wait_for(BETWEEN)
    left = unfinished(gateway, load.acknowledged, seconds=240)

    verdict = judge(collect(deployment), load.acknowledged, kills)
    for one in kills:
        figures.add(f"killed {one.what}", f"pod {one.pod}, uid {one.uid}, {one.how}")
    figures.add(
        f"orders during {kills[0].how}",
        f"{len(load.acknowledged)} acknowledged, {len(left)} not done, {verdict};"
        f" {gateway.tries_failed - failed_before} requests repeated,"
        f" longest time without an acknowledgment {load.longest_gap_s:.1f} s",
    )
    assert left == {}
    assert (verdict.lost, verdict.doubled) == ({}, {})


def test_memory_is_within_the_limits(
    deployment: Deployment, gateway: Gateway, figures: Figures
) -> None:
    """What the process of each pod has in memory under load, and had at most since it started."""
    with Load(gateway, per_second=PER_SECOND) as load:
        load.wait_for(BETWEEN)
        for component, group in VICTIMS:
            name, (now, most) = _memory_of_one(deployment, component, group)
            figures.add(f"memory of {name}", f"{now} MiB, at most {most} MiB")
            assert 0 < now <= most
    assert unfinished(gateway, load.acknowledged, seconds=240) == {}

    killed_for_memory = [
        pod["metadata"]["name"]
        for pod in deployment.get("pods")["items"]
        for status in pod["status"].get("containerStatuses", [])
        if status["lastState"].get("terminated", {}).get("reason") == "OOMKilled"
    ]
    assert killed_for_memory == []


def _memory_of_one(
    deployment: Deployment, component: str, group: str
) -> tuple[str, tuple[int, int]]:
    """Look at a ready pod; at another one if that was being scaled down already."""

    def look() -> tuple[str, tuple[int, int]] | None:
        pod = deployment.ready_pod(component, group=group)
        code, status, _ = deployment.attempt_in(pod.name, "cat", "/proc/1/status")
        return None if code else (pod.name, _memory(status))

    return until(look, f"a pod of {group or component} tells its memory", seconds=60)


def _memory(status: str) -> tuple[int, int]:
    """Read what is resident now, and the most that was, in MiB."""
    fields = dict(line.split(":", 1) for line in status.splitlines())
    now, most = (int(fields[name].split()[0]) // 1024 for name in ("VmRSS", "VmHWM"))
    return now, most
