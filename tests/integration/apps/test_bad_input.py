"""Bad input to every route, through real processes: the documented answer, and an unchanged store.

Nobody works here, so that what is stored is what requests have stored. Whatever a request of a
table below does, all promises and schedules are read before and after it.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest

from tests.integration.apps.processes import PORT_0, SECONDS_MAX, Process
from tests.integration.apps.test_openapi import LISTED, Listed, request_of_examples

LARGEST = 2**53 - 1
ITEM = {"sku": "mug", "qty": 1, "price": 5}
ORDER = {"id": "never", "items": [ITEM], "customer": {"id": "c"}}
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Start a store and a gateway; yield a client of the gateway."""
    directory = tmp_path_factory.mktemp("input")
    with ExitStack() as stack:

        def start(service: str, **settings: str) -> Process:
            process = Process(service, directory, **settings)
            stack.callback(process.kill)
            asyncio.run(process.ready())
            return process

        database = f"sqlite:///{directory}/store.db"
        store = start("store", LISTEN=PORT_0, DATABASE_URL=database)
        store_url = f"grpc://{asyncio.run(store.logged('store_listening'))['address']}"
        listens = {"LISTEN": PORT_0, "BRIDGE_LISTEN": PORT_0}
        gateway = start("gateway", STORE_URL=store_url, **listens)
        address = asyncio.run(gateway.logged("gateway_started"))["address"]
        with httpx.Client(base_url=f"http://{address}", timeout=SECONDS_MAX) as http:
            yield http


def stored(http: httpx.Client) -> list[dict[str, Any]]:
    """Read all schedules and all promises as they are."""
    found: list[dict[str, Any]] = http.get("/v1/schedules?limit=100").json()["schedules"]
    cursor: dict[str, str] = {}
    while True:
        page = http.get("/v1/promises", params={"limit": 1_000, **cursor}).json()
        found += page["promises"]
        if "cursor" not in page:
            return found
        cursor = {"cursor": page["cursor"]}


@dataclass(frozen=True, slots=True)
class Bad:
    """A request that must change nothing, its answer, and what the answer must name."""

    path: str
    body: object
    names: str = ""
    status: int = 400
    code: str = "invalid_body"


