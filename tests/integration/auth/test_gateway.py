"""REST where tokens are asked for: who may name what, what stays open, and how refusals look."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.apps.processes import PORT_0, Process, Start
from tests.integration.auth.conftest import starting
from tests.issuing import Issuer, ed25519_issuer


@pytest.fixture
async def store_url(start: Start, keys: Path) -> str:
    store = start("store", AUTH_KEYS=str(keys))
    await store.ready()
    return f"grpc://{(await store.logged('store_listening'))['address']}"


async def open_gateway(
    start: Start, store_url: str, token: Path, **settings: str
) -> tuple[Process, str]:
    way = {"STORE_URL": store_url, "STORE_TOKEN_FILE": str(token)}
    gateway = start("gateway", LISTEN=PORT_0, BRIDGE_LISTEN=PORT_0, **way | settings)
    await gateway.ready()
    return gateway, f"http://{(await gateway.logged('gateway_started'))['address']}"


@pytest.fixture
def token(tmp_path: Path, issuer: Issuer) -> Path:
    """Write the gateway's own token, which is for everything."""
    path = tmp_path / "token"
    path.write_text(issuer.token(prefix=""))
    return path


class Rest:
    """A client that says who it is."""

    def __init__(self, http: httpx.AsyncClient, issuer: Issuer) -> None:
        self._http = http
        self._issuer = issuer

    async def __call__(
        self, method: str, path: str, body: Any = None, **claims: Any
    ) -> httpx.Response:
        """Send a request with a token of these claims."""
        bearer = {"authorization": f"Bearer {self._issuer.token(**claims)}"}
        return await self._http.request(method, path, json=body, headers=bearer)


@dataclass
class Guarded:
    """A gateway that all tests may ask which change nothing about it."""

    url: str
    issuer: Issuer


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder, issuer = tmp_path_factory.mktemp("guarded"), ed25519_issuer()
    keys, token = folder / "keys.pem", folder / "token"
    keys.write_bytes(issuer.pem)
    token.write_text(issuer.token(prefix=""))
    with starting(folder) as start:
        store = start("store", AUTH_KEYS=str(keys))
        url = f"grpc://{asyncio.run(store.logged('store_listening'))['address']}"
        opened = open_gateway(start, url, token, AUTH_KEYS=str(keys))
        yield Guarded(asyncio.run(opened)[1], issuer)


@pytest.fixture
async def http(guarded: Guarded) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=guarded.url, timeout=30) as http:
        yield http


@pytest.fixture
def rest(http: httpx.AsyncClient, guarded: Guarded) -> Rest:
    return Rest(http, guarded.issuer)


PROMISE = {"id": "a/1", "timeoutMs": 3_600_000, "tags": {"resonate:external": "true"}}

NAMING = [
    ("POST", "/v1/promises", "body"),
    ("GET", "/v1/promises/{id}", None),
    ("POST", "/v1/promises/{id}/resolve", None),
    ("POST", "/v1/promises/{id}/reject", None),
    ("POST", "/v1/promises/{id}/cancel", None),
    ("GET", "/v1/tasks/{id}", None),
    ("POST", "/v1/tasks/{id}/halt", None),
    ("POST", "/v1/tasks/{id}/continue", None),
    ("POST", "/v1/workflows/foo", "body"),
    ("GET", "/v1/workflows/foo/{id}", None),
    ("GET", "/v1/workflows/foo/{id}/events", None),
    ("POST", "/v1/schedules", "body"),
    ("GET", "/v1/schedules/{id}", None),
    ("DELETE", "/v1/schedules/{id}", None),
    ("POST", "/v1/schedules/{id}/pause", None),
    ("POST", "/v1/schedules/{id}/resume", None),
    ("POST", "/v1/schedules/{id}/trigger", None),
]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/schedules": {"cron": "0 0 1 1 *", "data": 1, "target": "nobody"}
}
LISTINGS = [
    ("GET", "/v1/promises"),
    ("GET", "/v1/tasks"),
    ("GET", "/v1/schedules"),
]
WHOLE = [
    ("GET", "/v1/groups"),
    ("GET", "/v1/groups/workers"),
    ("GET", "/v1/groups/workers/members"),
]


def is_problem(answer: httpx.Response, status: int, challenge: str) -> bool:
    """Whether an answer is a refusal, complete as RFC 9457 and RFC 6750 want it."""
    body = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["requestId"] == answer.headers["x-request-id"]
    assert body["status"] == answer.status_code
    return answer.status_code == status and answer.headers["www-authenticate"] == challenge


