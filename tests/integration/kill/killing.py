"""One run after the other, each killed one visit later than the run before."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count

from tests.integration.kill.points import Plan, Visit
from tests.integration.kill.processes import LOOK_EVERY_S
from tests.integration.kill.runs import Run
from tests.integration.kill.system import System
from tests.integration.kill.verdict import assert_bodies, assert_checkpoints, assert_the_kill_showed


def kill_at_every_visit(
    system: System, *, kind: str, make_run: Callable[[System], Run], point: str
) -> int:
    """Kill a member of a group at the first visit of a point in a run, at the second, and so on.

    Another member of the group lives and finishes the run. Ends with the run that does not visit
    the point so often; answers how many kills there were.
    """
    points = system.points[kind]
    for occurrence in count(1):
        run = make_run(system)
        points.arm(Plan(origin=run.promise_id, point=point, occurrence=occurrence))

        run.begin()
        run.play()

        run.assert_effects()
        visits = points.until_hit()
        assert_bodies(system, run, visits)
        assert_checkpoints(points.visits())
        hit = points.hit()
        if hit is None:
            return occurrence - 1
        assert_the_kill_showed(system, run, visits)
        replace_victim(system, kind, hit)
    raise AssertionError("unreachable")


def replace_victim(system: System, kind: str, hit: Visit) -> None:
    """Start the process again that was hit."""
    (victim,) = [process for process in system.of_kind(kind) if process.os_pid == hit.os_pid]
    victim.wait_killed()
    victim.start()
    victim.wait_ready()


def play_while(run: Run, tend: Callable[[], None]) -> None:
    """Play a run from its first request to its end, and do something else all the time.

    Processes are started from the calling thread: they die with the thread that started them.
    """

    def play() -> None:
        run.begin()
        run.play()

    with ThreadPoolExecutor(1) as pool:
        playing = pool.submit(play)
        while not playing.done():
            tend()
            time.sleep(LOOK_EVERY_S)
        playing.result()
