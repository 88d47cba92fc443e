"""The table of all values, between two marks of a README that people write."""

import json
from typing import Final

from tools.chart.values import Value

BEGIN: Final = "<!-- values: begin; made from values.yaml by `make docs` -->"
END: Final = "<!-- values: end -->"

DEFAULT_CHARS_MAX: Final = 120


class NoMarks(Exception):
    """The README has no place for the table."""


def with_values(readme: str, values: Value) -> str:
    """Replace what stands between the marks."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise NoMarks(f"the README needs the lines {BEGIN} and {END}, one after the other")
    return f"{before}{BEGIN}\n\n{_tables(values)}\n{END}{after}"


def _tables(values: Value) -> str:
    sections: dict[str, list[str]] = {}
    for value in values.walk():
        if value.doc:
            sections.setdefault(_section(value), []).append(_row(value))
    return "\n".join(
        f"### {name}\n\n| Value | Default | Meaning |\n|---|---|---|\n" + "".join(rows)
        for name, rows in sections.items()
    )


def _section(value: Value) -> str:
    """All values of one top-level key stand together; those without children share a table."""
    return f"`{value.path[0]}`" if len(value.path) > 1 or value.each else "For everything"


def _row(value: Value) -> str:
    default = json.dumps(value.default, ensure_ascii=False)
    if value.each:
        default = "see below"
    elif len(default) > DEFAULT_CHARS_MAX:
        default = "see values.yaml"
    else:
        default = f"`{default}`"
    return f"| `{'.'.join(value.path)}` | {_cell(default)} | {_cell(value.doc)} |\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
