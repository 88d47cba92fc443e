"""Who may do what over HTTP (§1.7, §14): every name in a request, and everything that is pushed."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.integration.bridge.polling import Poll
from tests.integration.bridge.system import (
    FAR,
    Client,
    System,
    create,
    inner,
    name,
    running,
    settle,
    suspend,
    task_create,
)
from tests.issuing import Issuer, ed25519_issuer


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return ed25519_issuer()


@pytest.fixture(scope="module")
def guarded(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Run a system whose gateway asks for tokens."""
    directory = tmp_path_factory.mktemp("guarded")
    keys = Path(directory, "keys.pem")
    keys.write_bytes(issuer.pem)
    gateway: dict[str, Any] = {"AUTH_KEYS": str(keys)}
    with running(directory, gateway=gateway, store={"DEBUG": "1"}) as system:
        yield system


@pytest.fixture
def admin(guarded: System, issuer: Issuer) -> Iterator[Client]:
    with closing(Client(guarded.url, token=issuer.token(role="Admin"))) as client:
        yield client


@pytest.fixture
def bounded(guarded: System, issuer: Issuer) -> Iterator[Client]:
    """Speak with a token for what begins with `a.`."""
    with closing(Client(guarded.url, token=issuer.token(prefix="a."))) as client:
        yield client


def lease(task_id: str, **more: Any) -> dict[str, Any]:
    return {"id": task_id, "version": 1, **more}


CALLBACK = {"awaited": "a.p", "awaiter": "a.x"}

DENIED: list[tuple[str, dict[str, Any]]] = [
    *((f"promise.{each}", {"id": "b.p"}) for each in ("get", "create", "settle")),
    *((f"task.{each}", lease("b.p")) for each in ("get", "acquire", "release", "halt", "continue")),
    ("promise.register_callback", {**CALLBACK, "awaited": "b.p"}),
    ("promise.register_callback", {**CALLBACK, "awaiter": "b.x"}),
    ("promise.register_listener", {"awaited": "b.p", "address": "poll://uni@g/p"}),
    ("task.create", task_create("b.x")),
    ("task.fulfill", lease("b.x", action=inner("promise.settle", settle("b.x")))),
    ("task.suspend", suspend("a.x", 1, "a.p", "b.p")),
    ("task.suspend", suspend("b.x", 1, "a.p")),
    ("task.fence", lease("a.x", action=inner("promise.create", create("b.c")))),
    ("task.fence", lease("a.x", action=inner("promise.settle", settle("b.c")))),
    ("task.heartbeat", {"pid": "p", "tasks": [lease("a.x"), lease("b.x")]}),
    ("schedule.get", {"id": "b.s"}),
    ("schedule.delete", {"id": "b.s"}),
    ("schedule.create", {"id": "b.s", "promiseId": "a.{{.timestamp}}"}),
    ("schedule.create", {"id": "a.s", "promiseId": "b.{{.timestamp}}"}),
    *((f"{each}.search", {}) for each in ("promise", "task", "schedule")),
    *((f"debug.{each}", {}) for each in ("start", "stop", "reset", "tick", "snap")),
    ("promise.fly", {}),
]


@pytest.mark.parametrize(("kind", "data"), DENIED)
def test_a_token_covers_every_name_in_a_request(
    kind: str, data: dict[str, Any], bounded: Client
) -> None:
    assert bounded(kind, data).status == 403


@pytest.mark.parametrize(("kind", "data"), DENIED)
def test_nothing_is_done_without_a_token_that_counts(
    kind: str, data: dict[str, Any], guarded: System, issuer: Issuer
) -> None:
    tokens = (
        None,
        "",
        "nonsense",
        issuer.token(prefix="", exp=time.time() - 60),
        ed25519_issuer().token(prefix=""),
    )
    for token in tokens:
        with closing(Client(guarded.url, token=token)) as client:
            assert client(kind, data).status == 401


def test_a_header_is_no_token_for_an_operation(guarded: System, issuer: Issuer) -> None:
    with closing(Client(guarded.url)) as client:
        client.http.headers["authorization"] = f"Bearer {issuer.token(prefix='')}"
        assert client("promise.get", {"id": "a"}).status == 401


