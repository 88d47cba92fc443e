"""What is at which path (§1.1)."""

from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from tests.integration.bridge.system import Client, System, create, name, running

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


@pytest.fixture
def http(system: System) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=system.url, trust_env=False) as http:
        yield http


@pytest.mark.parametrize("method", [m for m in METHODS if m != "POST"])
def test_only_post_is_for_operations(method: str, http: httpx.Client) -> None:
    answer = http.request(method, "/")

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("method", ["POST", "DELETE", "HEAD"])
def test_only_get_polls(method: str, http: httpx.Client) -> None:
    assert http.request(method, "/poll/g/p").status_code == 405


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_health_and_readiness_are_empty(path: str, http: httpx.Client) -> None:
    assert (http.get(path).status_code, http.get(path).content) == (200, b"")
    assert http.head(path).status_code == 200
    assert http.post(path).status_code == 405


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "path", ["/promises", "/promises/a/b", "/tasks", "/tasks/complete", "/schedules/x?limit=1"]
)
def test_the_paths_of_the_old_interface_say_so(method: str, path: str, http: httpx.Client) -> None:
    answer = http.request(method, path)

    assert answer.status_code == 410
    assert answer.headers["content-type"] == "application/json"
    if method != "HEAD":
        assert isinstance(answer.json()["error"], str)


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/promisesx", "/poll", "/poll/g", "/poll/g/p/x", "/%2F", "/health/x"],
)
def test_there_is_nothing_elsewhere(path: str, http: httpx.Client) -> None:
    answer = http.get(path)

    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/json")
    assert isinstance(answer.json()["error"], str)


@pytest.mark.parametrize(
    "path", ["/poll/g/", "/poll//p", "/poll/%ff/p", "/poll/g/%00", "/poll/http:/p"]
)
def test_a_place_that_nobody_can_name_is_refused_in_plain_text(
    path: str, http: httpx.Client
) -> None:
    answer = http.get(path)

    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/plain")


def test_a_body_that_is_too_large_is_refused_and_the_next_is_not(client: Client) -> None:
    assert client.post(b" " * (4 * 1024 * 1024 + 1)).status_code == 413
    assert client("promise.get", {"id": name()}).status == 404


def test_a_store_that_is_away_is_an_indefinite_answer(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with (
        running(tmp_path_factory.mktemp("away"), gateway={"STORE_SECONDS": "0.3"}) as system,
        closing(Client(system.url)) as client,
    ):
        system.store.kill()

        refused = client("promise.create", create(name()))
        timed = client("promise.create", create(name()), at=1000)
        searched = client("promise.search", {})
        ready = httpx.get(f"{system.url}/ready", trust_env=False)
        health = httpx.get(f"{system.url}/health", trust_env=False)

    assert (refused.status, timed.status, searched.status) == (503, 503, 503)
    assert (ready.status_code, ready.content, health.status_code) == (503, b"", 200)


def test_pages_of_other_origins_may_use_it_only_where_somebody_said_so(
    system: System, tmp_path_factory: pytest.TempPathFactory
) -> None:
    asks = {"origin": "https://a.test", "access-control-request-method": "POST"}
    with running(
        tmp_path_factory.mktemp("cors"), gateway={"BRIDGE_CORS_ORIGINS": "https://a.test"}
    ) as other:
        closed = httpx.options(system.url, headers=asks)
        opened = httpx.options(other.url, headers=asks)
        answered = httpx.get(f"{other.url}/x", headers={"origin": "https://a.test"})
        stranger = httpx.options(other.url, headers={**asks, "origin": "https://b.test"})

    assert closed.status_code == 405
    assert opened.status_code == 204
    assert opened.headers["access-control-allow-origin"] == "https://a.test"
    assert "Authorization" in opened.headers["access-control-allow-headers"]
    assert answered.headers["access-control-allow-origin"] == "https://a.test"
    assert "access-control-allow-origin" not in stranger.headers
