"""Every statement finds its rows by an index, so that its cost does not follow the table's size."""

import re
import sqlite3
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from holdfast_store.db import retention_statements
from holdfast_store.db.dialects import Sqlite
from holdfast_store.db.statements import Statements, build

STATEMENTS = build(Sqlite())
RETENTION = retention_statements.build(Sqlite(), locks=False)
# They count open or queued tasks, each by an index that holds nothing else.
COUNTS = {"queue_states": "tasks_open", "queue_due": "tasks_turns"}
SMALL = {"tables_named", "revisions"}
TABLES = "promises|tasks|callbacks|listeners|resumes|outbox|schedules"
ALIASES = "other|member|child|in_branch|with_parent|later"


@pytest.mark.parametrize("name", sorted({f.name for f in fields(Statements)} - SMALL))
def test_no_table_is_read_from_end_to_end(sqlite_file: Path, name: str) -> None:
    text = getattr(STATEMENTS, name)
    with sqlite3.connect(sqlite_file) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {text}", [None] * text.count("?"))
        steps = [row[3] for row in plan.fetchall()]
    connection.close()

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
    with sqlite3.connect(sqlite_file) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {text}", [None] * text.count("?"))
        steps = [row[3] for row in plan.fetchall()]
    connection.close()

    scans = [
        step for step in steps if step.startswith("SCAN") and not step.startswith("SCAN each_")
    ]

    assert scans == []
    assert not [step for step in steps if "TEMP B-TREE" in step], "nothing is sorted"


@pytest.mark.parametrize("name", ["due_promises", "due_tasks"])
def test_what_is_due_needs_no_sorting(sqlite_file: Path, name: str) -> None:
    """Or a hundred thousand equal deadlines would be sorted for each hundred of them."""
    with sqlite3.connect(sqlite_file) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {getattr(STATEMENTS, name)}", (1, 1))
        steps = [row[3] for row in plan.fetchall()]
    connection.close()

    assert len(steps) == 1
    assert "COVERING INDEX" in steps[0]
