"""What the statements of a batch are given: each column as its statement wants it."""

import re
from dataclasses import asdict

import pytest

from holdfast.core.records import Promise, Task
from holdfast.core.working_set import Changes
from holdfast_store.db.dialects import Postgres
from holdfast_store.db.postgres import statements as postgres_statements
from holdfast_store.db.postgres.saving import Part, saving_of

TEXTS = postgres_statements.build(Postgres())
WRITING = {
    name: text
    for name, text in asdict(TEXTS).items()
    if re.search(r"_(insert|update|revise|save|delete)$", name) and name != "replica_save"
}


def test_what_is_the_same_in_all_rows_is_given_once_and_bytes_as_a_list() -> None:
    part = Part(TEXTS.promise_update, [("a", b"x", 1), ("b", None, None)], (7,))

    assert part.parameters == [7, '{"a","b"}', (b"x", None), "{1,null}"]


def test_rows_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        _ = Part(TEXTS.listener_save, [("a", "b"), ("c",)]).parameters


def test_nothing_but_bytes_is_given_as_a_list_to_what_writes() -> None:
    """The driver would look at every element."""
    lists = {
        name: found
        for name, text in WRITING.items()
        if (found := re.findall(r"\$\d+::(\w+)\[\]", text))
    }

    assert len(WRITING) > 15
    assert lists == {
        "promise_insert": ["BYTEA", "BYTEA"],
        "promise_update": ["BYTEA"],
        "schedule_insert": ["BYTEA"],
        "schedule_update": ["BYTEA"],
    }
    assert "[]" not in re.sub(r"CAST\(\$\d+::VARCHAR AS \w+\[\]\)", "", TEXTS.certain)


def test_what_is_revised_gets_the_revision_of_the_batch() -> None:
    updated = Promise(id="u", timeout_at_ms=9, created_at_ms=1)
    changes = Changes(
        promises_created=[Promise(id="new", timeout_at_ms=9, created_at_ms=1)],
        promises_updated=[updated],
        tasks_created=[Task(id="new", target="poll://any@g"), Task(id="t", target="poll://any@g")],
        listeners_added=[("l", "http://l")],
    )

    saving = saving_of(changes, TEXTS, revision=7)

    given = {part.text: (part.same, part.rows) for part in saving.together}
    assert set(given[TEXTS.promise_revise][1]) == {("t",), ("l",)}
    assert given[TEXTS.promise_insert][0] == given[TEXTS.promise_revise][0] == (7,)
    assert given[TEXTS.task_insert][0] == ()