WRONG: list[Bad] = [
    # orders
    Bad("/orders", {}, "Missing required order fields", code=""),
    Bad("/orders", {**ORDER, "items": []}, "Missing required order fields", code=""),
    Bad("/orders", {**ORDER, "id": 7}, "$.id"),
    Bad("/orders", {**ORDER, "id": "x" * 257}, "$.id"),
    Bad("/orders", {**ORDER, "id": "a.1"}, "a dot and a number"),
    Bad("/orders", {**ORDER, "items": [{**ITEM, "qty": "1"}]}, "$.items[0].qty"),
    Bad("/orders", {**ORDER, "items": [{**ITEM, "price": LARGEST + 1}]}, "$.items[0].price"),
    Bad("/orders", {**ORDER, "items": [{**ITEM, "price": 10**40}]}, "$.items[0].price"),
    Bad("/orders", {**ORDER, "items": [{**ITEM, "qty": 2, "price": LARGEST}]}, "total"),
    Bad("/orders", {**ORDER, "customer": []}, "$.customer"),
    # reports
    Bad("/api/reports", {"type": "weather"}, "$.type"),
    Bad("/api/reports", {"period": 2025}, "$.period"),
    Bad("/api/reports", [], "object"),
    Bad("/reports", {"type": None}, "$.type"),
    # async API: the answer of the original, whose error says what failed
    Bad("/begin?id=order/x", {}, "must not begin with"),
    Bad("/begin?id=" + "x" * 1_025, {}, "1024", code="invalid_text"),
    Bad("/begin?id=a%00b", {}, "NUL", code="invalid_text"),
    # shop
    Bad("/buy/never", {"itemId": 7}, "$.itemId"),
    Bad("/buy/never", {"itemId": ""}, "$.itemId"),
    Bad("/buy/never", {"itemId": "x" * 257}, "$.itemId"),
    Bad("/buy/never", "widget", "object"),
    Bad("/buy/never.0", {}, "a dot and a number"),
    Bad("/buy/" + "x" * 257, {}, "256"),
    # jobs
    Bad("/jobs", {}, "accountId"),
    Bad("/jobs", {"accountId": ["acct-1"]}, "$.accountId"),
    Bad("/jobs", {"accountId": "x" * 257}, "$.accountId"),
    Bad("/jobs", {"accountId": "a", "approvalTimeoutMs": 10**30}, "$.approvalTimeoutMs"),
    Bad("/jobs", {"accountId": "a", "approvalTimeoutMs": -1}, "$.approvalTimeoutMs"),
    Bad("/jobs/aggregate", {"accountIds": []}, "$.accountIds"),
    Bad("/jobs/aggregate", {"accountIds": ["a"] * 1_001}, "$.accountIds"),
    Bad("/webhooks/approval", {"promiseId": "approve/x", "approved": 1}, "$.approved"),
    Bad("/webhooks/approval", {"approved": True}, "promiseId"),
    Bad("/webhooks/parcels", {"promiseId": "x"}, "data"),
    Bad(
        "/webhooks/approval",
        {"promiseId": "nobody", "approved": True},
        "nobody",
        404,
        "promise_not_found",
    ),
    # workflows
    Bad("/v1/workflows/never", {"id": ""}, "$.id"),
    Bad("/v1/workflows/never", {"id": "a.7"}, "a dot and a number"),
    Bad("/v1/workflows/never", {"id": "x" * 1_025}, "1024", code="invalid_text"),
    Bad("/v1/workflows/never", {"args": {}}, "$.args"),
    Bad("/v1/workflows/never", {"kwargs": []}, "$.kwargs"),
    Bad("/v1/workflows/never", {"timeoutMs": 0}, "$.timeoutMs"),
    Bad("/v1/workflows/never", {"timeoutMs": 10**30}, "$.timeoutMs"),
    Bad("/v1/workflows/never", {"delayMs": "soon"}, "$.delayMs"),
    Bad("/v1/workflows/never", {"target": 7}, "$.target"),
    Bad("/v1/workflows/never", {"argz": []}, "argz"),
    Bad("/v1/workflows/a%00b", {}, "NUL", code="invalid_name"),
    Bad("/v1/workflows/" + "x" * 257, {}, "256", code="invalid_name"),
    # promises
    Bad("/v1/promises", {}, "id"),
    Bad("/v1/promises", {"id": 7}, "$.id"),
    Bad("/v1/promises", {"id": ""}, "id", code="invalid_text"),
    Bad("/v1/promises", {"id": "a\0b"}, "NUL", code="invalid_text"),
    Bad("/v1/promises", {"id": "é" * 513}, "1024", code="invalid_text"),
    Bad("/v1/promises", {"id": "never", "timeoutMs": -1}, "$.timeoutMs"),
    Bad("/v1/promises", {"id": "never", "timeoutAtMs": LARGEST + 1}, "$.timeoutAtMs"),
    Bad("/v1/promises", {"id": "never", "timeoutAtMs": 1.5}, "$.timeoutAtMs"),
    Bad("/v1/promises", {"id": "never", "tags": {"a": 1}}, "$.tags"),
    Bad("/v1/promises", {"id": "never", "tags": {str(n): "" for n in range(65)}}, "64", code=""),
    Bad("/v1/promises", {"id": "never", "timeoutMs": 1, "timeoutAtMs": 1}, "not both"),
    Bad("/v1/promises", {"id": "never", "state": "resolved"}, "state"),
    *(
        Bad(f"/v1/promises/nobody/{action}", body, names, status, code)
        for action in ("resolve", "reject", "cancel")
        for body, names, status, code in (
            ({"value": 1}, "nobody", 404, "promise_not_found"),
            ({"valu": 1}, "valu", 400, "invalid_body"),
            ([], "object", 400, "invalid_body"),
        )
    ),
    # schedules
    Bad("/v1/schedules", {"id": "never"}, "cron"),
    Bad("/v1/schedules", {"cron": "0 3 * * *"}, "id"),
    Bad("/v1/schedules", {"id": "never", "cron": "at three"}, "cron", code=""),
    Bad("/v1/schedules", {"id": "never", "cron": 7}, "$.cron"),
    Bad("/v1/schedules", {"id": "x" * 1_025, "cron": "0 3 * * *"}, "1024", code=""),
    # tasks
    Bad("/v1/tasks/nobody/halt", {"reason": 7}, "$.reason"),
    Bad("/v1/tasks/nobody/halt", {"reason": "x"}, "nobody", 404, "task_not_found"),
    Bad("/v1/tasks/nobody/continue", None, "nobody", 404, "task_not_found"),
]


@pytest.mark.parametrize(
    "bad", [pytest.param(bad, id=f"{n}-{bad.path:.30}") for n, bad in enumerate(WRONG)]
)
def test_what_does_not_fit_is_named_and_changes_nothing(http: httpx.Client, bad: Bad) -> None:
    before = stored(http)

    answer = http.post(bad.path, json=bad.body)

    assert stored(http) == before
    assert answer.status_code == bad.status
    assert bad.names in answer.text
    if bad.code:
        assert answer.json()["code"] == bad.code


POSTS = [listed for listed in LISTED if "requestBody" in listed[2]]
NOT_JSON = [
    b"{",
    b"{}{}",
    b"{'id': 1}",
    b'{"a":NaN}',
    b"\xff\xfe",
    b"[" * 50_000,
    b'{"a":"\\ud800"}',
]
each_post = pytest.mark.parametrize(
    "listed", [pytest.param(each, id=f"{each[0]} {each[1]}") for each in POSTS]
)


@each_post
@pytest.mark.parametrize("body", NOT_JSON)
def test_a_body_that_is_no_json_changes_nothing(
    http: httpx.Client, listed: Listed, body: bytes
) -> None:
    before = stored(http)

    answer = _send(http, listed, body, JSON)

    assert stored(http) == before
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")


