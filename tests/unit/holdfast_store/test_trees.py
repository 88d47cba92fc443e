"""Tasks of one run are one tree, whatever their ids are."""

import pytest

from holdfast.core.records import ORIGIN, PREFIX
from holdfast_store.trees import tree_of


@pytest.mark.parametrize(
    ("promise_id", "tags"),
    [
        ("run", {}),
        ("run.1.2", {}),
        ("run:1", {}),
        ("elsewhere", {ORIGIN: "run"}),
        ("with-an-id-of-its-own", {ORIGIN: "with-an-id-of-its-own", PREFIX: "run"}),
    ],
)
def test_the_tasks_of_a_run_are_one_tree(promise_id: str, tags: dict[str, str]) -> None:
    assert tree_of(promise_id, tags) == tree_of("run")


def test_the_number_of_a_tree_is_the_same_in_every_version() -> None:
    """It is stored: another one would tear a tree apart until its old tasks are gone."""
    assert tree_of("run") == 1_349_952_704


def test_different_runs_are_different_trees() -> None:
    assert len({tree_of(f"order-{number}") for number in range(10_000)}) > 9_990
