"""Pages of documentation, as the tests of this folder read them."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "charts").rglob("*.md"),
        *(ROOT / "k8s").rglob("*.md"),
    ]
)

_FENCE = re.compile(r"^( *)```.*?^\1```", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`[^`]*`")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(<?([^)\s>]+)>?\)")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def links_of(text: str) -> list[str]:
    """List where a page leads, without what only looks like a link in code."""
    return _LINK.findall(_CODE.sub("`code`", _FENCE.sub("", text)))


def anchors_of(text: str) -> set[str]:
    """Name the headings of a page as GitHub does."""
    anchors: dict[str, int] = {}
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        anchors[anchor] = anchors.get(anchor, -1) + 1
        if anchors[anchor]:
            anchors[f"{anchor}-{anchors[anchor]}"] = 0
    return set(anchors)


def fences_of(text: str, *languages: str) -> Iterator[tuple[str, str]]:
    """Yield each block of code in these languages, after the text that leads to it."""
    end = 0
    for fence in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        if fence[1] in languages:
            yield text[end : fence.start()], fence[2]
        end = fence.end()
