"""`/v1/schedules` of a gateway and a store in processes of their own."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest

from holdfast import Context, Resonate
from tests.integration.apps.documented import Documented
from tests.integration.apps.processes import PORT_0, SECONDS_MAX, Process, Start, get_until

NEVER_SOON = "0 0 29 2 *"


@dataclass
class Running:
    """A store, a gateway, and a worker."""

    store: Process
    call: Documented
    http: httpx.AsyncClient
    resonate: Resonate


@pytest.fixture
async def running(start: Start) -> AsyncIterator[Running]:
    store = start("store", LISTEN=PORT_0, DATABASE_URL="memory:")
    await store.ready()
    url = f"grpc://{(await store.logged('store_listening'))['address']}"
    gateway = start(
        "gateway", STORE_URL=url, LISTEN=PORT_0, BRIDGE_LISTEN=PORT_0, STORE_SECONDS="1"
    )
    await gateway.ready()
    address = (await gateway.logged("gateway_started"))["address"]
    resonate = Resonate(url, env={}, group="reports")

    @resonate.register
    def report_for(ctx: Context, region: str) -> str:
        return f"{region} by {ctx.id}"

    async with (
        httpx.AsyncClient(base_url=f"http://{address}", timeout=SECONDS_MAX) as http,
        resonate,
    ):
        yield Running(store, await Documented.by(http), http, resonate)


def plan(**fields: Any) -> dict[str, Any]:
    plain = {"id": "nightly/report", "cron": NEVER_SOON, "func": "report_for", "args": ["north"]}
    return {**plain, "target": "reports", **fields}


def path(schedule_id: str = "nightly/report", action: str = "") -> str:
    return f"/v1/schedules/{quote(schedule_id, safe='')}{action}"


async def test_a_schedule_is_made_once_read_and_deleted(running: Running) -> None:
    call = running.call
    body = plan(cron="30 3 * * mon", timeZone="Europe/Berlin", timeoutMs=60_001, tags={"a": "b"})

    made = await call("POST", "/v1/schedules", json=body)
    again = await call("POST", "/v1/schedules", json=plan(func="other"))
    read = await call("GET", path())
    in_query = await call("GET", "/v1/schedules/-?id=nightly/report")
    deleted = [await call("DELETE", path()) for _ in "ab"]

    assert (made.status_code, again.status_code) == (201, 200)
    assert made.headers["Location"] == path()
    shown = made.json()
    assert shown == again.json() == read.json() == in_query.json()
    assert shown["promiseParam"]["data"]["func"] == "report_for"
    assert shown["nextRunAtMs"] > shown["createdAtMs"]
    assert "lastRunAtMs" not in shown
    assert {name: shown[name] for name in ("id", "cron", "timeZone", "promiseId", "paused")} == {
        "id": "nightly/report",
        "cron": "30 3 * * mon",
        "timeZone": "Europe/Berlin",
        "promiseId": "{{.id}}.{{.timestamp}}",
        "paused": False,
    }
    assert shown["promiseTimeoutMs"] == 60_001
    assert shown["promiseTags"] == {"resonate:target": "poll://any@reports", "a": "b"}
    assert [each.status_code for each in deleted] == [204, 404]
    assert deleted[1].json()["code"] == "schedule_not_found"


async def test_a_schedule_calls_its_function(running: Running) -> None:
    call = running.call
    await call("POST", "/v1/schedules", json=plan(id="often", cron="* * * * * *"))

    seen = await get_until(running.http, path("often"), lambda a: "lastRunAtMs" in a.json())
    await call("DELETE", path("often"))

    run_id = f"often.{seen.json()['lastRunAtMs']}"
    run = await call("GET", f"/v1/workflows/report_for/{quote(run_id, safe='')}?wait=5")
    assert run.json()["value"] == {"data": f"north by {run_id}"}


async def test_a_paused_schedule_runs_when_it_is_triggered(running: Running) -> None:
    call = running.call
    await call("POST", "/v1/schedules", json=plan(paused=True))

    triggered = await call("POST", path(action="/trigger"))
    resumed = await call("POST", path(action="/resume"))
    paused = [await call("POST", path(action="/pause")) for _ in "ab"]

    run_id = triggered.json()["id"]
    run = await call("GET", f"/v1/workflows/report_for/{quote(run_id, safe='')}?wait=5")
    assert triggered.status_code == 202
    assert run.json()["state"] == "resolved"
    assert resumed.json()["paused"] is False
    assert [each.json()["paused"] for each in paused] == [True, True]


async def test_promises_are_scheduled_with_data_and_listed_by_tag(running: Running) -> None:
    call, team = running.call, uuid4().hex
    for name in ("a", "é", "b"):
        body = {"id": name, "cron": NEVER_SOON, "data": {"for": name}, "tags": {"team": team}}
        await call("POST", "/v1/schedules", json=body)

    first = (await call("GET", f"/v1/schedules?tag=team={team}&limit=2")).json()
    second = (
        await call("GET", f"/v1/schedules?tag=team={team}&limit=2&cursor={first['cursor']}")
    ).json()

    assert [each["id"] for each in first["schedules"]] == ["a", "b"]
    assert [each["id"] for each in second["schedules"]] == ["é"]
    assert "cursor" not in second
    assert second["schedules"][0]["promiseParam"] == {"data": {"for": "é"}}


@pytest.mark.parametrize(
    ("body", "code", "named"),
    [
        ({"id": "x"}, "invalid_body", "cron"),
        (plan(cron=5), "invalid_body", "cron"),
        (plan(cron="daily"), "invalid_cron", "five fields"),
        (plan(cron="0 0 30 2 *"), "invalid_cron", "never occurs"),
        (plan(timeZone="Berlin"), "invalid_time_zone", "time_zone"),
        (plan(timeoutMs=-1), "invalid_body", "timeoutMs"),
        (plan(timeoutMs=2**53), "invalid_body", "timeoutMs"),
        (plan(data=1), "invalid_body", "not both"),
        ({"id": "x", "cron": NEVER_SOON, "args": [1]}, "invalid_body", "for a func"),
        (plan(id=""), "invalid_text", "id"),
        (plan(promiseId="x" * 1025), "invalid_text", "promise_id"),
        (plan(tags={"resonate:delay": "5"}), "invalid_delay", "delay"),
        (plan(unknown=1), "invalid_body", "unknown"),
    ],
)
async def test_what_is_malformed_is_named_and_nothing_is_stored(
    running: Running, body: dict[str, Any], code: str, named: str
) -> None:
    answer = await running.call("POST", "/v1/schedules", json=body)
    listed = (await running.call("GET", "/v1/schedules")).json()

    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert named in answer.json()["detail"]
    assert listed == {"schedules": []}


async def test_a_store_that_is_away_is_told(running: Running) -> None:
    running.store.kill()

    answer = await running.call("POST", "/v1/schedules", json=plan())

    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
