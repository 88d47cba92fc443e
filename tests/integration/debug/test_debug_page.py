"""The program on the page about debug mode does what the page says."""

import asyncio
import re
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

from tests.integration.debug.conftest import serving

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "debug-mode.md"


async def test_the_program_prints_what_the_page_shows(tmp_path: Path) -> None:
    text = PAGE.read_text()
    [program] = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    [printed] = re.findall(r"prints\n\n```\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    path = tmp_path / "lease.py"
    path.write_text(program)

    async with serving("memory:") as store:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", str(path), store.url), stdout=PIPE, stderr=PIPE
        )
        output, complaints = await process.communicate()

    assert (process.returncode, complaints) == (0, b"")
    assert output.decode() == printed
