"""The page of the shop, state by state."""

import re

import pytest
from playwright.async_api import expect

from holdfast_db.tables import purchases
from holdfast_gateway.routes import shop_page
from holdfast_worker.apps import shop
from tests.integration.apps.embedded import System
from tests.integration.apps.world import World
from tests.integration.pages.browsing import Visit

pytestmark = pytest.mark.asyncio(loop_scope="module")

BUY, CANCEL, WINDOW, OUTCOME = "#buy-now", "#cancel", "#undo", "#outcome"

RECORD_COUNTDOWN = """() => {
  window.countdown = [];
  new MutationObserver(() => {
    const text = document.querySelector("#undo:not([hidden]) #countdown")?.innerText;
    if (text && window.countdown.at(-1) !== text) window.countdown.push(text);
  }).observe(document.body, { childList: true, subtree: true });
}"""


async def buy(visit: Visit) -> str:
    """Click; return the key of the purchase."""
    await visit.page.click(BUY)
    await expect(visit.text(WINDOW)).to_be_visible()
    return visit.page.url.partition("#")[2]


@pytest.fixture
def long_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the window be open for as long as a slow machine may need to act in it."""
    monkeypatch.setattr(shop, "WINDOW_MS", 600_000)
    monkeypatch.setattr(shop_page, "WINDOW_SECONDS", 600)


async def test_idle_the_widget_can_be_bought(visit: Visit) -> None:
    await visit.open("/shop")

    await expect(visit.page.get_by_role("heading", level=1)).to_have_text("Resonate Widget Pro")
    await expect(visit.text(".price")).to_have_text("$29.00")
    await expect(visit.text(BUY)).to_be_enabled()
    await expect(visit.text(WINDOW)).to_be_hidden()
    box = await visit.text("main").bounding_box()
    assert box["width"] == 380
    await visit.look("shop-idle")


@pytest.mark.usefixtures("long_window")
async def test_in_the_window_the_order_is_processed_and_the_button_is_kept_back(
    visit: Visit,
) -> None:
    await visit.open("/shop")
    key = await buy(visit)

    assert re.fullmatch(r"buy-\d{13}-[0-9a-f]{8}", key)
    await expect(visit.text(OUTCOME)).to_have_text("Processing...")
    await expect(visit.text(BUY)).to_be_disabled()
    await visit.look("shop-window")
    await visit.page.click(CANCEL)
    await expect(visit.text(OUTCOME)).to_have_text("Order cancelled")


async def test_nobody_cancels_the_countdown_ends_and_the_order_is_confirmed(
    visit: Visit, system: System
) -> None:
    """A slow machine may see the window's end before anything in it, so nothing in it is met."""
    await visit.open("/shop")
    await visit.page.evaluate(RECORD_COUNTDOWN)
    await visit.page.click(BUY)

    await expect(visit.text(OUTCOME)).to_contain_text("Order confirmed!")
    await expect(visit.text(WINDOW)).to_be_hidden()

    # A slow machine may miss a second, also the first; it never shows one twice, or too many.
    seconds = [int(text) for text in await visit.page.evaluate("countdown")]
    assert seconds
    assert seconds == sorted(set(seconds), reverse=True)
    assert set(seconds) <= {5, 4, 3, 2, 1, 0}
    [row] = system.rows(purchases)
    await expect(visit.text(OUTCOME)).to_have_text(f"Order confirmed! ({row.order_id})")
    await expect(visit.text(BUY)).to_be_disabled()
    await visit.look("shop-confirmed")


@pytest.mark.usefixtures("long_window")
async def test_a_cancelled_order_can_be_placed_again_under_another_key(
    visit: Visit, system: System, world: World
) -> None:
    await visit.open("/shop")
    first = await buy(visit)
    world.hold("cancelledPurchase")
    await visit.page.click(CANCEL)
    await expect(visit.text(CANCEL)).to_be_disabled()
    await expect(visit.text(CANCEL)).to_have_text("Cancelling...")
    await visit.look("shop-cancelling")
    world.let_go("cancelledPurchase")

    await expect(visit.text(OUTCOME)).to_have_text("Order cancelled")

    await expect(visit.text(WINDOW)).to_be_hidden()
    await expect(visit.text(BUY)).to_be_enabled()
    await visit.look("shop-cancelled")
    assert [row.order_id for row in system.rows(purchases)] == [None]
    second = await buy(visit)
    assert second != first
    await visit.page.click(CANCEL)
    await expect(visit.text(OUTCOME)).to_have_text("Order cancelled")


