"""Every statement finds its rows by an index, so that its cost does not follow the table's size."""

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from holdfast.core.records import BRANCH, ORIGIN, PARENT, PromiseState, TaskState
from holdfast.core.search import PromiseSearch, ScheduleSearch, TaskSearch
from holdfast_store.db import retention_statements
from holdfast_store.db.dialects import Sqlite
from holdfast_store.db.search_statements import SearchStatements
from holdfast_store.db.statements import Statements, build

STATEMENTS = build(Sqlite())
RETENTION = retention_statements.build(Sqlite(), locks=False)
# They count open or queued tasks, each by an index that holds nothing else.
COUNTS = {"queue_states": "tasks_open", "queue_due": "tasks_turns"}
SMALL = {"tables_named", "revisions"}
SEARCHES = SearchStatements(Sqlite())
LISTINGS = {
    "everything": SEARCHES.promises(PromiseSearch(), now_ms=1),
    "by a name": SEARCHES.promises(PromiseSearch(tags={"name": "x"}), now_ms=1),
    **{
        f"promises that are {state.value}": SEARCHES.promises(PromiseSearch(state=state), now_ms=1)
        for state in PromiseState
    },
    **{
        f"of {tag}, {state}": SEARCHES.promises(
            PromiseSearch(state=state, tags={tag: "x"}), now_ms=1
        )
        for tag in (ORIGIN, BRANCH, PARENT)
        for state in (None, *PromiseState)
    },
    "all tasks": SEARCHES.tasks(TaskSearch(), now_ms=1),
    **{
        f"tasks that are {state.value}": SEARCHES.tasks(TaskSearch(state=state), now_ms=1)
        for state in TaskState
    },
}
WITHIN = {
    "everything": SEARCHES.promises(PromiseSearch(id_prefix="a/"), now_ms=1),
    "pending ones": SEARCHES.promises(
        PromiseSearch(state=PromiseState.PENDING, id_prefix="a/"), now_ms=1
    ),
    "a tree": SEARCHES.promises(PromiseSearch(tags={ORIGIN: "x"}, id_prefix="a/"), now_ms=1),
    "tasks": SEARCHES.tasks(TaskSearch(id_prefix="a/"), now_ms=1),
    "schedules": SEARCHES.schedules(ScheduleSearch(id_prefix="a/")),
}
TABLES = "promises|tasks|callbacks|listeners|resumes|outbox|schedules"
ALIASES = "other|member|child|in_branch|with_parent|later"


def steps_of(sqlite_file: Path, text: str, parameters: Sequence[object]) -> list[str]:
    """Ask the database how it would carry a statement out, step by step."""
    with closing(sqlite3.connect(sqlite_file)) as connection:
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", parameters)]


def reads_among(steps: Sequence[str]) -> list[str]:
    """Pick the steps that read a table."""
    return [step for step in steps if re.match(rf"(SCAN|SEARCH) ({TABLES})\b", step)]


@pytest.mark.parametrize("name", sorted({f.name for f in fields(Statements)} - SMALL))
def test_no_table_is_read_from_end_to_end(sqlite_file: Path, name: str) -> None:
    text = getattr(STATEMENTS, name)
    steps = steps_of(sqlite_file, text, [None] * text.count("?"))

    scans = [step for step in steps if re.match(rf"SCAN ({TABLES}|{ALIASES})\b", step)]

    if name == "lease_holders":  # once per start, over the acquired tasks alone
        assert scans == ["SCAN tasks USING INDEX tasks_leased"]
    elif name in COUNTS:
        assert scans == [f"SCAN tasks USING COVERING INDEX {COUNTS[name]}"]
    else:
        assert scans == []


@pytest.mark.parametrize("name", sorted(asdict(RETENTION)))
def test_retention_reads_no_table_from_end_to_end(sqlite_file: Path, name: str) -> None:
    text = getattr(RETENTION, name)
    steps = steps_of(sqlite_file, text, [None] * text.count("?"))

    scans = [
        step for step in steps if step.startswith("SCAN") and not step.startswith("SCAN each_")
    ]

    assert scans == []
    assert not [step for step in steps if "TEMP B-TREE" in step], "nothing is sorted"


@pytest.mark.parametrize("name", ["due_promises", "due_tasks"])
def test_what_is_due_needs_no_sorting(sqlite_file: Path, name: str) -> None:
    """Or a hundred thousand equal deadlines would be sorted for each hundred of them."""
    steps = steps_of(sqlite_file, getattr(STATEMENTS, name), (1, 1))

    assert len(steps) == 1
    assert "COVERING INDEX" in steps[0]


@pytest.mark.parametrize("name", sorted(WITHIN))
def test_a_listing_with_a_prefix_reads_that_part_of_an_index(sqlite_file: Path, name: str) -> None:
    question = WITHIN[name]
    steps = steps_of(sqlite_file, question.text, question.parameters)

    reads = reads_among(steps)

    assert reads
    assert [step for step in reads if "id>? AND id<?" not in step and "(id=?)" not in step] == []


@pytest.mark.parametrize("name", sorted(LISTINGS))
def test_a_listing_goes_on_behind_its_cursor_by_an_index(sqlite_file: Path, name: str) -> None:
    question = LISTINGS[name]
    steps = steps_of(sqlite_file, question.text, question.parameters)

    reads = reads_among(steps)

    assert reads
    assert [step for step in reads if not step.startswith("SEARCH")] == []
    assert [step for step in reads if "id>?" not in step and "(id=?)" not in step] == []
    if name.startswith("of "):
        tag = name.removeprefix("of resonate:").split(",")[0]
        assert all(f"promises_{tag}" in step for step in reads)
    elif name not in {"everything", "by a name", "all tasks"}:
        by_state = [step for step in reads if "_states (state=? AND id>?)" in step]
        # What most promises and tasks come to is found among all.
        common = {"promises that are resolved", "tasks that are fulfilled"}
        assert len(by_state) == {
            "promises that are resolved": 1,
            "promises that are rejected_timedout": 2,
            "tasks that are fulfilled": 4,
        }.get(name, 1)
        in_all = [step for step in reads if "(id>?)" in step]
        assert len(in_all) == (name in common)
