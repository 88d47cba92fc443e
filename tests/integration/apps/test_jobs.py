"""The job service in its embedded form; the numbers are those of its failure modes."""

import json
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from holdfast import Context, Resonate
from holdfast_db.tables import results
from holdfast_gateway.settings import GatewaySettings
from tests.integration.apps.embedded import System
from tests.integration.apps.world import World

ACCOUNT = {"id": "acct-7", "owner": "Barbara", "balance": 7_000}


async def start(system: System, **payload: object) -> str:
    answer = await system.http.post("/jobs", json={"accountId": "acct-7", **payload})
    assert answer.status_code == 202
    job_id: str = answer.json()["id"]
    return job_id


async def wait_for_approval(system: System, world: World, job_id: str) -> None:
    """Return when the job waits for its approval."""
    await world.entered("processAccount")
    await system.awaited(f"approve/{job_id}")


async def approve(system: System, job_id: str, *, approved: bool) -> int:
    body = {"promiseId": f"approve/{job_id}", "approved": approved}
    return (await system.http.post("/webhooks/approval", json=body)).status_code


async def status(system: System, job_id: str, **params: str) -> dict[str, Any]:
    answer = await system.http.get(f"/jobs/{job_id}", params=params)
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    assert body["id"] == job_id
    return body


async def test_j1_an_approved_job_is_done_and_saved_once(system: System, world: World) -> None:
    job_id = await start(system)
    await wait_for_approval(system, world, job_id)
    waiting = await status(system, job_id)

    assert await approve(system, job_id, approved=True) == 204

    await system.outcome(job_id)
    ended = await status(system, job_id)
    assert waiting == {"id": job_id, "status": "processing"}
    assert ended["status"] == "done"
    assert ended["result"]["status"] == "done"
    result = ended["result"]["result"]
    assert {key: result[key] for key in ("accountId", "owner", "balance")} == {
        "accountId": "acct-7",
        "owner": "Barbara",
        "balance": 7_000,
    }
    [row] = system.rows(results)
    assert (row.job_id, json.loads(row.result)) == (job_id, result)
    assert world.counts() == {"db.getAccount": 1, "processAccount": 1, "db.saveResult": 1}


async def test_the_operations_of_a_job_have_the_documented_ids(
    system: System, world: World
) -> None:
    job_id = await start(system)
    await wait_for_approval(system, world, job_id)
    await approve(system, job_id, approved=True)
    await system.outcome(job_id)

    ids = {entry.step: entry.id for entry in world.entries}

    assert ids["db.getAccount"] == f"{job_id}.0"
    assert ids["processAccount"] == f"{job_id}.1"


async def test_j2_a_refused_job_is_rejected_and_saves_nothing(system: System, world: World) -> None:
    job_id = await start(system)
    await wait_for_approval(system, world, job_id)

    assert await approve(system, job_id, approved=False) == 204

    await system.outcome(job_id)
    assert await status(system, job_id) == {
        "id": job_id,
        "status": "rejected",
        "error": "rejected",
    }
    assert system.rows(results) == []


async def test_j3_the_first_of_two_approvals_wins(system: System, world: World) -> None:
    job_id = await start(system)
    await wait_for_approval(system, world, job_id)

    codes = [
        await approve(system, job_id, approved=True),
        await approve(system, job_id, approved=False),
    ]

    await system.outcome(job_id)
    late = await approve(system, job_id, approved=False)
    assert [*codes, late] == [204, 204, 204]
    assert (await status(system, job_id))["status"] == "done"


async def test_j4_a_job_survives_the_restart_of_everything(system: System, world: World) -> None:
    job_id = await start(system)
    await wait_for_approval(system, world, job_id)

    await system.restart()

    assert (await status(system, job_id))["status"] == "processing"
    assert await approve(system, job_id, approved=True) == 204
    await system.outcome(job_id)
    assert (await status(system, job_id))["status"] == "done"
    assert world.counts() == {"db.getAccount": 1, "processAccount": 1, "db.saveResult": 1}


async def test_j5_a_job_waits_for_the_db_group(system: System, world: World) -> None:
    await system.restart(groups=("worker",))
    job_id = await start(system)
    await system.awaited(f"{job_id}.0")

    before = await status(system, job_id)
    await system.restart()

    await wait_for_approval(system, world, job_id)
    await approve(system, job_id, approved=True)
    await system.outcome(job_id)
    assert before["status"] == "processing"
    assert (await status(system, job_id))["status"] == "done"


async def test_j6_a_db_function_that_fails_once_is_retried_where_it_runs(
    system: System, world: World
) -> None:
    world.fail("db.getAccount")
    job_id = await start(system)

    await wait_for_approval(system, world, job_id)
    await approve(system, job_id, approved=True)
    await system.outcome(job_id)

    assert (await status(system, job_id))["status"] == "done"
    assert [(e.id, e.attempt) for e in world.entries if e.step == "db.getAccount"] == [
        (f"{job_id}.0", 1),
        (f"{job_id}.0", 2),
    ]
    assert world.times("processAccount") == 1


