"""What must be true of the bodies of a run that was disturbed by a kill."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from tests.integration.kill.points import Visit
from tests.integration.kill.runs import Run
from tests.integration.kill.system import System

ENTERED: Final = "entered"
ENDED: Final = "ended"
SENT: Final = "sent"
ACKNOWLEDGED: Final = "acknowledged"


def stages(visits: Sequence[Visit]) -> Mapping[str, str]:
    """How far each step had come.

    A write that left before the body ended has announced the step; only one that left afterwards
    carries its outcome. A run has at most one chain of writes under way.
    """
    stage_of: dict[str, str] = {}
    for visit in visits:
        match visit.point, stage_of.get(visit.step_id):
            case "before_step_body", _:
                stage_of[visit.step_id] = ENTERED
            case "after_step_body", _:
                stage_of[visit.step_id] = ENDED
            case (("before_write" | "before_fulfill"), "ended"):
                stage_of[visit.step_id] = SENT
            case (("after_write" | "after_fulfill"), "sent"):
                stage_of[visit.step_id] = ACKNOWLEDGED
    return stage_of


def acknowledged(visits: Sequence[Visit]) -> set[str]:
    """Steps whose outcome the store had acknowledged."""
    return {step_id for step_id, stage in stages(visits).items() if stage == ACKNOWLEDGED}


def assert_bodies(system: System, run: Run, visits: Sequence[Visit]) -> None:
    """Every body ran once; only one that was in flight at the kill may have run twice.

    `visits` are those up to the kill. The journal has no key, so that a body that ran again shows.
    """
    attempts = system.attempts.of(run.promise_id)
    names = {attempt.promise_id: attempt.step for attempt in attempts}
    times = Counter(attempt.promise_id for attempt in attempts)
    stage_of = stages(visits)
    assert sorted(names.values()) == sorted(run.steps), attempts
    in_flight = {i for i in names if stage_of.get(i, ACKNOWLEDGED) != ACKNOWLEDGED}
    assert len(in_flight) <= 1, f"{in_flight} were in flight at once"
    for step_id, step in names.items():
        stage = "in flight" if step_id in in_flight else "recorded, or not begun"
        most = 2 if step_id in in_flight else 1
        assert times[step_id] <= most, f"{step} was {stage}, and ran {times[step_id]} times"


def assert_checkpoints(visits: Sequence[Visit]) -> None:
    """No process enters a body before the step before it is acknowledged.

    True of runs whose steps follow each other, as all of those here do.
    """
    for position, visit in enumerate(visits):
        if visit.point == "before_step_body":
            earlier = [v for v in visits[:position] if v.os_pid == visit.os_pid]
            open_steps = {i for i, s in stages(earlier).items() if s != ACKNOWLEDGED}
            assert open_steps <= {visit.step_id}, f"{visit.step_id} began before {open_steps}"


def assert_the_kill_showed(system: System, run: Run, visits: Sequence[Visit]) -> None:
    """A killed process proves itself: it was before the body of a step, or just behind it.

    A body whose process died before it began ran once, elsewhere. One that had ended and was not
    sent yet had to run again: otherwise nothing was killed, or something was invented.
    """
    hit = visits[-1]
    times = system.attempts.times(run.promise_id, hit.step_id)
    match hit.point:
        case "before_step_body":
            assert times in (0, 1), times  # clock and chance have bodies, and no journal
        case "after_step_body":
            assert times in (0, 2), times
