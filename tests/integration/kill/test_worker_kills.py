"""A worker is killed at every point of a run; another one finishes what it had begun."""

import pytest

from holdfast.testing.crash_points import POINTS
from tests.integration.kill.killing import kill_at_every_visit
from tests.integration.kill.runs import APPS, LadderRun
from tests.integration.kill.system import System

pytestmark = pytest.mark.timeout(240)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("app", APPS)
def test_another_worker_finishes_what_a_killed_one_had_begun(
    system: System, app: str, point: str
) -> None:
    kills = kill_at_every_visit(system, kind="worker", make_run=APPS[app], point=point)

    assert kills >= 1, f"no run of {app} comes to {point}"


@pytest.mark.parametrize(
    "point", ["before_step_body", "after_step_body", "before_write", "after_write"]
)
def test_steps_in_a_row_that_were_recorded_do_not_run_again(system: System, point: str) -> None:
    kills = kill_at_every_visit(system, kind="worker", make_run=LadderRun, point=point)

    assert kills >= len(LadderRun.steps)
