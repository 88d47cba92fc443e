"""Links of the documentation lead somewhere: files exist, and so do headings of pages."""

from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.tidy.markdown import PAGES, ROOT, anchors_of, links_of, name_of

INDEX = ROOT / "docs" / "README.md"
ELSEWHERE = ("http://", "https://", "mailto:")


def flaw_of(page: Path, link: str) -> str | None:
    """Say why a link leads nowhere."""
    path, _, anchor = unquote(link).partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return f"{link}: there is no {path}"
    if not target.is_relative_to(ROOT):
        return f"{link}: it leaves the repository"
    if anchor and anchor not in anchors_of(target.read_text()):
        return f"{link}: there is no such heading"
    return None


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = [each for each in links_of(page.read_text()) if not each.startswith(ELSEWHERE)]

    assert [flaw for link in links if (flaw := flaw_of(page, link))] == []


def test_every_page_can_be_reached_from_the_index() -> None:
    """An index of a folder, such as that of the runbooks, leads to what is in it."""
    reached: set[Path] = set()
    ahead = [INDEX]
    while ahead:
        page = ahead.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        for link in links_of(page.read_text()):
            path = unquote(link).partition("#")[0]
            if path and not link.startswith(ELSEWHERE):
                ahead.append((page.parent / path).resolve())

    pages = {page for page in PAGES if page.is_relative_to(ROOT / "docs")}
    template = ROOT / "docs" / "adr" / "0000-template.md"
    assert sorted(name_of(page) for page in pages - reached - {template}) == []


def test_anchors_are_those_of_github() -> None:
    text = "# How it `works`, twice\n\n## A [link](x.md)\n\n## A link\n\n```sh\n# no heading\n```\n"

    assert anchors_of(text) == {"how-it-works-twice", "a-link", "a-link-1"}


def test_links_in_code_are_none() -> None:
    text = "[a](b.md#c) and `[no](link)`\n\n```python\nx = y[0](z)\n```\n[d](<e.md>)\n"

    assert links_of(text) == ["b.md#c", "e.md"]
