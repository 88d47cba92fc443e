"""The page of the reports, state by state."""

import re

import pytest
from playwright.async_api import expect

from holdfast_gateway.routes import reports_page
from tests.integration.apps.embedded import System
from tests.integration.apps.world import World
from tests.integration.pages.browsing import Visit

pytestmark = pytest.mark.asyncio(loop_scope="module")

BUTTON = "#generate"


async def generate(visit: Visit) -> str:
    """Submit the form; return the id of the report."""
    await visit.page.click(BUTTON)
    await expect(visit.text("#outcome")).to_contain_text("Running in background")
    return visit.page.url.partition("#")[2]


async def test_idle_the_form_is_shown_with_what_may_be_chosen(visit: Visit) -> None:
    await visit.open("/reports")

    await expect(visit.page).to_have_title("Report Generator")
    await expect(visit.text(BUTTON)).to_have_text("Generate Report")
    await expect(visit.text(BUTTON)).to_be_enabled()
    for label, options in (
        ("Report type", ["Sales", "Inventory", "Analytics"]),
        ("Period", ["2025 Q4", "2025 Q3", "2025 H2"]),
    ):
        options_shown = visit.page.get_by_label(label).locator("option")
        assert await options_shown.all_text_contents() == options
    await expect(visit.text("#outcome")).to_be_empty()
    await visit.look("reports-idle")


async def test_processing_says_what_is_polled_and_keeps_the_button_back(
    visit: Visit, world: World, system: System
) -> None:
    world.hold("db.queryWarehouse")
    await visit.open("/reports")

    report_id = await generate(visit)

    assert re.fullmatch(r"rpt_\d{13}_[0-9a-f]{8}", report_id)
    outcome = visit.text("#outcome")
    await expect(outcome).to_contain_text(f"report/{report_id}")
    await expect(outcome).to_contain_text(f"/api/status/{report_id}")
    await expect(visit.text(BUTTON)).to_have_text("Generating...")
    await expect(visit.text(BUTTON)).to_be_disabled()
    await visit.look("reports-processing")
    world.let_go("db.queryWarehouse")
    await system.outcome(f"report/{report_id}")


async def test_done_shows_every_field_and_the_file(
    visit: Visit, system: System, world: World
) -> None:
    world.hold("notifyUser")
    await visit.open("/reports")
    await visit.page.get_by_label("Report type").select_option("Analytics")
    await visit.page.get_by_label("Period").select_option("2025 H2")
    report_id = await generate(visit)
    world.let_go("notifyUser")

    await expect(visit.text("#outcome")).to_contain_text("Report ready!")

    result = await system.outcome(f"report/{report_id}")
    assert isinstance(result, dict)
    assert (result["type"], result["period"]) == ("analytics", "2025-H2")
    rows = visit.text("#outcome tr")
    assert await rows.evaluate_all("rows => rows.map(r => [...r.cells].map(c => c.innerText))") == [
        [name, str(value)] for name, value in result.items()
    ]
    await expect(visit.text(BUTTON)).to_be_enabled()
    await expect(visit.text(BUTTON)).to_have_text("Generate Report")
    async with visit.page.expect_download() as download:
        await visit.page.click("#outcome a")
    assert (await (await download.value).path()).read_text().startswith("report,type,period,rows")
    await visit.look("reports-done")


async def test_rejected_is_said_at_once_with_its_reason(
    visit: Visit, system: System, world: World
) -> None:
    world.hold("validateRequest")
    await visit.open("/reports")
    report_id = await generate(visit)

    await (await system.resonate.get(f"report/{report_id}")).cancel()

    await expect(visit.text("#outcome")).to_contain_text("The report could not be made")
    await expect(visit.text("#outcome")).to_contain_text("canceled")
    await expect(visit.text(BUTTON)).to_be_enabled()
    await visit.look("reports-rejected")
    world.let_go("validateRequest")


async def test_r4_a_slow_report_times_out_on_the_page_and_is_done_after_a_reload(
    visit: Visit, world: World, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert reports_page.TRIES_MAX == 60
    monkeypatch.setattr(reports_page, "TRIES_MAX", 3)
    world.hold("db.queryWarehouse")
    await visit.open("/reports")
    await visit.page.click(BUTTON)

    await expect(visit.text("#outcome")).to_contain_text("Timed out")
    report_id = visit.page.url.partition("#")[2]

    await expect(visit.text(BUTTON)).to_be_enabled()
    await visit.look("reports-timed-out")
    world.let_go("db.queryWarehouse")
    await system.outcome(f"report/{report_id}")
    await visit.page.reload()
    await expect(visit.text("#outcome")).to_contain_text("Report ready!")


async def test_a_reload_while_it_runs_goes_on_with_the_same_report(
    visit: Visit, world: World
) -> None:
    world.hold("db.queryWarehouse")
    await visit.open("/reports")
    report_id = await generate(visit)

    await visit.page.reload()

    await expect(visit.text("#outcome")).to_contain_text(f"report/{report_id}")
    await expect(visit.text(BUTTON)).to_be_disabled()
    world.let_go("db.queryWarehouse")
    await expect(visit.text("#outcome")).to_contain_text("Report ready!")
    await expect(visit.text("#outcome")).to_contain_text(report_id)


async def test_a_lost_connection_is_said_and_polling_goes_on(visit: Visit, world: World) -> None:
    world.hold("db.queryWarehouse")
    await visit.open("/reports")
    await generate(visit)

    await visit.page.context.set_offline(True)

    await expect(visit.text("#notice")).to_contain_text("The connection is lost. Trying again...")
    await visit.look("reports-connection-lost")
    await visit.page.context.set_offline(False)
    await expect(visit.text("#notice")).to_be_empty()
    world.let_go("db.queryWarehouse")
    await expect(visit.text("#outcome")).to_contain_text("Report ready!")


async def test_a_form_that_cannot_be_sent_can_be_sent_again(visit: Visit) -> None:
    await visit.open("/reports")
    await visit.page.context.set_offline(True)
    await visit.page.click(BUTTON)
    await expect(visit.text("#notice")).to_contain_text("Please try again.")
    await expect(visit.text(BUTTON)).to_be_enabled()
    await visit.look("reports-not-sent")

    await visit.page.context.set_offline(False)
    await visit.page.click(BUTTON)

    await expect(visit.text("#outcome")).to_contain_text("Report ready!")
    await expect(visit.text("#notice")).to_be_empty()


async def test_it_can_be_used_with_the_keyboard_alone(visit: Visit) -> None:
    await visit.open("/reports")

    focused = "document.activeElement.id"
    order = []
    for _ in range(3):
        await visit.page.keyboard.press("Tab")
        order.append(await visit.page.evaluate(focused))
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    outlined = await visit.page.evaluate(outline)
    await visit.page.keyboard.press("Enter")

    await expect(visit.text("#outcome")).to_contain_text("Report ready!")
    assert order == ["type", "period", "generate"]
    assert outlined == "solid"
    assert await visit.page.evaluate(focused) == "generate"  # where it was


async def test_an_address_that_names_a_path_is_not_followed(visit: Visit, system: System) -> None:
    await visit.open("/reports#../../schema")

    await expect(visit.text(BUTTON)).to_be_enabled()
    assert await visit.text("#poll").get_attribute("hx-get") is None
