import os
import signal

import pytest

from holdfast.testing.crash_points import KillAt


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    kills: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: kills.append(number))
    return kills


def test_the_process_dies_at_the_nth_visit_of_a_matching_point(kills: list[int]) -> None:
    observer = KillAt.from_environment({"HOLDFAST_CRASH_AT": r"before_write:run/1\.\d#2"})
    assert observer is not None

    observer.reached("before_write", "run/1", "run/1.0")
    observer.reached("after_write", "run/1", "run/1.1")
    observer.reached("before_write", "run/10", "run/10.0")
    assert kills == []
    observer.reached("before_write", "run/1", "run/1.1")

    assert kills == [signal.SIGKILL]


def test_a_pattern_may_contain_the_mark(kills: list[int]) -> None:
    observer = KillAt.from_environment({"HOLDFAST_CRASH_AT": "before_write:a#b"})
    assert observer is not None

    observer.reached("before_write", "a", "a#b")

    assert kills == [signal.SIGKILL]


def test_nothing_set_means_no_observer() -> None:
    assert KillAt.from_environment({}) is None
