"""Phase 9: three stores on PostgreSQL, in a namespace of their own.

Installed as the profile `postgresql` of Skaffold.yaml says. An upgrade brings a migration while
orders keep coming, and the way back leaves its tables.
"""

import uuid

import pytest

from tests.e2e import newer
from tests.e2e.client import Gateway
from tests.e2e.deployment import DATABASE_POD, Deployment
from tests.e2e.evidence import collect, judge
from tests.e2e.figures import Figures
from tests.e2e.load import Load, unfinished
from tests.e2e.replicas import (
    REPLICAS,
    check,
    jobs_completed,
    revisions,
    stores,
    url,
)
from tests.e2e.waiting import until

pytestmark = [pytest.mark.timeout(900)]

PER_SECOND = 6.0
BETWEEN = 8
DATABASE = "dev-postgresql", 5432

CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=4).close()
except TimeoutError:
    print("denied")
else:
    print("connected")
"""


def test_three_stores_run_an_order_and_a_job(replicated: Deployment, its_gateway: Gateway) -> None:
    order_id = f"replicated-{uuid.uuid4()}"

    assert its_gateway.post_order(order_id).status_code == 202
    job_id = its_gateway.start_job(account="acct-1", key=str(uuid.uuid4()))
    until(lambda: its_gateway.approve(job_id).status_code == 204, f"{job_id} asks for its approval")
    job = until(
        lambda: (
            status
            if (status := its_gateway.job_status(job_id, wait_s=5))["status"] != "processing"
            else None
        ),
        f"{job_id} ended",
    )
    left = unfinished(its_gateway, [order_id], seconds=120)

    assert (left, job["status"]) == ({}, "done")
    ready = [pod for pod in replicated.pods("store") if pod.is_ready]
    assert len(ready) == REPLICAS
    until(lambda: jobs_completed(replicated, "migrate") == 1, "the hook Job left its event")


def test_only_those_with_a_database_reach_the_server(replicated: Deployment) -> None:
    for component, group, said in (
        ("store", "", "connected"),
        ("worker", "db", "connected"),
        ("gateway", "", "denied"),
        ("operator", "", "denied"),
    ):
        pod = replicated.ready_pod(component, group=group)
        command = ("python", "-c", CONNECT, DATABASE[0], str(DATABASE[1]))
        assert replicated.execute(pod.name, *command).strip() == said, (component, group)


def test_a_role_reaches_its_own_database_alone(replicated: Deployment) -> None:
    """The passwords that the pods have would not help them into the other database."""
    reached = {
        (role, name): replicated.attempt_in(
            DATABASE_POD, "psql", url(replicated, role, name), "-c", "SELECT 1"
        )[0]
        == 0
        for role in ("store", "application")
        for name in ("store", "application", "postgres")
    }

    assert [pair for pair, is_reached in reached.items() if is_reached] == [
        ("store", "store"),
        ("application", "application"),
    ]


def test_an_upgrade_with_a_migration_and_a_rollback_lose_and_repeat_nothing(
    replicated: Deployment, its_gateway: Gateway, figures: Figures
) -> None:
    """Old stores run on the new tables twice: until they are replaced, and after the way back."""
    first = replicated.revision()
    before = revisions(replicated)
    newer.prepare(replicated)
    failed_before = its_gateway.tries_failed

    with Load(its_gateway, per_second=PER_SECOND) as load:
        load.wait_for(BETWEEN)
        old = stores(replicated)
        with figures.seconds("helm upgrade --wait of three stores, with a migration, under load"):
            replicated.upgrade(*newer.values(newer.EXPANDS))
        until(lambda: old.isdisjoint(stores(replicated)), "all stores are of the newer version")
        upgraded, after_upgrade = stores(replicated), revisions(replicated)
        load.wait_for(BETWEEN)
        with figures.seconds("helm rollback --wait of three stores under load"):
            replicated.rollback(first)
        until(lambda: upgraded.isdisjoint(stores(replicated)), "all stores are of the older one")
        load.wait_for(BETWEEN)
    left = unfinished(its_gateway, load.acknowledged, seconds=240)

    verdict = judge(collect(replicated), load.acknowledged, kills=[])
    figures.add(
        "orders during upgrade with a migration and rollback",
        f"{len(load.acknowledged)} acknowledged, {len(left)} not done, {verdict};"
        f" {its_gateway.tries_failed - failed_before} requests repeated,"
        f" longest time without an acknowledgment {load.longest_gap_s:.1f} s",
    )
    assert left == {}
    assert (verdict.lost, verdict.doubled) == ({}, {})
    assert len(upgraded) == REPLICAS
    assert newer.EXPANDS not in before
    assert after_upgrade == [*before, newer.EXPANDS]
    assert revisions(replicated) == after_upgrade, "a rollback must not take tables away"
    until(lambda: jobs_completed(replicated, "migrate") == 2, "the second Job left its event")
    check(replicated)
