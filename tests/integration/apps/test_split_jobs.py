"""The job service in its split form; the numbers are those of its failure modes."""

import json
import time
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx

from holdfast_gateway.signatures import ID, SIGNATURE, TIMESTAMP, sign
from tests.integration.apps.split import SECRET, Split, address_of

ONCE = {"db.getAccount": 1, "processAccount": 1, "db.saveResult": 1}


async def start(split: Split, **payload: object) -> str:
    answer = await split.http.post("/jobs", json={"accountId": "acct-7", **payload})
    assert answer.status_code == 202
    return str(answer.json()["id"])


async def waiting(split: Split, **payload: object) -> str:
    """Start a job; return its id when it waits for its approval."""
    job = await start(split, **payload)
    await split.awaited(f"approve/{job}")
    return job


async def approve(split: Split, job: str, *, approved: bool = True) -> int:
    body = {"promiseId": f"approve/{job}", "approved": approved}
    return (await split.elsewhere.post("/webhooks/approval", json=body)).status_code


async def test_j1_an_approved_job_is_done_and_saved_once(split: Split) -> None:
    job = await waiting(split)
    before = (await split.http.get(f"/jobs/{job}")).json()

    assert await approve(split, job) == 204

    done = await split.ended(f"/jobs/{job}")
    assert before == {"id": job, "status": "processing"}
    assert done["result"]["result"]["balance"] == 7_000
    assert split.entered(job) == ONCE


async def test_j2_a_refused_job_is_rejected_and_saves_nothing(split: Split) -> None:
    job = await waiting(split)

    assert await approve(split, job, approved=False) == 204

    done = await split.ended(f"/jobs/{job}")
    assert done == {"id": job, "status": "rejected", "error": "rejected"}
    assert "db.saveResult" not in split.entered(job)


async def test_j3_the_first_of_two_approvals_wins(split: Split) -> None:
    job = await waiting(split)

    codes = [await approve(split, job, approved=approved) for approved in (True, False)]

    done = await split.ended(f"/jobs/{job}")
    late = await approve(split, job, approved=False)
    assert [*codes, late] == [204, 204, 204]
    assert done["status"] == "done"


async def test_j4_a_job_survives_the_death_of_workers_db_and_gateway(split: Split) -> None:
    gateway = split.stage.gateway()
    async with httpx.AsyncClient(base_url=await address_of(gateway)) as http:
        job = (await http.post("/jobs", json={"accountId": "acct-7"})).json()["id"]
    await split.awaited(f"approve/{job}")
    gateway.kill()
    split.stage.dismiss()
    split.stage.dismiss_db()
    code = await approve(split, job)

    split.stage.hire()
    split.stage.hire_db()

    done = await split.ended(f"/jobs/{job}")
    assert code == 204
    assert done["result"]["result"]["balance"] == 7_000
    assert split.entered(job) == ONCE


async def test_j5_a_job_waits_for_the_db_group(split: Split) -> None:
    split.stage.dismiss_db()
    job = await start(split)
    await split.awaited(f"{job}.0")
    before = (await split.http.get(f"/jobs/{job}")).json()

    split.stage.hire_db()

    await split.awaited(f"approve/{job}")
    await approve(split, job)
    assert before["status"] == "processing"
    assert (await split.ended(f"/jobs/{job}"))["status"] == "done"


async def test_j6_a_db_function_that_fails_once_is_retried_where_it_runs(split: Split) -> None:
    split.cues.fail("db.getAccount")
    job = await waiting(split)

    await approve(split, job)

    assert (await split.ended(f"/jobs/{job}"))["status"] == "done"
    assert split.entered(job) == {**ONCE, "db.getAccount": 2}
    attempts = [e["attempt"] for e in split.entries(job) if e["step"] == "db.getAccount"]
    assert attempts == [1, 2]


async def test_j7_a_job_that_nobody_approves_in_time_names_the_timeout(split: Split) -> None:
    job = await start(split, approvalTimeoutMs=300)

    done = await split.ended(f"/jobs/{job}")

    assert done["status"] == "rejected"
    assert f"approve/{job}" in done["error"]
    assert "timed out" in done["error"]
    assert "db.saveResult" not in split.entered(job)


