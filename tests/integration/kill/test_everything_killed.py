"""Whole groups, and everything at once, are killed and come back."""

import pytest

from tests.integration.kill.points import Plan
from tests.integration.kill.processes import until
from tests.integration.kill.runs import APPS, JobRun
from tests.integration.kill.system import System
from tests.integration.kill.verdict import assert_bodies

pytestmark = pytest.mark.timeout(120)


def test_a_job_that_waits_for_approval_survives_everything(system: System) -> None:
    run = JobRun(system)
    run.begin()
    run.wait_for_approval()

    system.kill_all()
    system.heal()

    status = until(run.status, "the gateway answered")
    assert status == {"id": run.promise_id, "status": "processing"}
    run.play()
    run.assert_effects()
    assert_bodies(system, run, [])  # the account was looked up once, the result saved once


@pytest.mark.parametrize(
    ("app", "kind", "point"),
    [
        ("orders", "worker", "after_step_body"),
        ("orders", "worker", "before_suspend"),
        ("orders", "worker", "after_write"),
        ("orders", "db", "after_step_body"),
        ("jobs", "worker", "after_write"),
        ("jobs", "db", "before_fulfill"),
    ],
)
def test_a_run_goes_on_after_everything_died_in_the_middle(
    system: System, app: str, kind: str, point: str
) -> None:
    run = APPS[app](system)
    for each in ("worker", "db"):
        system.points[each].arm(Plan(origin=run.promise_id))
    system.points[kind].arm(Plan(origin=run.promise_id, point=point, occurrence=1))

    run.begin()
    until(system.points[kind].hit, f"a run came to {point}")
    system.kill_all()
    visits = system.points["worker"].visits() + system.points["db"].visits()
    system.heal()
    run.play()

    run.assert_effects()
    assert_bodies(system, run, visits)


def test_a_job_waits_for_the_db_group_to_appear(system: System) -> None:
    for db_worker in system.db_workers:
        db_worker.kill()
    run = JobRun(system)

    run.begin()
    lookup = f"{run.promise_id}.0"
    states = system.store_file.states
    until(lambda: states(lookup) == {lookup: "pending"}, "the job asked for the account")
    status = until(run.status, "the gateway answered")
    system.heal()
    run.play()

    assert status == {"id": run.promise_id, "status": "processing"}
    run.assert_effects()
    assert_bodies(system, run, [])
