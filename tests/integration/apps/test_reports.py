"""The report application in its embedded form; the numbers are those of its failure modes."""

import asyncio
import re
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from holdfast import Context, FunctionNotRegistered, Resonate
from holdfast_gateway.app import create_app
from holdfast_gateway.settings import GatewaySettings
from holdfast_worker.apps import reports
from tests.integration.apps.embedded import System, client_of
from tests.integration.apps.world import World

ONCE = {
    "validateRequest": 1,
    "db.queryWarehouse": 1,
    "generateFile": 1,
    "notifyUser": 1,
}


async def start(system: System, **fields: str) -> str:
    answer = await system.http.post("/api/reports", data=fields)
    assert answer.status_code == 200
    [(name, report_id)] = answer.json().items()
    assert name == "id"
    return str(report_id)


async def status(system: System, report_id: str) -> dict[str, Any]:
    answer = await system.http.get(f"/api/status/{report_id}")
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


async def test_a_report_is_made_and_its_file_can_be_downloaded(
    system: System, world: World
) -> None:
    report_id = await start(system, type="inventory", period="2025-H2")
    await system.outcome(f"report/{report_id}")

    done = await status(system, report_id)

    assert re.fullmatch(r"rpt_[0-9]{13}_[0-9a-f]{8}", report_id)
    rows = done["result"].pop("rowCount")
    completed_at = done["result"].pop("completedAt")
    assert done == {
        "status": "done",
        "result": {
            "reportId": report_id,
            "type": "inventory",
            "period": "2025-H2",
            "fileUrl": f"/reports/{report_id}.csv",
        },
    }
    assert 1_000 <= rows <= 50_999
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", completed_at)
    assert abs(datetime.fromisoformat(completed_at).timestamp() - time.time()) < 60
    file = await system.http.get(f"/reports/{report_id}.csv")
    assert file.headers["content-type"] == "text/csv; charset=utf-8"
    assert file.text == (f"report,type,period,rows\r\n{report_id},inventory,2025-H2,{rows}\r\n")
    assert world.counts() == ONCE
    assert world.lines == [
        f"[validate]  report {report_id} — type: inventory, period: 2025-H2",
        f"[query]     report {report_id} — querying inventory data for 2025-H2",
        f"[query]     report {report_id} — {rows:,} rows retrieved",
        f"[generate]  report {report_id} — building inventory file of {rows:,} rows",
        f"[generate]  report {report_id} — saved to /reports/{report_id}.csv",
        f"[notify]    report {report_id} — download ready at /reports/{report_id}.csv",
    ]


async def test_an_empty_form_asks_for_the_defaults(system: System) -> None:
    report_id = await start(system)
    await system.outcome(f"report/{report_id}")

    result = (await status(system, report_id))["result"]
    assert (result["type"], result["period"]) == ("sales", "2025-Q4")


async def test_a_report_can_be_asked_for_in_json(system: System) -> None:
    answer = await system.http.post("/api/reports", json={"type": "analytics"})
    await system.outcome(f"report/{answer.json()['id']}")

    result = (await status(system, answer.json()["id"]))["result"]
    assert (result["type"], result["period"]) == ("analytics", "2025-Q4")


async def test_r1_the_form_is_answered_before_the_first_step_ends(
    system: System, world: World
) -> None:
    world.hold("validateRequest")

    report_id = await start(system, type="sales")

    assert await status(system, report_id) == {"status": "processing"}
    world.let_go("validateRequest")
    await system.outcome(f"report/{report_id}")


async def test_r2_a_slow_query_does_not_slow_the_status(system: System, world: World) -> None:
    world.hold("db.queryWarehouse")
    report_id = await start(system)
    await world.entered("db.queryWarehouse")

    answers = [await status(system, report_id) for _ in range(3)]

    assert answers == [{"status": "processing"}] * 3
    world.let_go("db.queryWarehouse")
    await system.outcome(f"report/{report_id}")


