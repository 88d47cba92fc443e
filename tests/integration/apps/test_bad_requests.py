"""Bad input over HTTP: the documented answer, and nothing started."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from holdfast import Resonate
from holdfast_gateway.app import create_app
from holdfast_gateway.settings import GatewaySettings
from tests.integration.apps.embedded import System
from tests.integration.apps.world import World

# Nothing is started here, so that all tests may share one system.
pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = {"content-type": "application/json"}
ITEM = {"sku": "mug", "qty": 1, "price": 100}
ORDER = {"id": "ord-1", "items": [ITEM], "customer": {"id": "c-1"}}
LARGEST = 2**53 - 1


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    async with System(tmp_path_factory.mktemp("system"), World()) as system:
        yield system


@pytest.fixture
def world(system: System) -> World:
    return system.world


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that an answer is a problem document of this kind; return it."""
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["status"], body["code"]) == (status, status, code)
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.headers["x-request-id"] == body["requestId"]
    assert body["title"]
    assert body["detail"]
    assert "Traceback" not in answer.text
    return body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{}",
        b"null",
        b"[]",
        b'"ord-1"',
        b'{"id":"","items":[{}],"customer":{}}',
        b'{"id":"a","items":[{}]}',
        b'{"id":"a","customer":{}}',
        b'{"id":"a","items":[],"customer":{}}',
        b'{"items":[{}],"customer":{}}',
    ],
)
async def test_an_order_without_required_fields_gets_the_documented_answer(
    system: System, world: World, body: bytes
) -> None:
    answer = await system.http.post("/orders", content=body, headers=JSON)

    assert answer.status_code == 400
    assert answer.json() == {"error": "Missing required order fields"}
    assert world.entries == []


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"id": 7}, "$.id"),
        ({"id": "x" * 257}, "$.id"),
        ({"id": ["a"]}, "$.id"),
        ({"items": "abc"}, "$.items"),
        ({"items": [7]}, "$.items[0]"),
        ({"items": [{"qty": 1, "price": 1}]}, "$.items[0]"),
        ({"items": [{**ITEM, "qty": "1"}]}, "$.items[0].qty"),
        ({"items": [{**ITEM, "qty": 0}]}, "$.items[0].qty"),
        ({"items": [{**ITEM, "qty": True}]}, "$.items[0].qty"),
        ({"items": [ITEM, {**ITEM, "price": -1}]}, "$.items[1].price"),
        ({"items": [{**ITEM, "price": 1.5}]}, "$.items[0].price"),
        ({"items": [{**ITEM, "price": LARGEST + 1}]}, "$.items[0].price"),
        ({"items": [{**ITEM, "price": 10**30}]}, "$.items[0].price"),
        ({"items": [{**ITEM, "price": LARGEST, "qty": 2}]}, "total"),
        ({"items": [ITEM] * 1001}, "$.items"),
        ({"customer": "Ada"}, "$.customer"),
        ({"customer": {"id": 7}}, "$.customer.id"),
        ({"id": "a\0b"}, "NUL"),
        ({"id": ".."}, "relative"),
        ({"id": "ord.7"}, "a dot and a number"),
    ],
)
async def test_an_order_that_does_not_fit_names_the_field(
    system: System, world: World, change: dict[str, object], where: str
) -> None:
    answer = await system.http.post("/orders", json={**ORDER, **change})

    body = problem(answer, 400, "invalid_body")
    assert where in body["detail"]
    assert body["error"] == body["detail"]  # where clients of the original look
    assert world.entries == []


@pytest.mark.parametrize("path", ["/orders", "/jobs", "/jobs/aggregate", "/webhooks/approval"])
@pytest.mark.parametrize(
    "body",
    [b"{", b"{'id': 1}", b'{"a":NaN}', b"\xff\xfe", b'{"a":"\\ud800"}', b"[" * 50_000, b"{}{}"],
)
async def test_malformed_json_is_a_problem(system: System, path: str, body: bytes) -> None:
    answer = await system.http.post(path, content=body, headers=JSON)

    problem(answer, 400, "malformed_json")