@each_post
def test_a_body_of_another_kind_changes_nothing(http: httpx.Client, listed: Listed) -> None:
    before = stored(http)

    answers = [
        _send(http, listed, b'{"id":"never"}', {"content-type": kind})
        for kind in ("text/plain", "application/xml", "")
    ]

    assert stored(http) == before
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {
        (415, "unsupported_media_type")
    }


@each_post
def test_a_body_above_the_limit_changes_nothing(http: httpx.Client, listed: Listed) -> None:
    before = stored(http)

    answer = _send(http, listed, b" " * (1_024 * 1_024 + 1), JSON)

    assert stored(http) == before
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def _send(
    http: httpx.Client, listed: Listed, body: bytes, headers: dict[str, str]
) -> httpx.Response:
    """Send a body to the place of the examples."""
    request = {**request_of_examples(listed), "content": body, "headers": headers}
    request.pop("json")
    return http.request(**request)


UNKNOWN = [
    "nobody",
    "café ☕",
    "a/b",
    "../../etc/passwd",
    "a?b#c",
    "%2F",
    "-",
    "x" * 2_000,
    "a\0b",
    " ",
]
PLACES = [
    "/orders/{}/status",
    "/api/status/{}",
    "/reports/{}",
    "/wait?id={}",
    "/status/{}",
    "/jobs/{}",
    "/v1/promises/{}",
    "/v1/tasks/{}",
    "/v1/workflows/foo/{}",
    "/v1/workflows/foo/{}/events",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("unknown", UNKNOWN)
def test_an_unknown_id_is_not_found_whatever_it_looks_like(
    http: httpx.Client, place: str, unknown: str
) -> None:
    before = stored(http)

    answer = http.get(
        httpx.URL(str(http.base_url).rstrip("/") + place.format(quote(unknown, safe="")))
    )

    assert stored(http) == before
    # What cannot be an id at all may be said to be none.
    cannot_be = "\0" in unknown or len(unknown) > 1_000
    assert answer.status_code in ({400, 404} if cannot_be else {404})
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("key", ["nobody", "café ☕", "a/b", "x" * 2_000, "a\0b", "x.0"])
def test_a_cancellation_of_an_unknown_purchase_stores_nothing(http: httpx.Client, key: str) -> None:
    before = stored(http)

    answer = http.post(f"/cancel/{quote(key, safe='')}")

    assert stored(http) == before
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@dataclass(frozen=True, slots=True)
class Twice:
    """Two requests with one id and other bodies: the answer to the second one."""

    path: str
    first: object
    second: object
    status: int
    code: str = ""


TWICE = [
    Twice("/orders", ORDER, {**ORDER, "items": [{**ITEM, "qty": 9}]}, 202),
    Twice("/begin?id={}", {"n": 1}, {"n": 2}, 200),
    Twice("/buy/{}", {"itemId": "a"}, {"itemId": "b"}, 200),
    Twice("/v1/workflows/foo", {"args": [1]}, {"args": [2]}, 409, "idempotency_conflict"),
    Twice("/v1/promises", {"data": 1, "tags": {"a": "1"}}, {"data": 2, "tags": {"a": "2"}}, 200),
    Twice("/v1/schedules", {"cron": "0 3 * * *"}, {"cron": "0 4 * * *"}, 200),
    Twice("/jobs", {"accountId": "a"}, {"accountId": "b"}, 409, "idempotency_conflict"),
    Twice(
        "/jobs/aggregate", {"accountIds": ["a"]}, {"accountIds": ["b"]}, 409, "idempotency_conflict"
    ),
]

NAMED_IN_BODY = {"/orders", "/v1/workflows/foo", "/v1/promises", "/v1/schedules"}


@pytest.mark.parametrize("twice", TWICE, ids=lambda twice: str(twice.path))
def test_an_id_that_is_in_use_keeps_its_first_body(http: httpx.Client, twice: Twice) -> None:
    unique = f"twice/{uuid4().hex} ☕"
    path = twice.path.format(quote(unique, safe=""))

    def send(body: Any) -> httpx.Response:
        # Jobs take their id from a key; where the id is in the path, a member more does no harm.
        headers = {"Idempotency-Key": quote(unique)} if path.startswith("/jobs") else {}
        named = {"id": unique} if path in NAMED_IN_BODY else {}
        return http.post(path, content=json.dumps({**body, **named}), headers={**JSON, **headers})

    first = send(twice.first)
    before = stored(http)
    second = send(twice.second)

    assert first.is_success
    assert len(before) > 0
    assert stored(http) == before
    assert second.status_code == twice.status
    if twice.code:
        assert second.json()["code"] == twice.code


def test_every_route_that_starts_something_is_in_a_table() -> None:
    posts = {path.replace("{key}", "{}").replace("{name}", "foo") for _, path, _ in POSTS}
    starts = {path for path in posts if not path.endswith(("resolve", "reject", "cancel", "halt"))}
    starts -= {"/api/reports", "/webhooks/{service}"}  # these know no id that could come twice

    assert starts == {twice.path.partition("?")[0] for twice in TWICE}