async def test_j7_a_job_that_nobody_approves_in_time_names_the_timeout(system: System) -> None:
    job_id = await start(system, approvalTimeoutMs=300)

    await system.outcome(job_id)

    ended = await status(system, job_id)
    assert ended["status"] == "rejected"
    assert f"approve/{job_id}" in ended["error"]
    assert "timed out" in ended["error"]
    assert system.rows(results) == []


async def test_j8_an_aggregation_starts_all_before_it_waits_for_the_first(
    system: System, world: World
) -> None:
    world.hold("db.getAccount")
    account_ids = [f"acct-{number}" for number in range(20, 0, -1)]

    answer = await system.http.post("/jobs/aggregate", json={"accountIds": account_ids})

    await world.entered("db.getAccount", times=20)
    world.let_go("db.getAccount")
    job_id = answer.json()["id"]
    accounts = await system.outcome(job_id)
    assert answer.status_code == 202
    assert isinstance(accounts, list)
    assert [account["id"] for account in accounts] == account_ids
    assert world.times("db.getAccount") == 20
    assert (await status(system, job_id))["result"] == accounts


async def test_an_aggregation_may_name_an_account_twice(system: System) -> None:
    ids = ["acct-1", "acct-2", "acct-1"]

    answer = await system.http.post("/jobs/aggregate", json={"accountIds": ids})

    accounts = await system.outcome(answer.json()["id"])
    assert isinstance(accounts, list)
    assert [account["id"] for account in accounts] == ids


async def test_j9_the_same_idempotency_key_is_the_same_job(system: System) -> None:
    key = {"Idempotency-Key": "order-7-retry"}
    body = {"accountId": "acct-7"}

    first = await system.http.post("/jobs", json=body, headers=key)
    again = await system.http.post("/jobs", json=body, headers=key)
    other_key = await system.http.post("/jobs", json=body, headers={"Idempotency-Key": "another"})
    other_body = await system.http.post("/jobs", json={"accountId": "acct-8"}, headers=key)
    elsewhere = await system.http.post(
        "/jobs/aggregate", json={"accountIds": ["acct-7"]}, headers=key
    )

    assert first.status_code == again.status_code == 202
    assert first.json() == again.json()
    assert other_key.json() != first.json()
    assert other_body.status_code == 409
    assert other_body.json()["code"] == "idempotency_conflict"
    assert elsewhere.status_code == 202
    assert elsewhere.json() != first.json()


async def test_j10_a_job_is_found_by_its_raw_and_its_encoded_id(system: System) -> None:
    job_id = await start(system)

    raw = await system.http.get(f"/jobs/{job_id}")
    encoded = await system.http.get(f"/jobs/{quote(job_id, safe='')}")

    assert raw.status_code == encoded.status_code == 200
    assert raw.json() == encoded.json() == {"id": job_id, "status": "processing"}


async def test_j12_a_replay_sees_the_same_clock_and_the_same_chance(
    system: System, world: World
) -> None:
    world.fail("db.saveResult")  # its retry waits for two seconds: time to restart
    job_id = await start(system)
    await wait_for_approval(system, world, job_id)
    await approve(system, job_id, approved=True)
    await world.entered("db.saveResult")
    [save] = [entry for entry in world.entries if entry.step == "db.saveResult"]
    asked = (await system.resonate.promises.get(save.id)).param["args"][0]["result"]

    await system.restart()

    await system.outcome(job_id)
    result = (await status(system, job_id))["result"]["result"]
    assert result == asked
    assert abs(result["approvedAtMs"] - time.time() * 1000) < 60_000
    assert 0 <= result["receipt"] < 36**6


async def test_j13_an_unknown_account_is_rejected_at_the_first_attempt(
    system: System, world: World
) -> None:
    answer = await system.http.post("/jobs", json={"accountId": "acct-none"})
    job_id = answer.json()["id"]

    await system.outcome(job_id)

    assert answer.status_code == 202
    assert await status(system, job_id) == {
        "id": job_id,
        "status": "rejected",
        "error": "account acct-none does not exist",
    }
    assert world.counts() == {"db.getAccount": 1}


async def test_j14_a_step_that_always_fails_stops_at_its_deadline(
    tmp_path: Path, world: World
) -> None:
    def broken(ctx: Context) -> None:
        world.enter(ctx, "broken")

    def job(ctx: Context) -> Generator[Any, Any, None]:
        yield ctx.run(broken, ctx.options(timeout=3))

    def register(resonate: Resonate) -> None:
        resonate.register("job-with-deadline", job)
        resonate.register("broken", broken)

    world.fail("broken", times=100)
    async with System(tmp_path, world, register=register) as system:
        await system.resonate.begin_rpc("job/deadline", "job-with-deadline")

        error = await system.outcome("job/deadline")

    # The third would have come four seconds after the second; on a busy machine that is too late.
    assert 1 <= world.times("broken") <= 2
    assert isinstance(error, Exception)
    assert "the next retry would be after the deadline" in str(error)