async def test_j8_an_aggregation_starts_all_before_it_waits_for_the_first(split: Split) -> None:
    split.cues.hold("db.getAccount")
    account_ids = [f"acct-{number}" for number in range(20, 0, -1)]

    answer = await split.http.post("/jobs/aggregate", json={"accountIds": account_ids})

    job = answer.json()["id"]
    for number in range(20):
        await split.awaited(f"{job}.{number}")
    split.cues.let_go("db.getAccount")
    done = await split.ended(f"/jobs/{job}")
    assert answer.status_code == 202
    assert [account["id"] for account in done["result"]] == account_ids
    assert split.entered(job) == {"db.getAccount": 20}


async def test_j9_the_same_idempotency_key_is_the_same_job(split: Split) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    body = {"accountId": "acct-none"}

    first = await split.http.post("/jobs", json=body, headers=key)
    again = await split.elsewhere.post("/jobs", json=body, headers=key)
    other = await split.http.post("/jobs", json={"accountId": "acct-8"}, headers=key)

    assert first.json() == again.json()
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    assert (await split.ended(f"/jobs/{first.json()['id']}"))["status"] == "rejected"
    assert split.entered(first.json()["id"]) == {"db.getAccount": 1}


async def test_j10_a_job_is_found_by_its_raw_and_its_encoded_id(split: Split) -> None:
    job = await waiting(split)

    raw = await split.http.get(f"/jobs/{job}")
    encoded = await split.http.get(f"/jobs/{quote(job, safe='')}")

    assert raw.json() == encoded.json() == {"id": job, "status": "processing"}


async def test_j11_a_webhook_with_a_wrong_signature_leaves_the_promise_untouched(
    split: Split,
) -> None:
    job = await waiting(split)
    body = json.dumps({"promiseId": f"approve/{job}", "approved": True}).encode()

    async def send(secret: bytes) -> int:
        timestamp = str(int(time.time()))
        signature = sign(secret, webhook_id="msg_1", timestamp=timestamp, body=body)
        signed = {ID: "msg_1", TIMESTAMP: timestamp, SIGNATURE: signature}
        headers = {"content-type": "application/json", **signed}
        answer = await split.strict.post("/webhooks/approval", content=body, headers=headers)
        return answer.status_code

    wrong = await send(b"w" * 32)
    untouched = await split.resonate.promises.get(f"approve/{job}")
    right = await send(SECRET)

    assert (wrong, untouched.is_pending, right) == (401, True, 204)
    assert (await split.ended(f"/jobs/{job}"))["status"] == "done"


async def test_j12_a_replay_sees_the_same_clock_and_the_same_chance(split: Split) -> None:
    job = await waiting(split)
    split.cues.hold("db.saveResult", job)
    await approve(split, job)
    await split.begun(job, "db.saveResult")
    [save] = [entry for entry in split.entries(job) if entry["step"] == "db.saveResult"]
    asked: Any = (await split.resonate.promises.get(save["id"])).param
    split.stage.dismiss()
    split.cues.let_go("db.saveResult", job)

    split.stage.hire()

    done = await split.ended(f"/jobs/{job}")
    assert done["result"]["result"] == asked["args"][0]["result"]


async def test_j13_an_unknown_account_is_rejected_at_the_first_attempt(split: Split) -> None:
    job = await start(split, accountId="acct-none")

    done = await split.ended(f"/jobs/{job}")

    assert (done["status"], done["error"]) == ("rejected", "account acct-none does not exist")
    assert split.entered(job) == {"db.getAccount": 1}


async def test_j14_a_step_that_always_fails_stops_at_its_deadline(split: Split) -> None:
    job = f"job/{uuid4()}"
    split.cues.fail("broken", job, times=100)
    options = split.resonate.options(target="workers")
    await split.resonate.begin_rpc(job, "job-with-deadline", options)

    done = await split.ended(f"/jobs/{job}")

    assert "the next retry would be after the deadline" in done["error"]
    assert 1 <= split.entered(job)["broken"] <= 2


async def test_j15_an_operation_with_an_id_of_its_own_runs_once_for_all(split: Split) -> None:
    saved, result = f"job/{uuid4()}", {"n": 1}
    options = split.resonate.options(target="workers")

    handles = [
        await split.resonate.begin_rpc(f"save/{n}/{saved}", "save-job", saved, result, options)
        for n in range(3)
    ]
    results = [await handle.result(timeout=30) for handle in handles]

    assert results == [{"ok": True}] * 3
    [entry] = [entry for entry in split.entries() if entry["id"] == f"db/op/{saved}"]
    assert entry["step"] == "db.saveResult"
