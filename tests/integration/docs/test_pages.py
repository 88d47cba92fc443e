"""Pages of documentation do what they say: each is tried from its top to its end."""

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.docs.trial import ROOT, Trial

DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    DOCS / "quickstart.md",
    DOCS / "howto" / "write-a-workflow.md",
    DOCS / "howto" / "add-an-http-route.md",
    DOCS / "howto" / "security.md",
    *sorted((DOCS / "tutorial").glob("*.md")),
]

pytestmark = pytest.mark.timeout(300)  # several starts of everything, on what may be a busy machine


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_line_of_a_page_does_what_the_page_says(page: Path, tmp_path: Path) -> None:
    with closing(Trial(tmp_path, has_curl=shutil.which("curl") is not None)) as trial:
        assert trial.run(page) > 0


def test_a_machine_without_curl_tries_them_too(tmp_path: Path) -> None:
    with closing(Trial(tmp_path, has_curl=False)) as trial:
        assert trial.run(DOCS / "tutorial" / "README.md") > 0
