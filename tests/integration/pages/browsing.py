"""A visit with a real browser: what it loaded, what it complained about, what it looks like."""

import contextlib
import itertools
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, ViewportSize, async_playwright, expect

SCREENSHOTS = Path(__file__).parents[3] / "build" / "screenshots"
PATIENCE_MS = 30_000
"""For anything to show: a busy machine takes seconds for what a person would not notice."""

DESKTOP = ViewportSize(width=1280, height=800)
PHONE = ViewportSize(width=360, height=640)
LOST = "net::ERR_"  # what the browser notes about requests that a test let fail
REFUSED = "the server responded with a status of"

expect.set_options(timeout=PATIENCE_MS)

# For every text on the page: the ratio of its contrast to what is behind it, and what it should be.
CONTRASTS = """() => {
  const channels = (css) => css.match(/[0-9.]+/g).map(Number);
  const light = (rgb) => {
    const [r, g, b] = rgb.slice(0, 3).map((c) => c / 255)
      .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const rgba = channels(getComputedStyle(e).backgroundColor);
      if (rgba.length < 4 || rgba[3] === 1) return rgba;
    }
    throw new Error("nothing behind it");
  };
  const found = [];
  for (const e of document.querySelectorAll("body, body *")) {
    const own = [...e.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE);
    const text = own.map((node) => node.data).join("").trim();
    if (!text || !e.checkVisibility() || e.tagName === "NOSCRIPT") continue;
    const [a, b] = [channels(getComputedStyle(e).color), behind(e)].map(light);
    found.push([text, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)]);
  }
  return found;
}"""


class BrowserMissing(Exception):
    """No browser is installed."""


def find_chromium() -> str:
    """Return the program of an installed Chromium; raises BrowserMissing."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    raise BrowserMissing("install the package chromium to run the tests of the pages")


@dataclass
class Visit:
    """One page that is open."""

    page: Page
    base: str
    foreign: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    async def open(self, path: str) -> None:
        await self.page.goto(self.base + path)

    def text(self, selector: str) -> Any:
        return self.page.locator(selector)

    async def look(self, state: str) -> None:
        """Take pictures of a state, and check what all states have in common."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        sizes = {"desktop": DESKTOP, "phone": PHONE}
        for (size, viewport), scheme in itertools.product(sizes.items(), ("light", "dark")):
            await self.page.set_viewport_size(viewport)
            await self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            file = SCREENSHOTS / f"{state}-{size}-{scheme}.png"
            await self.page.screenshot(path=file, full_page=True)
            for text, ratio in await self.page.evaluate(CONTRASTS):
                assert ratio >= 4.5, f"{text!r} has a contrast of {ratio:.1f} in {file.name}"
            wide = await self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{file.name} scrolls sideways"
        await self.page.set_viewport_size(DESKTOP)
        await self.page.emulate_media(color_scheme="light", reduced_motion="no-preference")


@contextlib.asynccontextmanager
async def running_browser(chromium: str) -> AsyncIterator[Browser]:
    """Run a browser."""
    async with async_playwright() as playwright:
        # Tests may run as root, whom Chromium's sandbox refuses; they open no page but ours.
        arguments = ["--no-sandbox"]
        browser = await playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        await browser.close()


@contextlib.asynccontextmanager
async def visiting(browser: Browser, base: str) -> AsyncIterator[Visit]:
    """Open a page of a browser that knows nothing of earlier visits."""
    async with await browser.new_context(viewport=DESKTOP) as context:
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        visit = Visit(page, base)

        def note_request(request: Any) -> None:
            if not request.url.startswith((base, "data:")):
                visit.foreign.append(request.url)

        def note_console(message: Any) -> None:
            if message.type in {"error", "warning"} and not (
                LOST in message.text or REFUSED in message.text or "htmx:" in message.text
            ):
                visit.complaints.append(message.text)

        page.on("request", note_request)
        page.on("console", note_console)
        page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        yield visit