async def test_without_a_valid_token_nothing_below_v1_answers(
    http: httpx.AsyncClient, rest: Rest
) -> None:
    for method, path in [(method, path) for method, path, _ in NAMING] + LISTINGS + WHOLE:
        where = path.format(id="a%2F1")
        missing = await http.request(method, where)
        expired = await rest(method, where, exp=time.time() - 60)
        unsigned = await http.request(method, where, headers={"authorization": "Bearer a.b.c"})

        assert is_problem(missing, 401, 'Bearer realm="holdfast"'), path
        assert missing.json()["code"] == "token_missing"
        for refused, code in ((expired, "token_expired"), (unsigned, "token_invalid")):
            assert is_problem(refused, 401, 'Bearer realm="holdfast", error="invalid_token"'), path
            assert refused.json()["code"] == code


async def test_every_way_of_writing_a_path_is_guarded(http: httpx.AsyncClient) -> None:
    for path in (
        "/v1/promises/a",
        "//v1/promises/a",
        "/v1//promises/a",
        "/v1/promises/a/",
        "/V1/x",
    ):
        answer = await http.get(path)

        assert answer.status_code in (401, 404), path
        assert answer.json()["code"] in ("token_missing", "route_not_found"), path


@pytest.mark.parametrize(("method", "path", "body"), NAMING)
async def test_a_token_covers_the_ids_that_a_route_names(
    rest: Rest, method: str, path: str, body: str | None
) -> None:
    async def ask(name: str, **claims: str) -> httpx.Response:
        where = path.format(id="-") + f"?id={name}" if "{id}" in path else path
        given = BODIES.get(path, {"id": name, "timeoutMs": 60_000}) if body else None
        given = given and given | {"id": name}
        return await rest(method, where, given, **claims)

    denied = await ask("b/1", prefix="a/")
    allowed = [await ask("a/1", prefix="a/"), await ask("b/1", role="admin")]

    assert is_problem(denied, 403, 'Bearer realm="holdfast", error="insufficient_scope"')
    assert denied.json()["code"] == "prefix_mismatch"
    assert {answer.status_code for answer in allowed} <= {200, 201, 202, 204, 404, 409}


@pytest.mark.parametrize(("method", "path"), WHOLE)
async def test_groups_need_a_token_for_everything(rest: Rest, method: str, path: str) -> None:
    denied = await rest(method, path, prefix="a/")
    nothing = await rest(method, path)
    allowed = [await rest(method, path, prefix=""), await rest(method, path, role="ADMIN")]

    for answer, code in ((denied, "prefix_not_empty"), (nothing, "prefix_missing")):
        assert is_problem(answer, 403, 'Bearer realm="holdfast", error="insufficient_scope"')
        assert answer.json()["code"] == code
    assert [answer.status_code for answer in allowed] == [200, 200]


@pytest.mark.parametrize(("method", "path"), LISTINGS)
async def test_a_listing_has_what_the_token_covers(rest: Rest, method: str, path: str) -> None:
    """Each page has one: those that the token does not cover take no place on any."""
    names = ["l/1", "l/2", "l/é/%2F", "m/1"]
    for name in names:
        target = {"resonate:target": "poll://any@nobody"}
        promise = {"id": name, "timeoutMs": 3_600_000, "tags": target}
        await rest("POST", "/v1/promises", promise, prefix="")
        await rest("POST", "/v1/schedules", BODIES["/v1/schedules"] | {"id": name}, prefix="")

    async def pages(**claims: str) -> list[str]:
        found: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            query = httpx.QueryParams({"limit": 1, "cursor": cursor})
            page = (await rest(method, f"{path}?{query}", **claims)).json()
            (records,) = [value for value in page.values() if isinstance(value, list)]
            assert len(records) == 1 or "cursor" not in page
            found += [each["id"] for each in records]
            cursor = page.get("cursor")
        return found

    nothing = await rest(method, path)

    assert nothing.json()["code"] == "prefix_missing"
    assert await pages(prefix="l/") == names[:3]
    assert await pages(prefix="l/é") == names[2:3]
    assert await pages(prefix="nowhere/") == []
    assert await pages(prefix="l/", role="Admin") == await pages(prefix="")


async def test_every_route_below_v1_is_asked_for_here(http: httpx.AsyncClient) -> None:
    """One that is added is guarded by where it is; what it names must be tested all the same."""
    document = (await http.get("/schema/openapi.json")).json()
    found = {
        (
            method.upper(),
            "/".join("{}" if part.startswith("{") else part for part in path.split("/")),
        )
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if operation.get("security") == [{"bearer": []}] and path.startswith("/v1/")
    }
    below = {
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method in item
        if path.startswith("/v1/")
    }
    named = {(method, path) for method, path, _ in NAMING} | {*LISTINGS, *WHOLE}

    assert {path for _, path in found} >= {"/v1/promises", "/v1/promises/{}"}
    assert len(found) == len(below)
    assert found == {
        (
            method,
            path.replace("{id}", "{}")
            .replace("/foo", "/{}")
            .replace("/groups/workers", "/groups/{}"),
        )
        for method, path in named
    }


