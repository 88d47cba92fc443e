"""The store is killed at every point of every batch of a run, and started again on its file."""

from collections.abc import Sequence
from itertools import count

import pytest

from tests.integration.kill.killing import play_while
from tests.integration.kill.points import Plan, Visit
from tests.integration.kill.runs import APPS, Run
from tests.integration.kill.system import System
from tests.integration.kill.verdict import acknowledged, assert_bodies

pytestmark = pytest.mark.timeout(240)

BATCHES_MIN = 4


class Death:
    """Waits for the store's death, judges what it left, and starts it again."""

    def __init__(self, system: System, run: Run) -> None:
        self._system = system
        self._run = run
        self.visits: Sequence[Visit] | None = None
        """Where workers and db workers were."""
        self.versions: dict[str, int] = {}

    def tend(self) -> None:
        """Look once."""
        system = self._system
        if system.store.is_alive:
            return
        system.store.wait_killed()
        # Answers that are on their way count as acknowledged when they arrive.
        for process in system.processes[1:]:
            process.wait_not_ready()
        was_accepted = self._run.is_accepted
        self.visits = system.points["worker"].visits() + system.points["db"].visits()
        remains = system.store_file.after_death()

        remains.assert_sound()
        states = remains.states()
        unrecorded = {i for i in acknowledged(self.visits) if states.get(i) != "resolved"}
        assert not unrecorded, f"acknowledged and not there: {unrecorded}"
        assert not was_accepted or self._run.promise_id in states, "accepted and not there"
        self.versions = {task.id: task.version for task in remains.tasks().values()}
        system.store.start()
        system.store.wait_ready()


# Nothing leaves the process between `loaded` and `decided`, nor between `committed` and `answered`:
# what differs for others is whether the commit happened. One application is killed at all of them.
@pytest.mark.parametrize(
    ("app", "point"),
    [
        ("orders", "loaded"),
        ("orders", "decided"),
        ("orders", "committing"),
        ("orders", "committed"),
        ("orders", "answered"),
        ("jobs", "committing"),
        ("jobs", "committed"),
    ],
)
def test_a_killed_store_keeps_what_it_acknowledged_and_no_halves(
    system: System, app: str, point: str
) -> None:
    for occurrence in count(1):
        run = APPS[app](system)
        for kind in ("worker", "db"):
            system.points[kind].arm(Plan(origin=run.promise_id))
        system.points["store"].arm(Plan(point=point, occurrence=occurrence))
        death = Death(system, run)

        play_while(run, death.tend)

        run.assert_effects()
        assert_bodies(system, run, death.visits or [])
        versions = system.store_file.versions(run.promise_id)
        back = {i for i, version in versions.items() if version < death.versions.get(i, 0)}
        assert not back, f"versions of {back} went back"
        if death.visits is None:
            break
        system.heal()
    assert occurrence > BATCHES_MIN, f"a run of {app} has more than {BATCHES_MIN} batches"
