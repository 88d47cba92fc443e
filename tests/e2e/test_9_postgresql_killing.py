"""Phase 9, continued: of three stores each is killed under load, and so is PostgreSQL."""

from collections.abc import Callable

import pytest

from tests.e2e.client import Gateway
from tests.e2e.deployment import Deployment, Pod
from tests.e2e.evidence import collect, judge
from tests.e2e.figures import Figures
from tests.e2e.killing import Kill, kill_pod, kill_process, kill_some
from tests.e2e.load import Load, unfinished
from tests.e2e.replicas import REPLICAS, check, ready_stores
from tests.e2e.waiting import until

pytestmark = [pytest.mark.timeout(900)]

PER_SECOND = 6.0
BETWEEN = 8


@pytest.mark.parametrize("kill", [kill_process, kill_pod])
def test_nothing_acknowledged_is_lost_or_doubled(
    replicated: Deployment,
    its_gateway: Gateway,
    figures: Figures,
    kill: Callable[[Deployment, Pod], Kill],
) -> None:
    """Each store is killed, one after the other, and the database in between."""
    kills: list[Kill] = []
    failed_before = its_gateway.tries_failed

    with Load(its_gateway, per_second=PER_SECOND) as load:
        for _ in range(REPLICAS):
            load.wait_for(BETWEEN)
            kills.append(kill_some(replicated, kill, "store"))
        load.wait_for(BETWEEN)
        kills.append(kill(replicated, replicated.database_pod()))
        load.wait_for(BETWEEN)
        until(lambda: ready_stores(replicated) == REPLICAS, "all stores are ready again")
    left = unfinished(its_gateway, load.acknowledged, seconds=240)

    verdict = judge(collect(replicated), load.acknowledged, kills)
    for one in kills:
        figures.add(f"killed {one.what}", f"pod {one.pod}, uid {one.uid}, {one.how}")
    figures.add(
        f"orders on three stores during {kills[0].how}",
        f"{len(load.acknowledged)} acknowledged, {len(left)} not done, {verdict};"
        f" {its_gateway.tries_failed - failed_before} requests repeated,"
        f" longest time without an acknowledgment {load.longest_gap_s:.1f} s",
    )
    assert left == {}
    assert (verdict.lost, verdict.doubled) == ({}, {})
    assert {one.what for one in kills} == {"store", "database"}
    check(replicated)
