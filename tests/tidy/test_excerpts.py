"""Code that the tutorial quotes is the code of the application, to the letter."""

from pathlib import Path

import pytest

from tests.tidy.markdown import ROOT, fences_of, links_of, name_of

PAGES = sorted((ROOT / "docs" / "tutorial").glob("*.md"))


def excerpts_of(page: Path) -> list[tuple[Path, str]]:
    """List what a page quotes, each with the module that was linked to last."""
    source: Path | None = None
    found = []
    text = page.read_text()
    for before, code in fences_of(text, "python", "console", "text"):
        for link in links_of(before):
            if link.endswith(".py"):
                source = (page.parent / link).resolve()
        if f"```python\n{code}" in text:
            assert source is not None, f"{page.name} does not say where this is from:\n{code}"
            found.append((source, code))
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_a_page_quotes_is_in_the_module_that_it_names(page: Path) -> None:
    missing = [
        f"{source.name} has no\n{code}"
        for source, code in excerpts_of(page)
        if code not in source.read_text()
    ]

    assert missing == []


def test_each_page_of_an_application_quotes_it() -> None:
    without = [page.name for page in PAGES if len(excerpts_of(page)) < 3]

    assert without == ["README.md"]
