"""Records as lines: nothing is lost, and what is wrong is named."""

import json
from typing import Any

import pytest
from hypothesis import given, settings

from holdfast.core.records import Promise
from holdfast_store.archives import lines
from holdfast_store.archives.lines import BadLine, End, Header
from holdfast_store.archives.port import Kind, Record
from tests.unit.holdfast_store.archives.records import RECORDS

PROMISE = {
    "kind": "promise",
    "id": "a",
    "state": "pending",
    "timeout_at_ms": 2,
    "created_at_ms": 1,
}
TASK = {"kind": "task", "id": "a", "state": "pending", "version": 0, "target": "poll://any@w"}


@settings(deadline=None)  # machines are shared
@given(RECORDS)
def test_a_record_comes_back_as_it_was(before: Record) -> None:
    text = lines.encode(lines.line_of(before))

    assert text.count(b"\n") == 1
    assert text.endswith(b"\n")
    assert record(text) == before


def test_every_kind_of_record_is_named_by_its_line() -> None:
    promise = Promise(id="a", timeout_at_ms=1, created_at_ms=0)

    assert lines.kind_of(lines.line_of(promise)) is Kind.PROMISE
    assert json.loads(lines.encode(lines.line_of(promise)))["kind"] == "promise"


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"id": 1}, "id", "Expected `str`, got `int`"),
        ({"id": ""}, "id", "must not be empty"),
        ({"id": "a\0"}, "id", "NUL"),
        ({"id": "a" * 1025}, "id", "at most 1024 bytes"),
        ({"state": "done"}, "state", "Invalid enum value 'done'"),
        ({"timeout_at_ms": -1}, "timeout_at_ms", "Expected `int` >= 0"),
        ({"timeout_at_ms": 2**53}, "timeout_at_ms", "Expected `int` <= 9007199254740991"),
        ({"timeout_at_ms": 1.5}, "timeout_at_ms", "Expected `int`, got `float`"),
        ({"created_at_ms": None}, "created_at_ms", "Expected `int`, got `null`"),
        ({"param": {"data": "*"}}, "param.data", "Invalid base64"),
        ({"param": {"header": {}}}, "param.header", "unknown field `header`"),
        ({"value": {"headers": {"a": 1}}}, "value.headers[...]", "Expected `str`, got `int`"),
        ({"tags": []}, "tags", "Expected `object`, got `array`"),
        ({"extra": 1}, "extra", "unknown field `extra`"),
        ({"kind": "promises"}, "kind", "Invalid value 'promises'"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], field: str, words: str) -> None:
    flaw = flaw_of(PROMISE | fields)

    assert flaw.field == field
    assert words in str(flaw)


@pytest.mark.parametrize("field", sorted(PROMISE))
def test_a_missing_field_is_named(field: str) -> None:
    flaw = flaw_of({name: cell for name, cell in PROMISE.items() if name != field})

    assert flaw.field == field
    assert "missing required field" in str(flaw)


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (TASK | {"target": ""}, "target"),
        (TASK | {"pid": "\0"}, "pid"),
        (TASK | {"resumes": ["b", ""]}, "resumes"),
        (TASK | {"resumes": ["b", 1]}, "resumes[1]"),
        ({"kind": "callback", "awaited": "a", "awaiter": ""}, "awaiter"),
        ({"kind": "listener", "promise_id": "a", "address": ""}, "address"),
        ({"kind": "listener", "promise_id": "", "address": "a"}, "promise_id"),
        ({"kind": "end", "counts": {"promise": -1}}, "counts[...]"),
        ({"kind": "end", "counts": {"orders": 1}}, "counts"),
    ],
)
def test_every_kind_of_line_is_judged(line: dict[str, Any], field: str) -> None:
    assert flaw_of(line).field == field


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\n", b'{"kind":"promise","id":"\xff"}', b"}"])
def test_what_is_no_json_is_said_to_be_none(text: bytes) -> None:
    with pytest.raises(BadLine, match="it is no JSON"):
        lines.decode(text)


def flaw_of(line: dict[str, Any]) -> BadLine:
    with pytest.raises(BadLine) as refused:
        record(json.dumps(line).encode())
    return refused.value


def record(text: bytes) -> Record:
    line = lines.decode(text)
    assert not isinstance(line, Header | End)
    return lines.record_of(line)
