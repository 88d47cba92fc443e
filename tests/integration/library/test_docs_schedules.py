"""The program of the how-to page on schedules prints what the page says."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "schedules.md"


def test_the_program_of_the_page_prints_what_the_page_says(tmp_path: Path) -> None:
    text = PAGE.read_text()
    program = re.search(r'^```python\n("""nightly\.py:.*?)^```$', text, re.DOTALL | re.MULTILINE)
    shown = re.search(r"^```console\n\$ [^\n]*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert program is not None
    assert shown is not None
    path = tmp_path / "nightly.py"
    path.write_text(program[1])

    ended = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )

    assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", shown[1])