@pytest.mark.parametrize("path", ["/orders", "/jobs", "/jobs/aggregate", "/webhooks/approval"])
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
async def test_another_content_type_is_refused(system: System, path: str, kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}

    answer = await system.http.post(path, content=b'{"id":"a"}', headers=headers)

    problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("path", ["/orders", "/jobs", "/jobs/aggregate", "/webhooks/approval"])
async def test_a_body_above_the_limit_is_refused(system: System, path: str) -> None:
    answer = await system.http.post(path, content=b" " * (1024 * 1024 + 1), headers=JSON)

    problem(answer, 413, "body_too_large")


async def test_a_body_of_unknown_length_is_cut_at_the_limit(system: System) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(32):
            yield b" " * 65_536

    answer = await system.http.post("/jobs", content=endless(), headers=JSON)

    problem(answer, 413, "body_too_large")


async def test_a_body_that_becomes_too_large_a_value_is_refused(system: System) -> None:
    """Below the limit of bodies, above that of values: base64 adds a third."""
    answer = await system.http.post("/jobs", json={"accountId": "acct-1", "note": "x" * 900_000})

    problem(answer, 413, "value_too_large")


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"", "object"),
        (b"[]", "object"),
        (b"7", "object"),
        (b"{}", "accountId"),
        (b'{"accountId":""}', "$.accountId"),
        (b'{"accountId":7}', "$.accountId"),
        (b'{"accountId":null}', "$.accountId"),
        (b'{"accountId":"a\\u0000b"}', "$.accountId"),
        (b'{"accountId":"a","approvalTimeoutMs":0}', "$.approvalTimeoutMs"),
        (b'{"accountId":"a","approvalTimeoutMs":1.5}', "$.approvalTimeoutMs"),
        (b'{"accountId":"a","approvalTimeoutMs":1e15}', "$.approvalTimeoutMs"),
    ],
)
async def test_a_job_that_does_not_fit_names_the_field(
    system: System, world: World, body: bytes, where: str
) -> None:
    answer = await system.http.post("/jobs", content=body, headers=JSON)

    assert where in problem(answer, 400, "invalid_body")["detail"]
    assert world.entries == []


@pytest.mark.parametrize(
    "account_ids", [None, "acct-1", [], [7], [""], ["a"] * 1001, {"a": 1}, ["a" * 257]]
)
async def test_an_aggregation_that_does_not_fit_names_the_field(
    system: System, world: World, account_ids: object
) -> None:
    answer = await system.http.post("/jobs/aggregate", json={"accountIds": account_ids})

    assert "$.accountIds" in problem(answer, 400, "invalid_body")["detail"]
    assert world.entries == []


@pytest.mark.parametrize(
    ("service", "body", "where"),
    [
        ("approval", {}, "promiseId"),
        ("approval", {"promiseId": "approve/x"}, "approved"),
        ("approval", {"promiseId": "approve/x", "approved": "yes"}, "$.approved"),
        ("approval", {"promiseId": "", "approved": True}, "$.promiseId"),
        ("approval", {"promiseId": 7, "approved": True}, "$.promiseId"),
        ("parcels", {"promiseId": "x"}, "data"),
        ("parcels", [], "object"),
    ],
)
async def test_a_webhook_that_does_not_fit_names_the_field(
    system: System, service: str, body: object, where: str
) -> None:
    answer = await system.http.post(f"/webhooks/{service}", json=body)

    assert where in problem(answer, 400, "invalid_body")["detail"]


async def test_an_id_that_the_store_refuses_is_a_problem(system: System) -> None:
    body = {"promiseId": "é" * 1000, "data": 1}

    answer = await system.http.post("/webhooks/parcels", json=body)

    problem(answer, 400, "invalid_text")


