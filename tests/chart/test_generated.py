"""values.yaml is the one place: README and schema follow from it, and say when they do not."""

from typing import Any

import jsonschema
import pytest

from tools import gen_chart_docs
from tools.chart.readme import BEGIN, END, NoMarks, with_values
from tools.chart.schema import schema_of
from tools.chart.values import Undocumented, read_values

SAMPLE = """\
# -- How many; at least one
# of them.
# @schema {minimum: 1}
count: 2
part:
  # -- Its name | or names.
  name: ""
  # -- Perhaps.
  # @schema {type: [integer,
  #   "null"]}
  maybe: null
  # -- Anything.
  # @schema {additionalProperties: true}
  free: {a: 1}
  # -- Settings.
  # @settings store
  settings: {}
itemDefaults:
  # -- Size of an item.
  size: 1
# -- Items.
# @each itemDefaults
items:
  # -- The first.
  one: {size: 2}
"""

SETTINGS = {"store": {"HOLDFAST_STORE_A": "What A means."}}


def sample_schema() -> Any:
    removed = {"items.*.length": "use size.", "part.title": "use part.name."}
    return schema_of(read_values(SAMPLE), title="Sample", settings=SETTINGS, removed=removed)


def accepts(values: Any) -> bool:
    base = {
        "count": 2,
        "part": {"name": "", "free": {}, "settings": {}},
        "itemDefaults": {"size": 1},
        "items": {},
    }
    schema = sample_schema()
    jsonschema.Draft7Validator.check_schema(schema)
    return bool(jsonschema.Draft7Validator(schema).is_valid({**base, **values}))


def test_what_is_committed_follows_from_the_values() -> None:
    assert gen_chart_docs.README.read_text() == gen_chart_docs.readme_text()
    assert gen_chart_docs.SCHEMA.read_text() == gen_chart_docs.schema_text()


def test_comments_become_descriptions() -> None:
    values = {".".join(value.path): value for value in read_values(SAMPLE).walk()}

    assert values["count"].doc == "How many; at least one of them."
    assert values["count"].schema == {"minimum": 1}
    assert values["part.maybe"].schema == {"type": ["integer", "null"]}
    assert values["part.settings"].settings == ("store",)
    assert values["items.one"].doc == "The first."


def test_a_key_without_a_description_is_named_with_its_line() -> None:
    with pytest.raises(Undocumented, match=r"line 2: a.b says nothing about itself"):
        read_values("a:\n  b: 1\n")


def test_an_item_without_a_description_is_named() -> None:
    with pytest.raises(Undocumented, match=r"items.one says nothing"):
        read_values("# -- D.\nd: 1\n# -- I.\n# @each d\nitems:\n  one: {}\n")


def test_a_directive_that_does_not_exist_is_named() -> None:
    with pytest.raises(Undocumented, match=r"a: there is no directive @scheme"):
        read_values("# -- A.\n# @scheme {minimum: 1}\na: 1\n")


@pytest.mark.parametrize(
    ("values", "fits"),
    [
        ({}, True),
        ({"count": 1}, True),
        ({"count": 0}, False),
        ({"count": "2"}, False),
        ({"other": 1}, False),
        ({"part": {"name": "", "free": {"b": []}, "settings": {}}}, True),
        ({"part": {"name": "", "free": {}, "settings": {"HOLDFAST_STORE_A": 5}}}, True),
        ({"part": {"name": "", "free": {}, "settings": {"HOLDFAST_STORE_B": 5}}}, False),
        ({"part": {"name": "", "free": {}, "settings": {}, "maybe": None}}, True),
        ({"part": {"name": "", "free": {}, "settings": {}, "maybe": "x"}}, False),
        ({"part": {"free": {}, "settings": {}}}, False),
        ({"items": {"two": {}}}, True),
        ({"items": {"two": None}}, True),
        ({"items": {"two": {"size": "large"}}}, False),
        ({"items": {"two": {"colour": "red"}}}, False),
        ({"itemDefaults": {}}, False),
        ({"items": {"two": {"length": 3}}}, True),
        ({"part": {"name": "", "free": {}, "settings": {}, "title": 1}}, True),
        ({"enabled": True, "global": {}}, True),
    ],
)
def test_the_schema_fits_the_values_and_nothing_else(values: Any, *, fits: bool) -> None:
    assert accepts(values) is fits


def test_the_table_has_a_row_for_each_value() -> None:
    readme = with_values(f"Before\n{BEGIN}\nold\n{END}\nAfter\n", read_values(SAMPLE))

    assert readme.startswith(f"Before\n{BEGIN}\n")
    assert readme.endswith(f"{END}\nAfter\n")
    assert "old" not in readme
    assert "| `count` | `2` | How many; at least one of them. |" in readme
    assert '| `part.name` | `""` | Its name \\| or names. |' in readme
    assert '| `items.one` | `{"size": 2}` | The first. |' in readme
    assert readme.count("### ") == len({"For everything", "part", "itemDefaults", "items"})


def test_the_table_needs_its_place() -> None:
    with pytest.raises(NoMarks):
        with_values("No marks", read_values(SAMPLE))


def test_drift_is_an_error_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = tmp_path / "values.schema.json"
    schema.write_text("{}\n")
    monkeypatch.setattr(gen_chart_docs, "SCHEMA", schema)
    monkeypatch.setattr("sys.argv", ["gen_chart_docs", "--check"])

    assert gen_chart_docs.main() == 1

    assert "values.schema.json differ from values.yaml and the settings" in capsys.readouterr().out
    assert schema.read_text() == "{}\n"