async def test_r3_an_unknown_report_is_not_found(system: System) -> None:
    answer = await system.http.get("/api/status/rpt_none")

    assert answer.status_code == 404
    assert answer.json() == {"status": "not_found"}


async def test_r5_a_restart_after_the_query_repeats_no_step(system: System, world: World) -> None:
    """Stops in the middle; the tests with real processes kill it instead."""
    world.fail("generateFile")  # its retry waits for two seconds: time to stop
    report_id = await start(system)
    await world.entered("generateFile")

    await system.restart()

    await system.outcome(f"report/{report_id}")
    rows = (await status(system, report_id))["result"]["rowCount"]
    assert world.counts() == {**ONCE, "generateFile": 2}
    assert f"[query]     report {report_id} — {rows:,} rows retrieved" in world.lines
    assert (await system.http.get(f"/reports/{report_id}.csv")).text.endswith(f",{rows}\r\n")


async def test_r6_a_workflow_whose_function_was_wrapped_is_found_by_its_name(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with System(tmp_path, world) as system:
        world.fail("generateFile")
        report_id = await start(system)
        await world.entered("generateFile")
        before = reports.generate_report

        def renamed(ctx: Context, request: dict[str, str]) -> Any:
            return (yield from before(ctx, request))

        monkeypatch.setattr(reports, "generate_report", renamed)
        await system.restart()

        await system.outcome(f"report/{report_id}")
        assert (await status(system, report_id))["status"] == "done"
    assert world.counts() == {**ONCE, "generateFile": 2}


async def test_r6_a_function_without_a_name_cannot_be_registered(
    tmp_path: Path, world: World
) -> None:
    def register(resonate: Resonate) -> None:
        resonate.register(lambda ctx: ctx)

    with pytest.raises(FunctionNotRegistered, match="has no name of its own"):
        await System(tmp_path, world, register=register).__aenter__()


async def test_r7_what_knows_nothing_but_the_store_tells_the_status(system: System) -> None:
    """An application of its own, as that of another process would be."""
    other: Any = create_app(GatewaySettings(), system.resonate)
    report_id = await start(system)
    await system.outcome(f"report/{report_id}")

    async with client_of(other) as http:
        answer = await http.get(f"/api/status/{report_id}")

    assert answer.json() == await status(system, report_id)
    assert answer.json()["status"] == "done"


async def test_r8_two_forms_of_one_millisecond_are_two_reports(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_763_000_000_000_000_000)

    ids = await asyncio.gather(*(start(system) for _ in range(20)))
    monkeypatch.undo()

    assert len(set(ids)) == 20
    assert {report_id[:18] for report_id in ids} == {"rpt_1763000000000_"}
    for report_id in ids:
        await system.outcome(f"report/{report_id}")


async def test_a_report_that_cannot_be_made_is_rejected(system: System, world: World) -> None:
    """Started past the route, with what the route would have refused."""
    request = {"id": "rpt_odd", "type": "weather", "period": "2025-Q4"}
    options = system.resonate.options(target="workers")
    await system.resonate.begin_rpc("report/rpt_odd", "generateReport", request, options)

    await system.outcome("report/rpt_odd")

    assert await status(system, "rpt_odd") == {
        "status": "rejected",
        "error": "type must be one of sales, inventory, analytics",
    }
    assert world.counts() == {"validateRequest": 1}


async def test_steps_of_a_report_are_no_reports(system: System) -> None:
    report_id = await start(system)
    await system.outcome(f"report/{report_id}")

    answer = await system.http.get(f"/api/status/{report_id}.0")

    assert answer.json() == {"status": "not_found"}


@pytest.mark.parametrize("name", ["rpt_none.csv", "..%2Fx", "é", "%00"])
async def test_a_file_that_does_not_exist_is_a_problem(system: System, name: str) -> None:
    answer = await system.http.get(f"/reports/{name}")

    assert answer.status_code in {400, 404}
    assert answer.headers["content-type"] == "application/problem+json"
