"""Columns of rows as the texts that PostgreSQL reads arrays from.

The driver looks at every element of a list by itself, more than once, before it writes it. A text
is written at once, for a third of that, and read by the server, which has less to do than a store.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

Element = str | int | None

_write = msgspec.json.Encoder().encode

_CONTROL: Final = re.compile(r"\\[bfnrtu]")
"""How JSON begins to write a control character. Behind another backslash it is none."""


def array_text(column: Sequence[Element]) -> str:
    """Write a column as PostgreSQL writes an array.

    JSON does nearly the same: it quotes every text, puts a backslash before a quote or a backslash,
    and writes nothing without quotes but numbers and `null`. Only control characters have names in
    JSON, and stand for themselves in an array.
    """
    written = _write(column).decode()
    if "\\" in written and _CONTROL.search(written):
        return f"{{{','.join(map(_element, column))}}}"
    return f"{{{written[1:-1]}}}"


def _element(value: Element) -> str:
    match value:
        case None:
            return "NULL"
        case str():
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            return f'"{escaped}"'
    return str(value)
