"""What the pages promise without a browser."""

from holdfast_gateway.routes import shop_page
from holdfast_gateway.ui.rendering import ASSETS
from holdfast_worker.apps import shop


def test_the_page_of_the_shop_counts_what_its_workflow_waits() -> None:
    """The gateway knows workflows by name only, so that the number is in two places."""
    assert shop_page.WINDOW_SECONDS * 1000 == shop.WINDOW_MS


def test_the_library_in_the_pages_comes_with_its_license() -> None:
    [library] = [name for name in ASSETS if name.startswith("htmx-") and name.endswith(".js")]

    version = library.removeprefix("htmx-").removesuffix(".min.js")
    assert f'version:"{version}"'.encode() in ASSETS[library].content
    assert b"Zero-Clause BSD" in ASSETS["htmx-LICENSE.txt"].content
