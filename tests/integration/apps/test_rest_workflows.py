"""`/v1/workflows`: started once by id or key, told of while it runs, waited for within limits."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
import pytest_asyncio

from holdfast import Context, PromiseNotFound, Resonate
from tests.integration.apps.documented import Documented
from tests.integration.apps.embedded import System
from tests.integration.apps.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = {"content-type": "application/json"}
CALLS: list[Any] = []


def add(_ctx: Context, a: int, b: int = 0) -> int:
    CALLS.append((a, b))
    return a + b


def refuse(_ctx: Context) -> None:
    raise ValueError("no")


def gated(ctx: Context, gate: str) -> Any:
    opened = yield ctx.promise(id=gate)
    return (yield opened)


def register(resonate: Resonate) -> None:
    resonate.register(add)
    resonate.register(refuse)
    resonate.register(gated)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    folder = tmp_path_factory.mktemp("system")
    async with System(folder, World(), register=register) as system:
        yield system


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def call(system: System) -> Documented:
    return await Documented.by(system.http)


async def is_absent(system: System, promise_id: str) -> bool:
    try:
        await system.resonate.promises.get(promise_id)
    except PromiseNotFound:
        return True
    return False


@pytest.mark.parametrize("name", ["plain", "a/b ä😀", "%2F?#"])
async def test_a_workflow_is_started_and_its_end_told(call: Documented, name: str) -> None:
    workflow_id = f"{name}{uuid4().hex}"

    started = await call(
        "POST", "/v1/workflows/add", json={"id": workflow_id, "args": [2], "kwargs": {"b": 3}}
    )
    ended = await call("GET", f"{started.headers['location']}?wait=20")
    in_query = await call("GET", f"/v1/workflows/add/-?id={quote(workflow_id, safe='')}")

    assert started.status_code == 202
    assert started.json() == {"id": workflow_id, "created": True}
    assert (ended.json()["state"], ended.json()["value"]) == ("resolved", {"data": 5})
    assert in_query.json() == ended.json()


async def test_a_start_may_wait_for_the_end(call: Documented) -> None:
    ended = await call("POST", "/v1/workflows/add?wait=20", json={"args": [1, 1]})
    failed = await call("POST", "/v1/workflows/refuse?wait=20", json={"timeoutMs": 1})

    assert (ended.status_code, ended.json()["value"]) == (200, {"data": 2})
    assert failed.json()["state"].startswith("rejected")


async def test_a_wait_is_bounded_and_tells_that_it_goes_on(
    system: System, call: Documented
) -> None:
    gate = uuid4().hex
    started = await call(
        "POST", "/v1/workflows/gated?wait=0.01", json={"id": f"w{gate}", "args": [gate]}
    )
    pending = await call("GET", f"/v1/workflows/gated/w{gate}?wait=0.01")
    await system.awaited(gate)
    await system.resonate.promises.resolve(gate, "open")
    ended = await call("GET", f"/v1/workflows/gated/w{gate}?wait=20")

    assert started.status_code == 202
    assert pending.json()["state"] == "pending"
    assert ended.json()["value"] == {"data": "open"}


@pytest.mark.parametrize("by_key", [False, True])
async def test_many_starts_are_one_workflow(call: Documented, *, by_key: bool) -> None:
    key, marker = uuid4().hex, uuid4().int >> 80
    headers = {"idempotency-key": key} if by_key else {}
    body = {"args": [marker]} | ({} if by_key else {"id": key})

    answers = await asyncio.gather(
        *(call("POST", "/v1/workflows/add", json=body, headers=headers) for _ in range(8))
    )
    workflow_id = answers[0].json()["id"]
    await call("GET", f"/v1/workflows/add/{workflow_id}?wait=20")
    other = await call("POST", "/v1/workflows/add", json=body | {"args": [0]}, headers=headers)

    assert {each.json()["id"] for each in answers} == {workflow_id}
    assert sorted(each.json()["created"] for each in answers) == [False] * 7 + [True]
    assert CALLS.count((marker, 0)) == 1
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")


async def test_without_id_and_key_each_start_is_its_own(call: Documented) -> None:
    answers = [await call("POST", "/v1/workflows/add", json={"args": [1]}) for _ in "ab"]

    assert answers[0].json()["id"] != answers[1].json()["id"]


async def test_the_same_key_of_another_function_is_another_workflow(call: Documented) -> None:
    headers = {"idempotency-key": uuid4().hex}

    one = await call("POST", "/v1/workflows/add", json={"args": [1]}, headers=headers)
    two = await call("POST", "/v1/workflows/refuse", headers=headers)

    assert one.json()["id"] != two.json()["id"]


async def test_target_and_delay_are_kept_with_the_promise(system: System, call: Documented) -> None:
    workflow_id = uuid4().hex
    body = {"id": workflow_id, "target": "no where", "delayMs": 3_600_000, "timeoutMs": 7_200_000}

    await call("POST", "/v1/workflows/add", json=body)

    promise = await system.resonate.promises.get(workflow_id)
    assert promise.tags["resonate:target"] == "poll://any@no%20where"
    assert int(promise.tags["resonate:delay"]) - promise.created_at_ms > 3_500_000
    assert promise.timeout_at_ms - promise.created_at_ms <= 7_200_000


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"id": 1}, "invalid_body"),
        ({"id": ""}, "invalid_body"),
        ({"id": "a\0"}, "invalid_text"),
        ({"id": "a.1"}, "invalid_body"),
        ({"args": {}}, "invalid_body"),
        ({"args": "a"}, "invalid_body"),
        ({"kwargs": []}, "invalid_body"),
        ({"target": 1}, "invalid_body"),
        ({"target": ""}, "invalid_body"),
        ({"target": "a: b"}, "invalid_address"),
        ({"timeoutMs": 0}, "invalid_body"),
        ({"timeoutMs": 10**30}, "invalid_body"),
        ({"delayMs": -1}, "invalid_body"),
        ({"delayMs": 1e300}, "invalid_body"),
        ({"delay": 1}, "invalid_body"),
    ],
)
async def test_a_wrong_field_is_refused_and_nothing_is_started(
    system: System, call: Documented, change: dict[str, Any], code: str
) -> None:
    workflow_id = uuid4().hex

    answer = await call("POST", "/v1/workflows/add", json={"id": workflow_id} | change)

    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert await is_absent(system, workflow_id)


@pytest.mark.parametrize(
    ("url", "headers", "code"),
    [
        ("/v1/workflows/add?wait=x", {}, "invalid_wait"),
        ("/v1/workflows/add?wait=-1", {}, "invalid_wait"),
        ("/v1/workflows/add?wait=1e9", {}, "invalid_wait"),
        ("/v1/workflows/add?wait=nan", {}, "invalid_wait"),
        ("/v1/workflows/%00", {}, "invalid_name"),
        ("/v1/workflows/%FF", {}, "invalid_name"),
        ("/v1/workflows/" + "x" * 257, {}, "invalid_name"),
        ("/v1/workflows/add", {"idempotency-key": "a b"}, "invalid_idempotency_key"),
        ("/v1/workflows/add", {"idempotency-key": "x" * 256}, "invalid_idempotency_key"),
    ],
)
async def test_a_wrong_name_wait_or_key_is_refused(
    call: Documented, url: str, headers: dict[str, str], code: str
) -> None:
    answer = await call("POST", url, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_an_id_and_a_key_together_are_refused(call: Documented) -> None:
    headers = {"idempotency-key": "k"}

    answer = await call("POST", "/v1/workflows/add", json={"id": "both"}, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_body")


async def test_what_is_no_workflow_of_that_function_is_not_found(
    system: System, call: Documented
) -> None:
    plain = uuid4().hex
    await system.resonate.promises.create(plain, data={"func": 1})
    started = await call("POST", "/v1/workflows/add", json={"args": [1]})

    for url in (
        f"/v1/workflows/add/{plain}",
        f"/v1/workflows/refuse/{started.json()['id']}",
        "/v1/workflows/add/nothing?wait=1",
        "/v1/workflows/add/%FF",
    ):
        answer = await call("GET", url)
        assert (answer.status_code, answer.json()["code"]) == (404, "promise_not_found")


async def test_an_id_that_a_plain_promise_has_starts_nothing(
    system: System, call: Documented
) -> None:
    plain = uuid4().hex
    await system.resonate.promises.create(plain, data=1)

    answer = await call("POST", "/v1/workflows/add", json={"id": plain})

    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_conflict")
