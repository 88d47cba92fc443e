"""Columns as the texts of arrays, by an own reading of how PostgreSQL reads them."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast_store.db.postgres.array_texts import Element, array_text

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
ODD = st.text(st.sampled_from('"\\{},\0\x01\t\n\x7fNULnbu0ß🙂 '))


def read(text: str) -> list[str | None]:
    """Read an array of one dimension: without quotes nothing but numbers and nulls."""
    assert text[0] == "{"
    assert text[-1] == "}"
    found: list[str | None] = []
    rest = text[1:-1]
    while rest:
        if rest[0] == '"':
            element, rest = unquoted(rest[1:])
            found.append(element)
        else:
            word, _, _ = rest.partition(",")
            rest = rest.removeprefix(word)
            found.append(None if word.upper() == "NULL" else str(int(word)))
        assert rest[:1] in {"", ","}
        assert rest != ","
        rest = rest[1:]
    return found


def unquoted(text: str) -> tuple[str, str]:
    """Read to the closing quote: a backslash makes anything behind it stand for itself."""
    element = ""
    characters = iter(text)
    for character in characters:
        if character == '"':
            return element, "".join(characters)
        element += next(characters) if character == "\\" else character
    raise AssertionError(f"no closing quote in {text}")


@given(st.lists(st.none() | TEXTS | ODD))
@example([None, "", "NULL", "null", "{}", "a,b", '"', "\\", '\\"', "\\n", "\n", "\\\n", "\\\\n"])
def test_texts_are_read_as_they_were(column: list[str | None]) -> None:
    assert read(array_text(column)) == column


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)))
def test_numbers_are_read_as_they_were(column: list[int | None]) -> None:
    assert read(array_text(column)) == [None if n is None else str(n) for n in column]


@pytest.mark.parametrize("control", [*map(chr, range(32)), "\x7f", "\x85", "\u2028"])
@pytest.mark.parametrize("column", [("{}",), (None, "a{}b", 'c\\"{}', "n")])
def test_a_control_character_stands_for_itself(control: str, column: tuple[Element, ...]) -> None:
    odd = [e.replace("{}", control) if isinstance(e, str) else e for e in column]

    assert read(array_text(odd)) == odd


def test_an_empty_column_is_an_empty_array() -> None:
    assert array_text([]) == "{}"


def test_a_column_of_plain_texts_is_short() -> None:
    assert array_text(("a", None, 'b"c')) == '{"a",null,"b\\"c"}'
