from pathlib import Path

import pytest

from tests.bench.step_log import Event, StepLog, lateness_ms, parse, recovery_of

KILLED_AT_S = 10.0


def event(kind: str, workflow: int, step: int, at_s: float) -> Event:
    return Event(kind, workflow, step, pid=1, at_s=at_s)


def test_a_step_that_began_twice_is_duplicated_and_one_that_never_ended_is_lost() -> None:
    events = [
        event("begin", 0, 0, 9.0),
        event("end", 0, 0, 9.1),
        event("begin", 0, 1, 9.9),  # under way when the worker was killed
        event("begin", 0, 1, 10.5),
        event("end", 0, 1, 10.6),
        event("begin", 1, 0, 9.9),
    ]

    recovery = recovery_of(events, killed_at_s=KILLED_AT_S, steps=4)

    assert recovery.duplicated == 1
    assert recovery.lost == 2
    assert recovery.first_step_s == pytest.approx(0.5)
    assert recovery.last_step_s == pytest.approx(0.6)


def test_only_the_first_end_of_a_step_counts() -> None:
    events = [
        event("begin", 0, 0, 10.1),
        event("end", 0, 0, 10.2),
        event("begin", 0, 0, 11.0),
        event("end", 0, 0, 12.0),
    ]

    recovery = recovery_of(events, killed_at_s=KILLED_AT_S, steps=1)

    assert recovery.last_step_s == pytest.approx(0.2)


def test_nothing_that_came_back_is_an_error_and_not_a_fast_recovery() -> None:
    with pytest.raises(ValueError, match="empty"):
        recovery_of([event("end", 0, 0, 9.0)], killed_at_s=KILLED_AT_S, steps=1)


def test_a_sleep_counts_from_when_the_workflow_first_said_so() -> None:
    events = [
        event("asleep", 0, 0, 1.0),
        event("asleep", 1, 0, 1.5),
        event("asleep", 0, 0, 2.9),  # the workflow was run again
        event("awake", 1, 0, 3.51),
        event("awake", 0, 0, 3.03),
    ]

    assert lateness_ms(events, slept_s=2.0) == pytest.approx([10.0, 30.0])


def test_a_line_that_is_not_complete_is_read_when_it_is(tmp_path: Path) -> None:
    path = tmp_path / "steps.log"
    log = StepLog(path)
    with path.open("a") as file:
        file.write("end 1 2 77 3.5\nend 1 3 7")
    assert log.count("end") == 1

    with path.open("a") as file:
        file.write("7 4.5\n")

    assert log.count("end") == 2
    assert log.events[-1] == parse("end 1 3 77 4.5\n")
    log.close()
