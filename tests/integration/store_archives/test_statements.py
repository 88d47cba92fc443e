"""Whole tables are read as they lie: nothing is sorted, and nothing is looked up by reading on."""

import sqlite3
from contextlib import closing
from dataclasses import fields
from pathlib import Path

import pytest

from holdfast_store.db.archive_statements import ArchiveStatements
from tests.integration.store_archives.files import WHOLE, migrated

EVERY = [field.name for field in fields(ArchiveStatements)]


def steps_of(path: Path, name: str) -> list[str]:
    text = getattr(WHOLE, name)
    with closing(sqlite3.connect(path)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {text}", [None] * text.count("?"))
        return [row[3] for row in plan.fetchall()]


@pytest.mark.parametrize("name", EVERY)
def test_nothing_is_sorted(tmp_path: Path, name: str) -> None:
    assert not [step for step in steps_of(migrated(tmp_path / "x.db"), name) if "B-TREE" in step]


@pytest.mark.parametrize("name", [name for name in EVERY if name.startswith("find_")])
def test_what_is_named_is_found_by_an_index(tmp_path: Path, name: str) -> None:
    steps = steps_of(migrated(tmp_path / "x.db"), name)

    assert [step for step in steps if step.startswith("SCAN")] == [
        "SCAN each_ids VIRTUAL TABLE INDEX 1:"
    ]