@pytest.mark.parametrize(
    ("content", "content_type", "status", "code"),
    [
        (b"type=weather", "application/x-www-form-urlencoded", 400, "invalid_body"),
        (b"period=", "application/x-www-form-urlencoded", 400, "invalid_body"),
        (b"type=sales&type=inventory", "application/x-www-form-urlencoded", 400, "invalid_body"),
        (b"type=%ff", "application/x-www-form-urlencoded", 400, "invalid_body"),
        (b'{"type":7}', "application/json", 400, "invalid_body"),
        (b"[]", "application/json", 400, "invalid_body"),
        (b"{", "application/json", 400, "malformed_json"),
        (b"x", "multipart/form-data", 400, "bad_request"),
        (b"x", "text/plain", 415, "unsupported_media_type"),
    ],
)
@pytest.mark.parametrize("path", ["/api/reports", "/reports"])
async def test_a_report_that_does_not_fit_is_not_begun(
    system: System,
    world: World,
    path: str,
    content: bytes,
    content_type: str,
    status: int,
    code: str,
) -> None:
    headers = {"content-type": content_type}

    answer = await system.http.post(path, content=content, headers=headers)

    problem(answer, status, code)
    assert world.entries == []


@pytest.mark.parametrize("wait", ["", "-1", "61", "nan", "soon"])
async def test_a_wait_out_of_range_is_refused(system: System, wait: str) -> None:
    answer = await system.http.get("/jobs/job/x", params={"wait": wait})

    problem(answer, 400, "invalid_wait")


@pytest.mark.parametrize("key", ["", "a b", "x" * 256])
async def test_a_bad_idempotency_key_is_refused(system: System, world: World, key: str) -> None:
    headers = {"Idempotency-Key": key}

    answer = await system.http.post("/jobs", json={"accountId": "acct-1"}, headers=headers)

    problem(answer, 400, "invalid_idempotency_key")
    assert world.entries == []


@pytest.mark.parametrize(
    "path", ["/nothing", "/orders/a/b/status", "/orders/a", "/%FF", "/schema/x", "//"]
)
async def test_an_unknown_path_is_a_problem(system: System, path: str) -> None:
    answer = await system.http.get(httpx.URL(f"http://gateway{path}"))

    if path == "//":  # the same as the root
        assert answer.status_code == 200
    else:
        problem(answer, 404, "route_not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/orders", "POST"),
        ("DELETE", "/jobs", "POST"),
        ("POST", "/orders/x/status", "GET"),
        ("PUT", "/webhooks/approval", "POST"),
    ],
)
async def test_another_method_is_a_problem_that_names_the_right_one(
    system: System, method: str, path: str, allowed: str
) -> None:
    answer = await system.http.request(method, path)

    problem(answer, 405, "method_not_allowed")
    assert allowed in answer.headers["allow"]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lost() -> AsyncIterator[httpx.AsyncClient]:
    """A gateway whose store is away."""
    resonate = Resonate("grpc://127.0.0.1:1", group="gateway", timeout=0.3, env={})
    app: Any = create_app(GatewaySettings(), resonate)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        await resonate.start()
        yield http
        await resonate.stop(0)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/orders", ORDER),
        ("GET", "/orders/ord-1/status", None),
        ("POST", "/jobs", {"accountId": "acct-1"}),
        ("POST", "/jobs/aggregate", {"accountIds": ["acct-1"]}),
        ("GET", "/jobs/job/00000000-0000-4000-8000-000000000000?wait=1", None),
        ("POST", "/webhooks/approval", {"promiseId": "approve/x", "approved": True}),
        ("POST", "/api/reports", {"type": "sales"}),
        ("GET", "/api/status/rpt_1", None),
        ("GET", "/reports/rpt_1.csv", None),
        ("GET", "/reports/progress/rpt_1", None),
        ("POST", "/begin?id=one", {"n": 1}),
        ("GET", "/wait?id=one", None),
        ("POST", "/buy/buy-1", {"itemId": "mug"}),
        ("POST", "/cancel/buy-1", None),
        ("GET", "/status/buy-1", None),
        ("GET", "/shop/progress/buy-1", None),
    ],
)
async def test_o10_a10_b12_and_r7b_without_a_store_nothing_is_accepted(
    lost: httpx.AsyncClient, method: str, path: str, body: object
) -> None:
    answer = await lost.request(method, path, json=body)

    assert problem(answer, 503, "server_unavailable")["detail"].startswith("The promise store")
    assert answer.headers["retry-after"] == "1"


async def test_bad_input_is_refused_even_without_a_store(lost: httpx.AsyncClient) -> None:
    answer = await lost.post("/jobs", json={"accountId": 7})

    problem(answer, 400, "invalid_body")