def test_what_is_no_envelope_is_refused_before_anybody_asks_who_it_is(guarded: System) -> None:
    with closing(Client(guarded.url)) as client:
        assert client.post(b"{").status_code == 400
        assert client("promise.fly", {}).status == 401


def test_a_claim_that_is_missing_or_no_text_forbids_everything(
    guarded: System, issuer: Issuer
) -> None:
    for claims in ({}, {"prefix": None}, {"prefix": 7}):
        with closing(Client(guarded.url, token=issuer.token(**claims))) as client:
            assert client("promise.get", {"id": "a"}).status == 403


def test_a_name_that_is_missing_is_left_to_the_check_of_the_fields(bounded: Client) -> None:
    for kind in ("promise.get", "task.create", "task.fence", "schedule.create"):
        assert bounded(kind, {}).status == 400
    assert bounded("promise.get", {"id": 7}).status == 400


def test_a_token_does_what_it_is_for(bounded: Client, admin: Client) -> None:
    task_id = f"a.{name()}"

    assert bounded("task.create", task_create(task_id, target="poll://any@nobody")).status == 200
    child = inner("promise.create", create(f"{task_id}.1"))
    assert bounded("task.fence", lease(task_id, action=child)).status == 200
    assert bounded("schedule.create", {**PLAN, "id": task_id}).status == 200
    assert admin("promise.search", {}).status == 200
    assert admin("debug.snap", {}).status == 200


PLAN: dict[str, Any] = {
    "cron": "0 0 1 1 *",
    "promiseId": "{{.id}}.{{.timestamp}}",
    "promiseTimeout": 1000,
    "promiseTags": {"resonate:target": "poll://any@nobody"},
}


def test_a_heartbeat_for_all_extends_what_the_token_covers(bounded: Client, admin: Client) -> None:
    """Whoever knows a pid must not keep the leases of others alive."""
    mine, other = f"a.{name()}", f"b.{name()}"
    for task_id in (mine, other):
        made = task_create(task_id, pid="shared", ttl=100, target="poll://any@nobody")
        made["action"]["data"]["timeoutAt"] = FAR
        assert admin("task.create", made, at=1000).status == 200

    assert bounded("task.heartbeat", {"pid": "shared", "tasks": []}, at=1050).status == 200

    leases = {
        each["id"]: each["timeout"]
        for each in admin("debug.snap", {}).data["taskTimeouts"]
        if each["type"] == 1
    }
    assert (leases[mine], leases[other]) == (1150, 1100)


async def test_polling_needs_a_token_in_its_header(guarded: System, issuer: Issuer) -> None:
    for token in (None, "nonsense"):
        async with Poll(guarded.url, "g", "p", token=token) as poll:
            assert poll.status == 401
            assert "content-type: text/plain" in poll.head.lower()
    async with Poll(guarded.url, "g", "p", token=issuer.token(prefix="a.")) as poll:
        assert poll.status == 200


async def test_who_polls_is_told_only_what_the_token_covers(
    guarded: System, issuer: Issuer, admin: Client
) -> None:
    group = name("g")
    mine, other = f"a.{name()}", f"b.{name()}"
    async with Poll(guarded.url, group, "p", token=issuer.token(prefix="a.")) as poll:
        for task_id in (other, mine):
            admin("promise.create", create(task_id, resonate_target=f"poll://any@{group}"))

        assert await poll.task() == (mine, 0)
        everybody = issuer.token(role="admin")
        async with Poll(guarded.url, group, "q", token=everybody) as wide:
            assert await wide.task() == (other, 0)


async def test_a_stream_ends_with_its_token(guarded: System, issuer: Issuer) -> None:
    """The leeway between clocks is its bearer's."""
    token = issuer.token(prefix="", exp=time.time() - 8.5)
    async with Poll(guarded.url, "g", "p", token=token) as poll:
        assert poll.status == 200
        with pytest.raises(EOFError):
            await poll.message()
