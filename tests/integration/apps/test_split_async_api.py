"""The asynchronous API in its split form; the numbers are those of its failure modes."""

import asyncio
import uuid

import httpx
import pytest

from tests.integration.apps.split import Split, address_of, until


@pytest.fixture
def promise_id() -> str:
    return uuid.uuid4().hex


async def test_a1_what_a_killed_worker_was_doing_is_done_by_another(
    split: Split, promise_id: str
) -> None:
    split.cues.hold("foo", promise_id)
    await split.http.post(f"/begin?id={promise_id}", json={"n": 1})
    await split.begun(promise_id, "foo")
    split.stage.dismiss()
    split.cues.let_go("foo", promise_id)

    split.stage.hire()

    ended = await split.ended(f"/wait?id={promise_id}")
    assert (ended["status"], ended["result"]["result"]) == ("resolved", 'Processed: {"n":1}')
    assert split.entered(promise_id) == {"foo": 2}


async def test_a1_a_result_is_saved_once_although_the_worker_is_killed_before_it_knows(
    split: Split, promise_id: str
) -> None:
    """The extended variant: the db group keeps what the function returned."""
    split.cues.hold("db.saveResult", promise_id)
    made = {"id": promise_id, "args": [{"n": 1}], "target": "worker"}
    await split.http.post("/v1/workflows/fooSaved", json=made)
    await split.begun(promise_id, "db.saveResult")
    split.stage.dismiss()
    split.cues.let_go("db.saveResult", promise_id)

    split.stage.hire()

    ended = await split.ended(f"/wait?id={promise_id}")
    assert ended["result"]["result"] == 'Processed: {"n":1}'
    assert split.entered(promise_id) == {"foo": 1, "db.saveResult": 1}


async def test_a2_a_gateway_that_is_killed_before_the_first_wait_forgets_nothing(
    split: Split, promise_id: str
) -> None:
    gateway = split.stage.gateway()
    async with httpx.AsyncClient(base_url=await address_of(gateway)) as http:
        begun = await http.post(f"/begin?id={promise_id}")
    gateway.kill()

    ended = await split.ended(begun.json()["wait"])

    assert ended["status"] == "resolved"


async def test_a3_the_first_data_of_an_id_counts(split: Split, promise_id: str) -> None:
    first = await split.http.post(f"/begin?id={promise_id}", json={"n": 1})
    before = await split.ended(f"/wait?id={promise_id}")
    second = await split.elsewhere.post(f"/begin?id={promise_id}", json={"n": 2})
    after = await split.ended(f"/wait?id={promise_id}")

    assert first.json() == second.json()
    assert before == after
    assert after["result"]["result"] == 'Processed: {"n":1}'
    assert split.entered(promise_id) == {"foo": 1}


async def test_a4_twenty_waits_for_a_slow_function_are_pending(
    split: Split, promise_id: str
) -> None:
    split.cues.hold("foo", promise_id)
    await split.http.post(f"/begin?id={promise_id}")
    await split.begun(promise_id, "foo")

    answers = [await split.http.get(f"/wait?id={promise_id}") for _ in range(20)]

    assert {answer.json()["status"] for answer in answers} == {"pending"}
    split.cues.let_go("foo", promise_id)
    assert (await split.ended(f"/wait?id={promise_id}"))["status"] == "resolved"


async def test_a5_a_function_that_raises_is_rejected_at_once(split: Split, promise_id: str) -> None:
    split.cues.fail("foo", promise_id)
    await split.http.post(f"/begin?id={promise_id}")

    ended = await split.ended(f"/wait?id={promise_id}")

    assert (ended["status"], ended["error"]) == ("rejected", "foo fails, as the test asked")
    assert split.entered(promise_id) == {"foo": 1}
    assert (await split.http.get("/health")).status_code == 200


async def test_a6_an_unknown_id_is_not_found(split: Split, promise_id: str) -> None:
    answer = await split.http.get(f"/wait?id={promise_id}")

    assert (answer.status_code, answer.json()) == (404, {"error": f"{promise_id} not found"})


async def test_a7_what_waits_for_a_worker_is_done_as_soon_as_one_connects(
    split: Split, promise_id: str
) -> None:
    """And not after the thirty seconds of a blind retry."""
    split.stage.dismiss()
    await split.http.post(f"/begin?id={promise_id}")
    waiting = await split.http.get(f"/wait?id={promise_id}")
    worker = split.stage.hire()
    await worker.ready()

    async with asyncio.timeout(25):
        ended = await split.ended(f"/wait?id={promise_id}")

    assert waiting.json()["status"] == "pending"
    assert ended["status"] == "resolved"


async def test_a8_two_workers_share_fifty_calls_and_each_is_done_once(split: Split) -> None:
    split.stage.dismiss()
    split.cues.hold("foo")
    workers = [split.stage.hire(MAX_CONCURRENCY="2") for _ in range(2)]
    ids = [f"a8-{number}-{uuid.uuid4().hex}" for number in range(50)]
    pids = {worker.popen.pid for worker in workers}

    await asyncio.gather(*(split.http.post("/begin", params={"id": each}) for each in ids))
    await until(lambda: {entry["os_pid"] for entry in split.entries(*ids)} == pids)
    split.cues.let_go("foo")

    ended = [await split.ended(f"/wait?id={each}") for each in ids]
    assert {each["status"] for each in ended} == {"resolved"}
    assert sorted(entry["id"] for entry in split.entries(*ids)) == sorted(ids)


async def test_a9_without_an_id_two_begins_have_two_ids(split: Split) -> None:
    ids = [(await split.http.post("/begin")).json()["promise"] for _ in range(2)]

    assert ids[0] != ids[1]
    for promise_id in ids:
        assert str(uuid.UUID(promise_id)) == promise_id
        assert (await split.ended(f"/wait?id={promise_id}"))["status"] == "resolved"
