"""The programs of the how-to page on workflows run as they are printed there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "write-a-workflow.md"
EXPECTED = {
    "trip.py": [
        "flight to Rome booked as trip/generator.0",
        "hotel in Rome booked as trip/generator.1",
        "flight to Rome booked as trip/async.0",
        "hotel in Rome booked as trip/async.1",
    ],
    "approval.py": ["10: approved", "20: nobody answered"],
    "script.py": ["42"],
}
TYPED = {"mails.py", "embedded.py", "worker.py", "mistake.py"}
"""The page itself goes through these; `tests/integration/docs` follows it."""


def programs() -> dict[str, str]:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return {re.match(r'"""([\w.]+):', block)[1]: block for block in blocks}  # type: ignore[index]


def test_every_program_of_the_page_is_tried() -> None:
    assert set(programs()) == set(EXPECTED) | TYPED


@pytest.mark.parametrize("name", EXPECTED)
def test_a_program_prints_what_the_page_lets_expect(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(programs()[name])

    ended = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == EXPECTED[name]
