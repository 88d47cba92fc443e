"""The asynchronous API in its embedded form; the numbers are those of its failure modes."""

import json
import uuid

import httpx
import pytest

from holdfast_db.tables import results
from tests.integration.apps.embedded import System
from tests.integration.apps.world import World


async def test_begin_and_wait_answer_as_the_original_does(system: System, world: World) -> None:
    begun = await system.http.post("/begin?id=one", json={"hello": "world"})
    await system.outcome("one")
    waited = await system.http.get(begun.json()["wait"])

    assert begun.status_code == 200
    assert begun.json() == {"promise": "one", "status": "pending", "wait": "/wait?id=one"}
    assert waited.status_code == 200
    timestamp = waited.json()["result"].pop("timestamp")
    assert waited.json() | {"result": None} == {
        "status": "resolved",
        "promise_id": "one",
        "result": None,
    }
    assert waited.json()["result"]["result"] == 'Processed: {"hello":"world"}'
    assert isinstance(timestamp, int)
    assert world.lines == ['processing on worker: {"hello":"world"}']


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", '{"foo":"bar"}'),
        (b"{}", '{"foo":"bar"}'),
        (b"[1,2]", "[1,2]"),
        (b"[]", "[]"),
        (b"0", "0"),
        (b'"caf\xc3\xa9"', '"café"'),
        (b'{"n":9007199254740993}', '{"n":9007199254740993}'),
    ],
)
async def test_any_json_is_processed_and_nothing_means_the_default(
    system: System, body: bytes, text: str
) -> None:
    headers = {"content-type": "application/json"}
    await system.http.post("/begin?id=x", content=body, headers=headers)
    await system.outcome("x")

    result = (await system.http.get("/wait?id=x")).json()["result"]["result"]

    assert result == f"Processed: {text}"


async def test_a2_a_restart_of_the_gateway_before_the_first_wait_forgets_nothing(
    system: System,
) -> None:
    await system.http.post("/begin?id=one")

    await system.restart()

    assert (await system.http.get("/wait?id=one")).status_code == 200
    await system.outcome("one")
    assert (await system.http.get("/wait?id=one")).json()["status"] == "resolved"


async def test_a3_the_first_data_of_an_id_counts(system: System, world: World) -> None:
    first = await system.http.post("/begin?id=one", json={"n": 1})
    await system.outcome("one")
    second = await system.http.post("/begin?id=one", json={"n": 2})

    assert first.json() == second.json()
    assert world.counts() == {"foo": 1}
    result = (await system.http.get("/wait?id=one")).json()["result"]["result"]
    assert result == 'Processed: {"n":1}'


async def test_a4_a_slow_function_is_pending_however_often_one_asks(
    system: System, world: World
) -> None:
    world.hold("foo")
    await system.http.post("/begin?id=slow")
    await world.entered("foo")

    answers = [await system.http.get("/wait?id=slow") for _ in range(20)]

    assert {answer.text for answer in answers} == {answers[0].text}
    assert answers[0].json() == {
        "status": "pending",
        "promise_id": "slow",
        "message": "Processing in progress",
    }
    world.let_go("foo")
    await system.outcome("slow")


async def test_a5_a_function_that_raises_is_rejected_at_once(system: System, world: World) -> None:
    world.fail("foo")
    await system.http.post("/begin?id=bad")
    await system.outcome("bad")

    answer = await system.http.get("/wait?id=bad")

    assert answer.status_code == 200
    assert answer.json() == {
        "status": "rejected",
        "promise_id": "bad",
        "error": "foo fails, as the test asked",
    }
    assert world.counts() == {"foo": 1}
    assert (await system.http.get("/health")).status_code == 200


async def test_a6_an_unknown_id_is_not_found(system: System) -> None:
    answer = await system.http.get("/wait?id=nobody")

    assert answer.status_code == 404
    assert answer.json() == {"error": "nobody not found"}