async def test_j15_an_operation_with_an_id_of_its_own_runs_once_for_all(
    system: System, world: World
) -> None:
    options = system.resonate.options(target="workers")

    handles = [
        await system.resonate.begin_rpc(f"save/{number}", "save-job", "job/x", {"n": 1}, options)
        for number in range(3)
    ]
    saved = [await handle.result(timeout=60) for handle in handles]

    assert saved == [{"ok": True}] * 3
    [entry] = world.entries
    assert (entry.step, entry.id) == ("db.saveResult", "db/op/job/x")
    assert [row.job_id for row in system.rows(results)] == ["job/x"]


async def test_a_result_that_was_saved_stays_as_it_is(system: System) -> None:
    options = system.resonate.options(target="db")
    for number in (1, 2):
        job = {"id": "job/x", "result": {"n": number}}
        await system.resonate.rpc(f"save/{number}", "db.saveResult", job, options)

    assert [json.loads(row.result) for row in system.rows(results)] == [{"n": 1}]


async def test_a_wait_ends_with_the_job(system: System, world: World) -> None:
    job_id = await start(system, approvalTimeoutMs=300)

    ended = await status(system, job_id, wait="20")

    assert ended["status"] == "rejected"


async def test_a_wait_ends_with_its_own_time(system: System) -> None:
    job_id = await start(system)
    began = time.monotonic()

    ended = await status(system, job_id, wait="0.3")

    assert ended == {"id": job_id, "status": "processing"}
    assert time.monotonic() - began >= 0.3  # and not forever: nobody approves


async def test_a_wait_beyond_the_limit_of_waits_answers_at_once(
    tmp_path: Path, world: World
) -> None:
    async with System(tmp_path, world, settings=GatewaySettings(waits_max=0)) as system:
        job_id = await start(system)
        began = time.monotonic()

        answer = await status(system, job_id, wait="60")

        assert answer["status"] == "processing"
        assert time.monotonic() - began < 50


async def test_a_wait_for_a_job_that_has_ended_answers_at_once(system: System) -> None:
    job_id = await start(system, accountId="acct-none")
    await system.outcome(job_id)

    assert (await status(system, job_id, wait="20"))["status"] == "rejected"


async def test_jobs_that_were_ended_from_outside_say_how(system: System) -> None:
    canceled = await start(system)
    handle = await system.resonate.get(canceled)
    await handle.cancel()

    assert (await status(system, canceled))["error"] == "canceled"


async def test_an_unknown_job_is_not_found(system: System) -> None:
    unknown = "job/00000000-0000-4000-8000-000000000000"

    answer = await system.http.get(f"/jobs/{unknown}", params={"wait": "5"})

    assert answer.status_code == 404
    assert answer.json() == {"id": unknown, "status": "not_found"}


@pytest.mark.parametrize("other", ["order/ord-1", "approve/x", "job/nothing", "x", "job%2F%FF"])
async def test_other_promises_are_no_jobs(system: System, other: str) -> None:
    await system.resonate.promises.create("order/ord-1")

    answer = await system.http.get(f"/jobs/{other}")

    assert answer.status_code == 404
    assert answer.json()["status"] == "not_found"


async def test_a_service_settles_a_promise_with_any_json(system: System) -> None:
    await system.resonate.promises.create("parcel/7")
    body = {"promiseId": "parcel/7", "data": {"arrived": True, "at": None}}

    answer = await system.http.post("/webhooks/parcels", json=body)

    assert (answer.status_code, answer.content) == (204, b"")
    parcel = await system.resonate.promises.get("parcel/7")
    assert (parcel.state, parcel.value) == ("resolved", {"arrived": True, "at": None})


@pytest.mark.parametrize("service", ["approval", "parcels"])
async def test_a_webhook_for_an_unknown_promise_is_not_found(system: System, service: str) -> None:
    body = {"promiseId": "approve/none", "approved": True, "data": 1}

    answer = await system.http.post(f"/webhooks/{service}", json=body)

    assert answer.status_code == 404
    assert answer.json()["code"] == "promise_not_found"


async def test_webhooks_settle_no_workflow_no_step_and_no_stranger(
    system: System, world: World
) -> None:
    world.hold("processAccount")
    job_id = await start(system)
    await world.entered("processAccount")
    await system.resonate.promises.create("stranger")

    attempts = [
        ("parcels", {"promiseId": job_id, "data": 1}),  # the job itself
        ("parcels", {"promiseId": f"{job_id}.1", "data": 1}),  # the step that runs
        ("approval", {"promiseId": "stranger", "approved": True}),  # no approval
    ]
    codes = [
        (await system.http.post(f"/webhooks/{service}", json=body)).status_code
        for service, body in attempts
    ]

    assert codes == [404, 404, 404]
    assert (await status(system, job_id))["status"] == "processing"
    assert (await system.resonate.promises.get("stranger")).is_pending
    world.let_go("processAccount")
