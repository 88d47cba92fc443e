"""`/v1/tasks` and `/v1/groups` of a gateway and a store in processes of their own."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest

from holdfast import Resonate
from tests.integration.apps.documented import Documented
from tests.integration.apps.processes import PORT_0, SECONDS_MAX, Process, Start, get_until


@dataclass
class Running:
    """A store, a gateway, and a client of either."""

    store: Process
    call: Documented
    http: httpx.AsyncClient
    resonate: Resonate

    async def begun(self, group: str) -> str:
        """Start something that nobody runs."""
        run_id = f"run/{uuid4().hex}"
        options = self.resonate.options(target=f"poll://any@{quote(group, safe='')}")
        await self.resonate.begin_rpc(run_id, "nobody", options)
        return run_id


@pytest.fixture
async def running(start: Start) -> AsyncIterator[Running]:
    store = start("store", LISTEN=PORT_0, DATABASE_URL="memory:")
    await store.ready()
    url = f"grpc://{(await store.logged('store_listening'))['address']}"
    gateway = start(
        "gateway", STORE_URL=url, LISTEN=PORT_0, BRIDGE_LISTEN=PORT_0, STORE_SECONDS="5"
    )
    await gateway.ready()
    address = (await gateway.logged("gateway_started"))["address"]
    async with (
        httpx.AsyncClient(base_url=f"http://{address}", timeout=SECONDS_MAX) as http,
        Resonate(url, env={}, group="elsewhere", pid="the-test") as resonate,
    ):
        yield Running(store, await Documented.by(http), http, resonate)


def path(task_id: str, action: str = "") -> str:
    return f"/v1/tasks/{quote(task_id, safe='')}{action}"


async def test_a_task_is_halted_and_continued(running: Running) -> None:
    call, task_id = running.call, await running.begun("nowhere")

    before = await call("GET", path(task_id))
    halted = [await call("POST", path(task_id, "/halt"), json={"reason": "wait"}) for _ in "ab"]
    while_halted = await call("GET", f"/v1/tasks/-?id={task_id}")
    continued = [await call("POST", path(task_id, "/continue")) for _ in "ab"]
    after = await call("GET", path(task_id))

    assert before.json() == {"id": task_id, "state": "pending", "version": 0, "resumes": 0}
    assert [each.status_code for each in halted] == [204, 204]
    assert while_halted.json()["state"] == "halted"
    assert [each.status_code for each in continued] == [204, 409]
    assert continued[1].json()["code"] == "task_not_halted"
    assert after.json()["state"] == "pending"


async def test_an_ended_task_is_not_halted(running: Running) -> None:
    task_id = await running.begun("nowhere")
    await running.resonate.promises.resolve(task_id, 1)

    answer = await running.call("POST", path(task_id, "/halt"))

    assert answer.status_code == 409


async def test_tasks_are_listed_by_state_page_by_page(running: Running) -> None:
    call = running.call
    ids = sorted([await running.begun("nowhere") for _ in range(3)])
    await call("POST", path(ids[1], "/halt"))

    first = (await call("GET", "/v1/tasks?limit=2")).json()
    second = (await call("GET", f"/v1/tasks?limit=2&cursor={first['cursor']}")).json()
    halted = (await call("GET", "/v1/tasks?state=halted")).json()

    assert [each["id"] for each in (*first["tasks"], *second["tasks"])] == ids
    assert "cursor" not in second
    assert [each["id"] for each in halted["tasks"]] == [ids[1]]


async def test_wrong_requests_are_refused(running: Running) -> None:
    call, task_id = running.call, await running.begun("nowhere")

    answers = [
        await call("GET", "/v1/tasks/nothing"),
        await call("POST", "/v1/tasks/nothing/halt"),
        await call("POST", "/v1/tasks/%FF/continue"),
        await call("GET", "/v1/tasks/%00"),
        await call("GET", "/v1/tasks?state=done"),
        await call("GET", "/v1/tasks?limit=0"),
        await call("POST", path(task_id, "/halt"), json={"reason": 1}),
        await call("POST", path(task_id, "/halt"), json={"reasons": "x"}),
        await call("POST", path(task_id, "/halt"), json={"reason": "x" * 1025}),
        await call("POST", path(task_id, "/halt"), json={"reason": "a\0"}),
        await call("POST", path(task_id, "/halt"), content=b"{"),
    ]

    assert [(each.status_code, each.json()["code"]) for each in answers] == [
        (404, "task_not_found"),
        (404, "task_not_found"),
        (404, "task_not_found"),
        (400, "invalid_text"),
        (400, "invalid_state"),
        (400, "out_of_range"),
        (400, "invalid_body"),
        (400, "invalid_body"),
        (400, "reason_too_long"),
        (400, "invalid_text"),
        (415, "unsupported_media_type"),
    ]
    assert (await call("GET", path(task_id))).json()["state"] == "pending"


async def test_groups_tell_their_work_and_their_members(running: Running) -> None:
    call = running.call
    for _ in range(2):
        await running.begun("über/all")
    group = quote("über/all", safe="")

    one = await get_until(
        running.http, f"/v1/groups/{group}", lambda answer: answer.json()["due"] == 2
    )
    running.call.check("GET", f"/v1/groups/{group}", one)
    every = (await call("GET", "/v1/groups")).json()["groups"]
    unknown = (await call("GET", "/v1/groups/nothing")).json()
    members = (await call("GET", "/v1/groups/elsewhere/members")).json()["members"]
    nobody = (await call("GET", f"/v1/groups/{group}/members")).json()["members"]
    refused = await call("GET", "/v1/groups/%00")

    assert "über/all" in {each["name"] for each in every}
    assert (unknown["name"], unknown["due"], unknown["members"]) == ("nothing", 0, 0)
    assert [(each["pid"], each["groups"]) for each in members] == [("the-test", ["elsewhere"])]
    assert nobody == []
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_text")


@pytest.mark.timeout(120)
async def test_without_a_store_every_route_says_so_and_nothing_is_done(running: Running) -> None:
    call = running.call
    await call("POST", "/v1/promises", json={"id": "before"})
    running.store.kill()

    answers = await asyncio.gather(
        call("POST", "/v1/promises", json={"id": "during"}),
        call("GET", "/v1/promises"),
        call("GET", "/v1/promises/before"),
        *[
            call("POST", f"/v1/promises/before/{action}")
            for action in ("resolve", "reject", "cancel")
        ],
        call("POST", "/v1/workflows/nobody?wait=1", json={"id": "during"}),
        call("GET", "/v1/workflows/nobody/before?wait=1"),
        call("GET", "/v1/tasks"),
        call("GET", "/v1/tasks/before"),
        call("POST", "/v1/tasks/before/halt"),
        call("POST", "/v1/tasks/before/continue"),
        call("GET", "/v1/groups"),
        call("GET", "/v1/groups/workers"),
        call("GET", "/v1/groups/workers/members"),
    )

    assert {each.status_code for each in answers} == {503}
    assert {each.headers["retry-after"] for each in answers} == {"1"}