@pytest.mark.parametrize("query", ["", "?id=", "?id=a&id=b"])
async def test_a_wait_without_one_id_is_refused(system: System, query: str) -> None:
    answer = await system.http.get(f"/wait{query}")

    assert answer.status_code == 400
    assert answer.json() == {"error": "id query parameter is required"}


async def test_a7_what_waits_for_a_worker_is_done_when_there_is_one(system: System) -> None:
    await system.restart(groups=(), group="nobody")
    await system.http.post("/begin?id=early")
    waiting = await system.http.get("/wait?id=early")

    await system.restart()

    await system.outcome("early")
    assert waiting.json()["status"] == "pending"
    assert (await system.http.get("/wait?id=early")).json()["status"] == "resolved"


@pytest.mark.parametrize("query", ["", "?id=", "?id=a&id=b"])
async def test_a9_without_one_id_two_begins_have_two_ids(system: System, query: str) -> None:
    answers = [await system.http.post(f"/begin{query}") for _ in range(2)]

    ids = [answer.json()["promise"] for answer in answers]
    assert ids[0] != ids[1]
    for promise_id in ids:
        assert str(uuid.UUID(promise_id)) == promise_id
        await system.outcome(promise_id)
        assert (await system.http.get(f"/wait?id={promise_id}")).json()["status"] == "resolved"


@pytest.mark.parametrize("promise_id", ["a b", "café ☕", "a/b", "a?b#c&d", "x.0", "a" * 1000])
async def test_any_id_can_be_followed_by_its_wait_url(system: System, promise_id: str) -> None:
    begun = await system.http.post("/begin", params={"id": promise_id})
    await system.outcome(promise_id)

    waited = await system.http.get(httpx.URL(begun.json()["wait"]))

    assert waited.json()["status"] == "resolved"
    assert waited.json()["promise_id"] == promise_id


@pytest.mark.parametrize("promise_id", ["a" * 1025, "a\0b", "order/x", "job/x", "approve/job/x"])
async def test_an_id_that_cannot_be_is_refused_and_begins_nothing(
    system: System, world: World, promise_id: str
) -> None:
    answer = await system.http.post("/begin", params={"id": promise_id})

    assert answer.status_code == 400
    assert answer.json()["error"].startswith("failed_to_begin: ")
    assert world.entries == []


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [(b"{", "application/json", 400), (b"x", "text/plain", 415), (b'{"a":1', "", 415)],
)
async def test_a_body_that_is_no_json_begins_nothing(
    system: System, world: World, body: bytes, content_type: str, code: int
) -> None:
    headers = {"content-type": content_type}

    answer = await system.http.post("/begin?id=one", content=body, headers=headers)

    assert answer.status_code == code
    assert answer.json()["error"].startswith("failed_to_begin: ")
    assert (await system.http.get("/wait?id=one")).status_code == 404
    assert world.entries == []


async def test_a_result_can_be_saved_by_the_db_group(system: System, world: World) -> None:
    made = {"id": "kept", "args": [{"n": 1}], "target": "worker"}

    await system.http.post("/v1/workflows/fooSaved", json=made)

    result = await system.outcome("kept")
    waited = await system.http.get("/wait?id=kept")
    assert waited.json()["result"] == result
    [row] = system.rows(results)
    assert (row.job_id, json.loads(row.result)) == ("kept", result)
    assert world.counts() == {"foo": 1, "db.saveResult": 1}


async def test_a5_a_function_that_raises_saves_nothing(system: System, world: World) -> None:
    world.fail("foo")
    made = {"id": "bad", "args": [1], "target": "worker"}

    await system.http.post("/v1/workflows/fooSaved", json=made)

    await system.outcome("bad")
    assert (await system.http.get("/wait?id=bad")).json()["status"] == "rejected"
    assert system.rows(results) == []
    assert world.counts() == {"foo": 1}


async def test_promises_of_other_applications_are_not_shown(system: System) -> None:
    await system.resonate.promises.create("order/secret")

    answer = await system.http.get("/wait?id=order/secret")

    assert answer.status_code == 404
