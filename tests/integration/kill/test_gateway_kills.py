"""The gateway is killed around its writes: a 202 is a promise that is stored."""

import pytest

from tests.integration.kill.killing import play_while
from tests.integration.kill.points import Plan
from tests.integration.kill.processes import until
from tests.integration.kill.runs import APPS, JobRun, OrderRun
from tests.integration.kill.system import System
from tests.integration.kill.verdict import assert_bodies

pytestmark = pytest.mark.timeout(120)


def restart_when_killed(system: System) -> None:
    if not system.gateway.is_alive:
        system.gateway.wait_killed()
        system.gateway.start()
        system.gateway.wait_ready()


@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize("point", ["before_create", "after_create"])
def test_asking_again_after_a_connection_broke_is_the_same_run(
    system: System, app: str, point: str
) -> None:
    run = APPS[app](system)
    points = system.points["gateway"]
    points.arm(Plan(origin=run.promise_id, point=point, occurrence=1))

    first = run.try_begin()
    system.gateway.wait_killed()
    stored = run.promise_id in system.store_file.states(run.promise_id)
    system.heal()
    run.begin()
    run.play()

    assert not first
    assert stored == (point == "after_create")
    run.assert_effects()
    assert_bodies(system, run, [])


@pytest.mark.parametrize("app", APPS)
def test_what_was_accepted_is_there_when_the_gateway_dies_at_once(system: System, app: str) -> None:
    run = APPS[app](system)

    run.begin()
    system.gateway.kill()

    assert run.promise_id in system.store_file.states(run.promise_id)
    system.heal()
    run.play()
    run.assert_effects()
    assert_bodies(system, run, [])


@pytest.mark.parametrize(
    ("point", "state"), [("before_settle", "pending"), ("after_settle", "resolved")]
)
def test_an_approval_that_was_not_answered_may_be_repeated(
    system: System, point: str, state: str
) -> None:
    run = JobRun(system)
    approval = f"approve/{run.promise_id}"
    system.points["gateway"].arm(Plan(origin=approval, point=point, occurrence=1))
    seen = []

    def tend() -> None:
        if not system.gateway.is_alive:
            seen.append(system.store_file.states(approval))
        restart_when_killed(system)

    play_while(run, tend)

    assert seen == [{approval: state}]
    run.assert_effects()
    assert_bodies(system, run, [])


def test_without_a_store_nothing_is_accepted_and_nothing_half_done(system: System) -> None:
    run = OrderRun(system)
    system.store.kill()
    system.gateway.wait_not_ready()

    was_accepted = run.try_begin()

    assert not was_accepted
    system.heal()
    assert run.status() == {"status": "not_found"}
    run.begin()
    run.play()
    run.assert_effects()
    assert_bodies(system, run, [])


def test_a_restarted_gateway_tells_what_became_of_an_order(system: System) -> None:
    run = OrderRun(system)
    run.begin()
    run.play()

    system.gateway.kill()
    system.heal()

    status = until(run.status, "the gateway answered")
    assert status["status"] == "done"