async def test_a_gateway_without_keys_says_so_once(start: Start) -> None:
    gateway = start("gateway", LISTEN=PORT_0, BRIDGE_LISTEN=PORT_0, STORE_URL="grpc://127.0.0.1:9")
    await gateway.logged("gateway_started")

    (warned,) = [each for each in gateway.events() if each["event"] == "authentication_off"]
    assert warned["level"] == "warning"
    assert "HOLDFAST_GATEWAY_AUTH_KEYS" in warned["reason"]


async def test_what_was_denied_has_changed_nothing(rest: Rest) -> None:
    await rest("POST", "/v1/promises", PROMISE | {"id": "a/x1"}, prefix="a/")

    for action in ("resolve", "reject", "cancel"):
        await rest("POST", f"/v1/promises/a%2Fx1/{action}", {"value": 1}, prefix="b/")
    await rest("POST", "/v1/promises", PROMISE | {"id": "a/x2"}, prefix="b/")
    first = await rest("GET", "/v1/promises/a%2Fx1", prefix="a/")
    second = await rest("GET", "/v1/promises/a%2Fx2", prefix="a/")

    assert first.json()["state"] == "pending"
    assert second.status_code == 404


async def test_a_cancellation_ends_where_the_token_ends(rest: Rest) -> None:
    lineage = {"resonate:origin": "a/y1", "resonate:branch": "a/y1", "resonate:parent": "a/y1"}
    target = {"resonate:target": "poll://any@nobody"}
    tags = {"a/y1": target | lineage, "a/y1.1": lineage, "b/y1": lineage}
    for name, given in tags.items():
        made = {"id": name, "timeoutMs": 3_600_000, "tags": given}
        assert (await rest("POST", "/v1/promises", made, role="admin")).status_code == 201

    canceled = await rest("POST", "/v1/promises/a%2Fy1/cancel", prefix="a/")
    states = [
        (await rest("GET", f"/v1/promises/-?id={name}", role="admin")).json()["state"]
        for name in tags
    ]

    assert canceled.json()["state"] == "rejected_canceled"
    assert states == ["rejected_canceled", "rejected_canceled", "pending"]


@pytest.mark.parametrize(
    ("method", "path", "body", "door"),
    [
        ("POST", "/webhooks/anything", {"promiseId": "b/notice", "data": 1}, "b/notice"),
        ("POST", "/webhooks/approval", {"promiseId": "approve/b", "approved": True}, "approve/b"),
        ("POST", "/begin?id=b/begun", {"n": 1}, "b/unrelated"),
        ("GET", "/wait?id=b/waited", None, "b/waited"),
    ],
)
async def test_applications_that_reach_any_id_are_no_way_around_tokens(
    http: httpx.AsyncClient, rest: Rest, method: str, path: str, body: Any, door: str
) -> None:
    await rest("POST", "/v1/promises", PROMISE | {"id": door}, prefix="")

    nameless = await http.request(method, path, json=body)
    denied = await rest(method, path, body, prefix="a/")
    before = await rest("GET", f"/v1/promises/-?id={door}", prefix="")
    allowed = await rest(method, path, body, prefix=door[:2])

    assert is_problem(nameless, 401, 'Bearer realm="holdfast"')
    assert is_problem(denied, 403, 'Bearer realm="holdfast", error="insufficient_scope"')
    assert before.json()["state"] == "pending"
    assert allowed.status_code in (200, 204)


async def test_the_applications_and_pages_stay_open(http: httpx.AsyncClient) -> None:
    for path in ("/", "/orders/ord-1/status", "/schema/openapi.json", "/health"):
        answer = await http.get(path)
        assert answer.status_code in (200, 404), path
        assert "www-authenticate" not in answer.headers


async def test_the_applications_ask_for_tokens_where_that_is_set(
    start: Start, store_url: str, token: Path, keys: Path, issuer: Issuer
) -> None:
    settings = {"AUTH_KEYS": str(keys), "AUTH_APPS": "1"}
    _, url = await open_gateway(start, store_url, token, **settings)
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        path = "/orders/ord-1/status"
        nameless = await http.get(path)
        rest = Rest(http, issuer)
        others = await rest("GET", path, prefix="b/")
        named = await rest("GET", path, prefix="order/")
        health = await http.get("/health")

    assert nameless.status_code == 401
    assert others.status_code == 403
    assert named.status_code == 404
    assert health.status_code == 200


