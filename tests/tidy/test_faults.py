"""Every test that the page of faults names is there."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "explanation" / "faults.md"


def named_tests() -> list[tuple[str, str]]:
    """List the files that the last column names, each with a test in it or with none."""
    found: list[tuple[str, str]] = []
    for row in PAGE.read_text().splitlines():
        if not row.startswith("| "):
            continue
        file = ""
        for name in re.findall(r"`([\w/]*(?:\.py)?(?:::\w+)?)`", row.split(" | ")[-1]):
            path, _, test = name.partition("::")
            file = path or file  # `::test` is in the file before it
            found.append((file, test))
    return found


def test_each_fault_names_tests_that_are_there() -> None:
    missing = []
    for file, test in named_tests():
        path = TESTS / file if file.startswith("unit/") else TESTS / "integration" / file
        is_there = path.is_dir() or (
            path.is_file() and (not test or f"def {test}(" in path.read_text())
        )
        if not is_there:
            missing.append(f"{file}::{test}")

    assert len(named_tests()) > 30
    assert missing == []
