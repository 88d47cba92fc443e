"""`/v1/promises`: create, read, list and settle, and what a wrong request is answered."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
import pytest_asyncio

from holdfast import PromiseNotFound
from holdfast_gateway.app import create_app
from holdfast_gateway.settings import GatewaySettings
from tests.integration.apps.documented import Documented
from tests.integration.apps.embedded import System, client_of
from tests.integration.apps.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = {"content-type": "application/json"}
INTEGER_MAX = 2**53 - 1
IDS = (
    "plain",
    "a/b",
    "/",
    "//a",
    "ä ö",
    "😀",
    "a%2Fb",
    "?",
    "#",
    "&=+",
    "-",
    "..",
    '"',
    "a\nb",
    "\\",
)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    async with System(tmp_path_factory.mktemp("system"), World()) as system:
        yield system


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def call(system: System) -> Documented:
    return await Documented.by(system.http)


def path(promise_id: str, action: str = "") -> str:
    return f"/v1/promises/{quote(promise_id, safe='')}{action}"


async def is_absent(system: System, promise_id: str) -> bool:
    try:
        await system.resonate.promises.get(promise_id)
    except PromiseNotFound:
        return True
    return False


@pytest.mark.parametrize("name", IDS)
async def test_a_promise_is_created_read_and_resolved_under_any_id(
    call: Documented, name: str
) -> None:
    promise_id = f"{name}{uuid4().hex}{name}"
    new = {"id": promise_id, "data": {"n": 1}, "tags": {"team": "x"}, "timeoutAtMs": INTEGER_MAX}

    made = await call("POST", "/v1/promises", json=new)
    read = await call("GET", made.headers["location"])
    in_query = await call("GET", f"/v1/promises/-?id={quote(promise_id, safe='')}")
    settled = await call("POST", path(promise_id, "/resolve"), json={"value": ["ä", None, 1.5]})

    assert made.status_code == 201
    assert made.json() == read.json() == in_query.json()
    assert made.json()["id"] == promise_id
    assert made.json()["param"] == {"data": {"n": 1}}
    assert made.json()["value"] == {}
    assert made.json()["timeoutAtMs"] == INTEGER_MAX
    assert made.json()["tags"] == {"team": "x", "resonate:external": "true"}
    assert settled.json()["state"] == "resolved"
    assert settled.json()["value"] == {"data": ["ä", None, 1.5]}


async def test_an_id_that_is_a_minus_is_an_id(call: Documented) -> None:
    await call("POST", "/v1/promises", json={"id": "-"})

    assert (await call("GET", "/v1/promises/-")).json()["id"] == "-"


@pytest.mark.parametrize(
    ("action", "state"),
    [("resolve", "resolved"), ("reject", "rejected"), ("cancel", "rejected_canceled")],
)
async def test_the_first_settlement_stays(call: Documented, action: str, state: str) -> None:
    promise_id = uuid4().hex
    await call("POST", "/v1/promises", json={"id": promise_id})

    first = await call("POST", path(promise_id, f"/{action}"), json={"value": "first"})
    others = [
        await call("POST", path(promise_id, f"/{other}"), json={"value": other})
        for other in ("resolve", "reject", "cancel")
    ]

    assert first.json()["state"] == state
    assert first.json()["value"] == {"data": "first"}
    assert [other.json() for other in others] == [first.json()] * 3


async def test_a_settlement_needs_no_body(call: Documented) -> None:
    promise_id = uuid4().hex
    await call("POST", "/v1/promises", json={"id": promise_id})

    settled = await call("POST", path(promise_id, "/resolve"))

    assert (settled.json()["state"], settled.json()["value"]) == ("resolved", {})


async def test_the_same_id_again_is_the_same_promise_whatever_the_body(call: Documented) -> None:
    promise_id = uuid4().hex
    made = await call("POST", "/v1/promises", json={"id": promise_id, "data": 1})

    again = await asyncio.gather(
        *(
            call("POST", "/v1/promises", json={"id": promise_id, "data": n, "timeoutMs": n})
            for n in range(5)
        )
    )

    assert {answer.status_code for answer in again} == {200}
    assert all(answer.json() == made.json() for answer in again)


async def test_a_passed_deadline_is_told_at_once(call: Documented) -> None:
    made = await call("POST", "/v1/promises", json={"id": uuid4().hex, "timeoutAtMs": 0})

    assert made.status_code == 201
    assert made.json()["state"] == "rejected_timedout"


async def test_whoever_awaits_a_promise_gets_what_rest_settled_it_with(
    system: System, call: Documented
) -> None:
    promise_id = uuid4().hex
    await system.resonate.promises.create(promise_id)

    await call("POST", path(promise_id, "/resolve"), json={"value": {"ok": [1, "ä"]}})

    assert await (await system.resonate.get(promise_id)).result() == {"ok": [1, "ä"]}


async def test_what_is_not_json_inside_is_shown_as_text(system: System, call: Documented) -> None:
    promise_id = uuid4().hex
    await system.resonate.promises.create(promise_id, data="?", raw=True)

    assert (await call("GET", path(promise_id))).json()["param"] == {"text": "?"}


async def test_promises_are_listed_page_by_page(call: Documented) -> None:
    team = f"{uuid4().hex}=&ä/"
    ids = sorted((f"{n}/{uuid4().hex}" for n in range(5)), key=str.encode)
    for each in ids:
        await call("POST", "/v1/promises", json={"id": each, "tags": {"team": team, "odd": "1"}})
    await call("POST", path(ids[0], "/resolve"))
    where = f"/v1/promises?tag=team%3D{quote(team, safe='')}&tag=odd=1"

    first = (await call("GET", f"{where}&limit=3")).json()
    second = (await call("GET", f"{where}&limit=3&cursor={quote(first['cursor'], safe='')}")).json()
    pending = (await call("GET", f"{where}&state=pending")).json()
    none = (await call("GET", f"{where}&tag=even=1")).json()

    assert [each["id"] for each in first["promises"]] == ids[:3]
    assert [each["id"] for each in second["promises"]] == ids[3:]
    assert [each["id"] for each in pending["promises"]] == ids[1:]
    assert none == {"promises": []}
    assert "cursor" not in second


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("state=done", "invalid_state"),
        ("state=", "invalid_state"),
        ("limit=0", "out_of_range"),
        ("limit=1001", "out_of_range"),
        ("limit=-1", "out_of_range"),
        ("limit=1.5", "out_of_range"),
        ("limit=" + "9" * 5_000, "out_of_range"),
        ("limit=%D9%A3", "out_of_range"),
        ("tag=a", "invalid_tag"),
        ("tag=a=1&tag=a=2", "invalid_tag"),
        ("tag=a=%00", "invalid_text"),
        ("&".join(f"tag=t{n}=1" for n in range(65)), "too_many_tags"),
    ],
)
async def test_a_wrong_filter_is_refused(call: Documented, query: str, code: str) -> None:
    answer = await call("GET", f"/v1/promises?{query}")

    assert (answer.status_code, answer.json()["code"]) == (400, code)


@pytest.mark.parametrize(
    "query", ["cursor=%00", "cursor=%FF", "cursor=" + "x" * 3_000, "unknown=1"]
)
async def test_any_text_is_a_cursor(call: Documented, query: str) -> None:
    assert (await call("GET", f"/v1/promises?{query}")).status_code == 200


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"id": None}, 400, "invalid_body"),
        ({"id": 7}, 400, "invalid_body"),
        ({"id": ""}, 400, "invalid_text"),
        ({"id": "a\0b"}, 400, "invalid_text"),
        ({"id": "x" * 1025}, 400, "invalid_text"),
        ({"timeoutMs": -1}, 400, "invalid_body"),
        ({"timeoutMs": "1"}, 400, "invalid_body"),
        ({"timeoutMs": 1e300}, 400, "invalid_body"),
        ({"timeoutMs": INTEGER_MAX}, 400, "invalid_body"),
        ({"timeoutAtMs": INTEGER_MAX + 1}, 400, "invalid_body"),
        ({"timeoutAtMs": 10**30}, 400, "invalid_body"),
        ({"timeoutMs": 1, "timeoutAtMs": 1}, 400, "invalid_body"),
        ({"tags": []}, 400, "invalid_body"),
        ({"tags": {"a": 1}}, 400, "invalid_body"),
        ({"tags": {"a": None}}, 400, "invalid_body"),
        ({"tags": {"a": "\0"}}, 400, "invalid_text"),
        ({"tags": {f"t{n}": "" for n in range(65)}}, 400, "too_many_tags"),
        ({"tags": {"a": "x" * 70_000}}, 400, "tags_too_large"),
        ({"tags": {"resonate:target": "no address"}}, 400, "invalid_address"),
        ({"timeout": 5}, 400, "invalid_body"),
        ({"data": "x" * 1_000_000}, 413, "value_too_large"),
        ({"data": "x" * 1_100_000}, 413, "body_too_large"),
    ],
)
async def test_a_wrong_field_is_refused_and_nothing_is_made(
    system: System, call: Documented, change: dict[str, Any], status: int, code: str
) -> None:
    promise_id = uuid4().hex
    body = {key: v for key, v in ({"id": promise_id} | change).items() if v is not None}

    answer = await call("POST", "/v1/promises", json=body)

    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert await is_absent(system, promise_id)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "invalid_body"),
        (b"null", "invalid_body"),
        (b"[]", "invalid_body"),
        (b'"a"', "invalid_body"),
        (b"{", "malformed_json"),
        (b"\xff", "malformed_json"),
        (b'{"id":"\\ud800"}', "malformed_json"),
        (b"[" * 100_000, "malformed_json"),
    ],
)
async def test_what_is_no_promise_is_refused(call: Documented, content: bytes, code: str) -> None:
    answer = await call("POST", "/v1/promises", content=content, headers=JSON)

    assert (answer.status_code, answer.json()["code"]) == (400, code)


@pytest.mark.parametrize("action", ["resolve", "reject", "cancel"])
@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"[]", JSON, 400, "invalid_body"),
        (b'{"values":1}', JSON, 400, "invalid_body"),
        (b"{", JSON, 400, "malformed_json"),
        (b"{}", {"content-type": "text/plain"}, 415, "unsupported_media_type"),
        (json.dumps({"value": "x" * 1_000_000}).encode(), JSON, 413, "value_too_large"),
    ],
)
async def test_a_wrong_settlement_settles_nothing(
    system: System,
    call: Documented,
    action: str,
    content: bytes,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    promise_id = uuid4().hex
    await system.resonate.promises.create(promise_id)

    answer = await call("POST", path(promise_id, f"/{action}"), content=content, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (await system.resonate.promises.get(promise_id)).is_pending


@pytest.mark.parametrize("promise_id", ["%FF", "nothing", "a%2Fb%2Fnothing", "-"])
@pytest.mark.parametrize("action", ["", "/resolve", "/reject", "/cancel"])
async def test_an_unknown_id_is_not_found(call: Documented, promise_id: str, action: str) -> None:
    query = "?id=nothing" if promise_id == "-" else ""
    method = "POST" if action else "GET"

    answer = await call(method, f"/v1/promises/{promise_id}{action}{query}")

    assert (answer.status_code, answer.json()["code"]) == (404, "promise_not_found")


@pytest.mark.parametrize(
    ("where", "code"),
    [
        ("%00", "invalid_text"),
        ("x" * 1025, "invalid_text"),
        ("-?id=", "invalid_text"),
        ("-?id=a&id=b", "invalid_id"),
    ],
)
async def test_what_is_no_id_is_refused(call: Documented, where: str, code: str) -> None:
    answer = await call("GET", f"/v1/promises/{where}")

    assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_where_webhooks_are_signed_nobody_settles_promises_unsigned(system: System) -> None:
    settings = GatewaySettings(webhook_secrets=(b"s" * 32,))
    await system.resonate.promises.create("approve/one")

    async with client_of(create_app(settings, system.resonate)) as http:
        answer = await http.post("/v1/promises/approve%2Fone/resolve")

    assert (answer.status_code, answer.json()["code"]) == (404, "route_not_found")
    assert (await system.resonate.promises.get("approve/one")).is_pending
