"""Every failure mode of the applications has a test in every form in which it can happen.

A test says which rows of the tables it is about by its name: `test_o4_…`, `test_o10_a10_and_r7b_…`.
Its parameters say where it runs. The tests are collected and not searched for in the text, so that
one that would not run does not count.
"""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("tests/integration/apps", "tests/integration/pages")

EMBEDDED, SQLITE, POSTGRES = FORMS = ("embedded", "split, SQLite", "split, PostgreSQL")
SPLIT = frozenset({SQLITE, POSTGRES})

ROWS = {
    **{f"R{n}": "report" for n in range(1, 9)},
    "R5b": "report",
    "R7b": "report",
    **{f"O{n}": "orders" for n in range(1, 11)},
    **{f"A{n}": "async API" for n in range(1, 11)},
    **{f"B{n}": "shop" for n in range(1, 13)},
    **{f"B{n} bus": "shop, with a bus" for n in range(1, 13)},
    **{f"J{n}": "job service" for n in range(1, 16)},
    "X1": "all",
    "X2": "all",
}
"""The rows, and the application of each."""

ALONE = "one process has no second worker"
NOT_NEEDED = {
    "R5b": (SPLIT, "what is forgotten with its process is a store inside it"),
    "A1": ({EMBEDDED}, ALONE + "; X1 kills the process"),
    "A8": ({EMBEDDED}, ALONE),
    "B10 bus": ({*FORMS}, "only a gateway in the same process can cancel, as its page says"),
    "B12 bus": ({*FORMS}, "the route that buys is that of the other variant"),
}
"""Where a row has no test, and why."""

NAME = re.compile(r"::test_((?:[roabjx][0-9]+b?_(?:and_)?)+)")


def collected() -> list[str]:
    """List the tests of the applications, with their parameters."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:randomly"]
    environment = {name: text for name, text in os.environ.items() if name != "PYTEST_ADDOPTS"}
    found = subprocess.run(
        [*command, *FOLDERS], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return [line for line in found.stdout.splitlines() if "::" in line]


def rows_of(test: str) -> list[str]:
    """Read the rows that a test names."""
    named = NAME.search(test)
    if named is None:
        return []
    rows = [row for row in named[1].split("_") if row not in {"and", ""}]
    variant = " bus" if re.search(r"_bus|[\[-]bus", test) else ""
    return [row[0].upper() + row[1:] + (variant if row[0] == "b" else "") for row in rows]


def form_of(test: str) -> str:
    """Read where a test runs."""
    _, _, parameters = test.partition("[")
    for form, parameter in ((SQLITE, "sqlite"), (POSTGRES, "postgres")):
        if parameter in parameters:
            return form
    return EMBEDDED


@pytest.fixture(scope="module")
def tests_of_rows() -> Counter[tuple[str, str]]:
    """Count the tests of each row in each form."""
    return Counter((row, form_of(test)) for test in collected() for row in rows_of(test))


def test_every_row_has_a_test_in_every_form(
    tests_of_rows: Counter[tuple[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    missing = []
    with capsys.disabled():
        print("\n" + _line("row", "application", *FORMS))  # noqa: T201 - asked for
        for row, application in ROWS.items():
            left_out, _ = NOT_NEEDED.get(row, (frozenset(), ""))
            counts = [tests_of_rows[row, form] for form in FORMS]
            shown = [
                str(count or ("-" if form in left_out else "MISSING"))
                for form, count in zip(FORMS, counts, strict=True)
            ]
            print(_line(row, application, *shown))  # noqa: T201 - as above
            missing += [
                (row, form) for form, text in zip(FORMS, shown, strict=True) if text == "MISSING"
            ]
        for row, (_, reason) in NOT_NEEDED.items():
            print(f"{row} -: {reason}")  # noqa: T201 - as above

    assert missing == []


def test_no_test_names_a_row_that_is_none(tests_of_rows: Counter[tuple[str, str]]) -> None:
    assert {row for row, _ in tests_of_rows} <= set(ROWS)


def test_no_reason_is_given_for_what_is_tested(tests_of_rows: Counter[tuple[str, str]]) -> None:
    needless = [
        (row, form)
        for row, (left_out, _) in NOT_NEEDED.items()
        for form in left_out
        if tests_of_rows[row, form]
    ]

    assert needless == []


@pytest.mark.parametrize(
    ("test", "rows", "form"),
    [
        ("t.py::test_o4_a_restart[x]", ["O4"], EMBEDDED),
        (
            "t.py::test_o10_a10_b12_and_r7b_without[postgres]",
            ["O10", "A10", "B12", "R7b"],
            POSTGRES,
        ),
        ("t.py::test_b1_bus_a_restart", ["B1 bus"], EMBEDDED),
        ("t.py::test_b2_what_was[bus]", ["B2 bus"], EMBEDDED),
        ("t.py::test_b2_what_was[durable]", ["B2"], EMBEDDED),
        ("test_split_shop_bus.py::test_b3_an_order[sqlite]", ["B3 bus"], SQLITE),
        ("t.py::test_a_body_that_is_no_json", [], EMBEDDED),
    ],
)
def test_names_and_parameters_say_what_is_tested(test: str, rows: list[str], form: str) -> None:
    assert (rows_of(test), form_of(test)) == (rows, form)


def _line(*cells: str) -> str:
    return "".join(
        cell.ljust(width) for cell, width in zip(cells, (10, 20, 12, 16, 18), strict=True)
    )
