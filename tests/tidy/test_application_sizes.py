"""How large the example applications are: people read them to learn how to write their own."""

import ast
import io
import tokenize
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORKER = "services/worker/holdfast_worker/apps/"
GATEWAY = "services/gateway/holdfast_gateway/"
DB = "services/db/holdfast_db/functions.py"  # all applications share it; not counted as lines


@dataclass(frozen=True, slots=True)
class Application:
    """Its files, and how many of them and of their lines there may be."""

    files: tuple[str, ...]
    files_max: int
    lines_max: int


APPLICATIONS = {
    "report": Application(
        (
            WORKER + "reports.py",
            GATEWAY + "routes/reports.py",
            GATEWAY + "routes/reports_page.py",
            GATEWAY + "ui/templates/reports.html",
            GATEWAY + "ui/templates/reports_parts.html",
            GATEWAY + "ui/templates/reports_progress.html",
        ),
        files_max=6,
        lines_max=330,
    ),
    "orders": Application(
        (WORKER + "orders.py", GATEWAY + "routes/orders.py", DB), files_max=3, lines_max=309
    ),
    "async API": Application(
        (WORKER + "async_api.py", GATEWAY + "routes/async_api.py"), files_max=2, lines_max=120
    ),
    "shop, both variants, without its page": Application(
        (WORKER + "shop.py", WORKER + "shop_bus.py", GATEWAY + "routes/shop.py"),
        files_max=3,
        lines_max=200,
    ),
    "job service": Application(
        (WORKER + "jobs.py", GATEWAY + "routes/jobs.py", GATEWAY + "routes/webhooks.py", DB),
        files_max=4,
        lines_max=309,
    ),
}


def lines_of_code(text: str) -> int:
    """Count the lines of a Python module that are no blank, no comment and no docstring."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in {
            tokenize.COMMENT,
            tokenize.NL,
            tokenize.NEWLINE,
            tokenize.INDENT,
            tokenize.DEDENT,
            tokenize.ENDMARKER,
        }:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Expr(value=ast.Constant(value=str()), lineno=first, end_lineno=int(last)):
                lines.difference_update(range(first, last + 1))
    return len(lines)


def lines_of(file: str) -> int:
    text = (ROOT / file).read_text()
    if file.endswith(".py"):
        return lines_of_code(text)
    return sum(bool(line.strip()) for line in text.splitlines())


def test_lines_of_code_are_counted_without_what_explains_them() -> None:
    explained = '"""Doc\n\nstring."""\n\n# comment\nx = 1  # why\n\n\ndef f():\n    """Do."""\n'
    text = explained + "    return (\n        2\n    )\n"

    assert lines_of_code(text) == 5


@pytest.mark.parametrize("name", APPLICATIONS)
def test_an_application_is_as_small_as_it_is_said_to_be(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    application = APPLICATIONS[name]
    counted = {file: lines_of(file) for file in application.files if file != DB}
    total = sum(counted.values())
    with capsys.disabled():
        print(f"\n{name}: {len(application.files)} files, {total} lines of code")  # noqa: T201 - asked for
        for file, lines in counted.items():
            print(f"  {lines:4}  {file}")  # noqa: T201 - as above

    assert len(application.files) <= application.files_max
    assert total <= application.lines_max
