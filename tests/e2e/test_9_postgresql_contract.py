"""Phase 9, continued: what nobody needs any more is taken away, when that is asked for."""

import pytest

from tests.e2e import newer
from tests.e2e.client import Gateway
from tests.e2e.deployment import DATABASE_POD, Deployment
from tests.e2e.evidence import collect, judge
from tests.e2e.figures import Figures
from tests.e2e.load import Load, unfinished
from tests.e2e.replicas import check, jobs_completed, revisions
from tests.e2e.waiting import until

pytestmark = [pytest.mark.timeout(900)]

PER_SECOND = 6.0
BETWEEN = 8


def test_tables_are_contracted_by_a_job_behind_the_upgrade(
    replicated: Deployment, its_gateway: Gateway, figures: Figures
) -> None:
    """The upgrade itself still runs beside stores that need what goes away."""
    newer.prepare(replicated)
    of_newest = newer.values(newer.CONTRACTS)

    with Load(its_gateway, per_second=PER_SECOND) as load:
        load.wait_for(BETWEEN)
        replicated.upgrade(*of_newest)
        expanded, had_note = revisions(replicated), _has_note(replicated)
        with figures.seconds("helm upgrade --wait of three stores that contracts, under load"):
            replicated.upgrade(*of_newest, "--set", "store.migration.contract=true")
        load.wait_for(BETWEEN)
    left = unfinished(its_gateway, load.acknowledged, seconds=240)

    verdict = judge(collect(replicated), load.acknowledged, kills=[])
    assert left == {}
    assert (verdict.lost, verdict.doubled) == ({}, {})
    assert newer.CONTRACTS not in expanded
    assert had_note
    assert revisions(replicated) == [*expanded, newer.CONTRACTS]
    assert not _has_note(replicated)
    until(lambda: jobs_completed(replicated, "contract") == 1, "the Job left its event")
    check(replicated)


def _has_note(deployment: Deployment) -> bool:
    """Whether the column is there that the first migration brought."""
    question = (
        f"SELECT count(*) FROM information_schema.columns"
        f" WHERE table_name = '{newer.TABLE}' AND column_name = '{newer.COLUMN}'"
    )
    psql = ("psql", "-h", "/tmp", "-U", "store", "--tuples-only", "--no-align", "-c", question)
    return deployment.execute(DATABASE_POD, *psql).strip() == "1"
