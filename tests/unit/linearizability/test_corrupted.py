"""Each corrupted recording is refuted, and for its rule; without its last line it is sound."""

from pathlib import Path
from typing import Final

import pytest

from tests.linearizability.checker import check
from tests.linearizability.recording import read
from tests.linearizability.rules import breaches

CORRUPTED: Final = sorted((Path(__file__).parents[2] / "linearizability/corrupted").glob("*"))

OF_THE_SEARCH_ALONE: Final = frozenset({"B1", "B10", "B11"})
"""Rules that only a search can judge; the others are also read off the recording directly."""


def _rule(path: Path) -> str:
    return path.name.partition("-")[0].upper()


def test_there_is_a_recording_for_each_black_box_rule() -> None:
    assert {_rule(path) for path in CORRUPTED} >= {f"B{number}" for number in range(1, 10)}


@pytest.mark.parametrize("path", CORRUPTED, ids=lambda path: path.stem)
def test_a_corrupted_recording_cannot_be_explained(path: Path) -> None:
    (verdict,) = check(read(path))

    assert verdict.linearizable is False
    assert verdict.stuck, "it says where"


@pytest.mark.parametrize("path", CORRUPTED, ids=lambda path: path.stem)
def test_a_corrupted_recording_names_the_rule_that_it_breaks(path: Path) -> None:
    broken = {breach.rule for breach in breaches(read(path))}

    if _rule(path) in OF_THE_SEARCH_ALONE:
        assert broken <= {"B2"}, "no other rule is near"
    else:
        assert _rule(path) in broken


@pytest.mark.parametrize("path", CORRUPTED, ids=lambda path: path.stem)
def test_without_its_last_line_a_corrupted_recording_is_sound(path: Path) -> None:
    sound = read(path)[:-1]

    (verdict,) = check(sound)

    assert verdict.linearizable
    assert breaches(sound) == []