@pytest.mark.usefixtures("long_window")
async def test_a_reload_in_the_window_goes_on_with_the_same_purchase(
    visit: Visit, system: System
) -> None:
    await visit.open("/shop")
    key = await buy(visit)

    await visit.page.reload()

    await expect(visit.text(WINDOW)).to_be_visible()
    await expect(visit.text(BUY)).to_be_disabled()
    await visit.page.click(CANCEL)
    await expect(visit.text(OUTCOME)).to_have_text("Order cancelled")
    assert [row.key for row in system.rows(purchases)] == [key]


@pytest.mark.usefixtures("long_window")
async def test_a_lost_connection_is_said_and_the_outcome_comes_afterwards(visit: Visit) -> None:
    await visit.open("/shop")
    await buy(visit)

    await visit.page.context.set_offline(True)

    await expect(visit.text("#notice")).to_contain_text("The connection is lost. Trying again...")
    await visit.look("shop-connection-lost")
    await visit.page.context.set_offline(False)
    await expect(visit.text("#notice")).to_be_empty()
    await visit.page.click(CANCEL)
    await expect(visit.text(OUTCOME)).to_have_text("Order cancelled")


@pytest.mark.usefixtures("long_window")
async def test_a_click_that_does_not_arrive_can_be_repeated_and_buys_once(
    visit: Visit, system: System
) -> None:
    await visit.open("/shop")
    lost = []

    async def lose_answer(route: object) -> None:
        """Let the gateway have the request, and the page no answer."""
        lost.append(route)
        await route.fetch()  # type: ignore[attr-defined]
        await route.abort()  # type: ignore[attr-defined]

    await visit.page.route("**/shop/buy/*", lose_answer, times=1)
    await visit.page.click(BUY)
    await expect(visit.text("#notice")).to_contain_text("Please try again.")
    await expect(visit.text(BUY)).to_be_enabled()
    await visit.look("shop-not-sent")

    await buy(visit)
    await visit.page.click(CANCEL)

    await expect(visit.text(OUTCOME)).to_have_text("Order cancelled")
    assert len(lost) == 1
    assert len(system.rows(purchases)) == 1


@pytest.mark.usefixtures("long_window")
async def test_an_order_that_fails_says_so_and_can_be_placed_again(
    visit: Visit, system: System
) -> None:
    await visit.open("/shop")
    key = await buy(visit)

    await (await system.resonate.get(f"checkout/{key}")).cancel()

    await expect(visit.text(OUTCOME)).to_have_text("The order failed: canceled")
    await expect(visit.text(BUY)).to_be_enabled()
    await visit.look("shop-failed")


async def test_an_order_that_nobody_knows_is_said_to_be_unknown(visit: Visit) -> None:
    await visit.open("/shop#buy-1")

    await expect(visit.text(OUTCOME)).to_have_text("This order does not exist.")
    await expect(visit.text(BUY)).to_be_enabled()


@pytest.mark.usefixtures("long_window")
async def test_it_can_be_used_with_the_keyboard_alone(visit: Visit) -> None:
    await visit.open("/shop")

    await visit.page.keyboard.press("Tab")
    await visit.page.keyboard.press("Enter")
    await expect(visit.text(WINDOW)).to_be_visible()
    await visit.page.keyboard.press("Tab")
    on_cancel = await visit.page.evaluate("document.activeElement.id")
    await visit.page.keyboard.press("Enter")

    await expect(visit.text(OUTCOME)).to_have_text("Order cancelled")
    assert on_cancel == "cancel"


@pytest.mark.usefixtures("long_window")
@pytest.mark.parametrize(("wanted", "animated"), [("reduce", "none"), ("no-preference", "breathe")])
async def test_nothing_moves_for_those_who_want_it_calm(
    visit: Visit, wanted: str, animated: str
) -> None:
    await visit.page.emulate_media(reduced_motion=wanted)  # type: ignore[arg-type]
    await visit.open("/shop")
    await buy(visit)

    names = "getComputedStyle(document.querySelector('.busy')).animationName"
    assert await visit.page.evaluate(names) == animated
    await visit.page.click(CANCEL)
    await expect(visit.text(OUTCOME)).to_have_text("Order cancelled")
