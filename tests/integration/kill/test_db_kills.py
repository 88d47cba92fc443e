"""A db worker is killed at every point of a function; another one does it, and the books agree."""

import pytest

from tests.integration.kill.killing import kill_at_every_visit
from tests.integration.kill.runs import APPS
from tests.integration.kill.system import System

pytestmark = pytest.mark.timeout(240)

FUNCTIONS_PER_RUN = 2  # orders: reserve and charge; jobs: account and result


@pytest.mark.parametrize(
    "point", ["before_step_body", "after_step_body", "before_fulfill", "after_fulfill"]
)
@pytest.mark.parametrize("app", APPS)
def test_another_db_worker_answers_for_a_killed_one(system: System, app: str, point: str) -> None:
    kills = kill_at_every_visit(system, kind="db", make_run=APPS[app], point=point)

    assert kills == FUNCTIONS_PER_RUN
