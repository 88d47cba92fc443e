"""The report application in its split form; the numbers are those of its failure modes."""

import asyncio
import csv

from tests.integration.apps.split import Split

ONCE = {"validateRequest": 1, "db.queryWarehouse": 1, "generateFile": 1, "notifyUser": 1}


async def start(split: Split) -> str:
    answer = await split.http.post("/api/reports", data={"type": "sales"})
    assert answer.status_code == 200
    return str(answer.json()["id"])


def origins_of(report_id: str) -> tuple[str, str]:
    """A step with an id of its own is an origin, too."""
    return f"report/{report_id}", f"file/reports/{report_id}.csv"


async def test_r1_the_form_is_answered_before_the_first_step_ends(split: Split) -> None:
    split.cues.hold("validateRequest")

    report_id = await start(split)
    status = await split.http.get(f"/api/status/{report_id}")

    assert status.json() == {"status": "processing"}
    split.cues.let_go("validateRequest")
    assert (await split.ended(f"/api/status/{report_id}"))["status"] == "done"


async def test_r2_a_slow_query_does_not_slow_the_status(split: Split) -> None:
    split.cues.hold("db.queryWarehouse")
    report_id = await start(split)
    await split.begun(f"report/{report_id}", "db.queryWarehouse")

    answers = [await split.http.get(f"/api/status/{report_id}") for _ in range(3)]

    assert [answer.json() for answer in answers] == [{"status": "processing"}] * 3
    split.cues.let_go("db.queryWarehouse")
    assert (await split.ended(f"/api/status/{report_id}"))["status"] == "done"


async def test_r3_an_unknown_report_is_not_found(split: Split) -> None:
    answer = await split.http.get("/api/status/rpt_none")

    assert (answer.status_code, answer.json()) == (404, {"status": "not_found"})


async def test_r4_a_report_that_takes_longer_than_the_page_asks_is_done_later(
    split: Split,
) -> None:
    split.cues.hold("db.queryWarehouse")
    report_id = await start(split)
    page = f"/reports/progress/{report_id}"

    last_try = await split.http.get(page, params={"try": 60})
    split.cues.let_go("db.queryWarehouse")
    done = await split.ended(f"/api/status/{report_id}")
    loaded_again = await split.http.get(page)

    assert "Timed out" in last_try.text
    assert done["status"] == "done"
    assert "Report ready!" in loaded_again.text


async def test_r5_a_report_whose_worker_is_killed_after_the_query_repeats_no_step(
    split: Split,
) -> None:
    split.cues.hold("generateFile")
    report_id = await start(split)
    report, file = origins_of(report_id)
    await split.begun(file, "generateFile")
    split.stage.dismiss()
    split.cues.let_go("generateFile")

    split.stage.hire()

    done = await split.ended(f"/api/status/{report_id}")
    assert split.entered(report, file) == {**ONCE, "generateFile": 2}
    text = (await split.http.get(done["result"]["fileUrl"])).text
    [row] = csv.DictReader(text.splitlines())
    assert int(row["rows"]) == done["result"]["rowCount"]


async def test_r6_a_workflow_whose_function_was_wrapped_is_found_by_its_name(
    split: Split,
) -> None:
    split.cues.hold("generateFile")
    report_id = await start(split)
    report, file = origins_of(report_id)
    await split.begun(file, "generateFile")
    split.stage.dismiss()
    split.cues.let_go("generateFile")

    split.stage.hire(MODULES="tests.integration.apps.renamed")

    done = await split.ended(f"/api/status/{report_id}")
    split.stage.dismiss()  # it knows no other workflow
    assert done["status"] == "done"
    assert split.entered(report, file) == {**ONCE, "generateFile": 2}


async def test_r6_a_worker_with_a_function_without_a_name_does_not_start(split: Split) -> None:
    worker = split.stage.hire(MODULES="tests.integration.apps.nameless")

    code = await worker.exit_code()

    split.stage.workers.remove(worker)
    assert code != 0
    assert "has no name of its own" in worker.log.read_text()


async def test_r7_another_gateway_than_the_one_that_took_the_form_tells_the_status(
    split: Split,
) -> None:
    report_id = await start(split)

    at_once = await split.elsewhere.get(f"/api/status/{report_id}")
    here = await split.ended(f"/api/status/{report_id}")
    there = await split.elsewhere.get(f"/api/status/{report_id}")

    assert at_once.status_code == 200
    assert there.json() == here


async def test_r8_forms_that_arrive_together_are_reports_of_their_own(split: Split) -> None:
    ids = await asyncio.gather(*(start(split) for _ in range(20)))

    assert len(set(ids)) == 20
    for report_id in ids:
        assert (await split.ended(f"/api/status/{report_id}"))["status"] == "done"