async def test_v1_is_served_beside_signed_webhooks_where_tokens_guard_it(
    start: Start, store_url: str, token: Path, keys: Path, issuer: Issuer
) -> None:
    secret = {"WEBHOOK_SECRETS": "whsec_" + "c2VjcmV0" * 6}
    one, guarded = await open_gateway(start, store_url, token, AUTH_KEYS=str(keys), **secret)
    other, unguarded = await open_gateway(start, store_url, token, **secret)
    bearer = {"authorization": f"Bearer {issuer.token(role='admin')}"}

    async with httpx.AsyncClient(timeout=30) as http:
        known = await http.get(f"{guarded}/v1/promises", headers=bearer)
        nameless = await http.get(f"{guarded}/v1/promises")
        absent = await http.get(f"{unguarded}/v1/promises", headers=bearer)

    assert (known.status_code, nameless.status_code, absent.status_code) == (200, 401, 404)
    assert not [each for each in one.events() if each["event"] == "authentication_off"]
    (warned,) = [each for each in other.events() if each["event"] == "authentication_off"]
    assert "anybody who reaches its bridge" in warned["reason"]


async def test_a_stream_of_events_ends_with_the_token(
    start: Start, store_url: str, token: Path, keys: Path, issuer: Issuer
) -> None:
    settings = {"AUTH_KEYS": str(keys), "AUTH_LEEWAY_SECONDS": "0"}
    _, url = await open_gateway(start, store_url, token, **settings)
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        rest = Rest(http, issuer)
        await rest("POST", "/v1/workflows/foo", {"id": "a/1", "target": "nobody"}, prefix="a/")
        short = {"authorization": f"Bearer {issuer.token(prefix='a/', exp=time.time() + 8)}"}
        events = "/v1/workflows/foo/-/events?id=a/1"
        async with asyncio.timeout(30):
            async with http.stream("GET", events, headers=short) as stream:
                told = [line async for line in stream.aiter_lines()]

    assert stream.status_code == 200
    assert any(line.startswith("event: workflow") for line in told)


async def test_a_gateway_whose_own_token_is_refused_answers_503_and_says_so(
    start: Start, store_url: str, tmp_path: Path, keys: Path, issuer: Issuer
) -> None:
    bad = tmp_path / "bad"
    bad.write_text(issuer.token(prefix="", exp=1))
    way = {"STORE_URL": store_url, "STORE_TOKEN_FILE": str(bad), "AUTH_KEYS": str(keys)}
    gateway = start("gateway", LISTEN=PORT_0, BRIDGE_LISTEN=PORT_0, **way)
    url = f"http://{(await gateway.logged('gateway_started'))['address']}"
    bearer = {"authorization": f"Bearer {issuer.token(role='admin')}"}

    async with httpx.AsyncClient(timeout=30) as http:
        refused = await http.get(f"{url}/v1/promises/a", headers=bearer)
        bad.write_text(issuer.token(prefix=""))
        await gateway.ready()
        mended = await http.get(f"{url}/v1/promises/a", headers=bearer)

    assert refused.status_code == 503
    assert "operator must give it another token" in refused.json()["detail"]
    # gRPC itself has the word where the hello was under way when the store refused it.
    told = [each["code"] for each in gateway.events() if each["event"] == "store_disconnected"]
    assert "token_expired" in told
    assert mended.status_code == 404


@pytest.mark.parametrize(
    ("service", "settings", "sentence"),
    [
        ("gateway", {"STORE_TOKEN_FILE": "missing"}, "the token file missing cannot be read"),
        ("gateway", {"AUTH_KEYS": "missing"}, "HOLDFAST_GATEWAY_AUTH_KEYS is not usable"),
        ("gateway", {"TLS_KEY": "missing"}, "must be set together"),
        ("gateway", {"TLS_KEY": "missing", "TLS_CERT": "missing"}, "HOLDFAST_GATEWAY_TLS_*"),
        ("worker", {"STORE_TOKEN_FILE": "missing"}, "the token file missing cannot be read"),
        ("worker", {"STORE_TLS_CA": "missing"}, "the file missing, for TLS to the store"),
        ("worker", {"STORE_TLS_CERT": "missing"}, "given together"),
        ("db", {"STORE_TOKEN_FILE": "missing"}, "the token file missing cannot be read"),
        ("operator", {"STORE_TOKEN_FILE": "missing"}, "the token file missing cannot be read"),
    ],
)
async def test_files_that_cannot_be_used_end_the_start(
    start: Start, service: str, settings: dict[str, str], sentence: str
) -> None:
    process = start(service, **settings)

    assert await process.exit_code() == 2
    assert sentence in process.log.read_text()
