"""`/v1/workflows/{name}/{id}/events`: what happens to a workflow, told as it happens."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from holdfast import Context, Resonate
from holdfast_chassis.listen import Address
from holdfast_gateway import serving as serving_module
from holdfast_gateway import watching
from holdfast_gateway.app import create_app
from holdfast_gateway.serving import serving
from holdfast_gateway.settings import GatewaySettings
from holdfast_gateway.watching import Watches
from tests.integration.apps.documented import Documented
from tests.integration.apps.embedded import SECONDS_MAX, System
from tests.integration.apps.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


def double(_ctx: Context, n: int) -> int:
    return 2 * n


def gated(ctx: Context, gate: str, _ballast: str = "") -> Any:
    """Have a child that is settled, then one that waits for somebody outside."""
    first = yield ctx.run(double, 1)
    opened = yield ctx.promise(id=gate)
    return [first, (yield opened)]


def wide(ctx: Context, children: int) -> Any:
    for number in range(children):
        yield ctx.run(double, number)


def register(resonate: Resonate) -> None:
    for function in (double, gated, wide):
        resonate.register(function)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    folder = tmp_path_factory.mktemp("system")
    async with System(folder, World(), register=register) as system:
        yield system


class Served:
    """The system's gateway on a port: answers that go on need a real server."""

    def __init__(self, system: System, http: httpx.AsyncClient, watches: Watches) -> None:
        self.system = system
        self.http = http
        self.watches = watches

    async def start(self, name: str, *args: object) -> str:
        workflow_id = f"{name}/{uuid4().hex}"
        body = {"id": workflow_id, "args": args}
        (await self.http.post(f"/v1/workflows/{name}", json=body)).raise_for_status()
        return workflow_id

    @asynccontextmanager
    async def follow(self, name: str, workflow_id: str, **headers: str) -> AsyncIterator["Events"]:
        url = f"/v1/workflows/{name}/{quote(workflow_id, safe='')}/events"
        async with self.http.stream("GET", url, headers=headers) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "text/event-stream"
            yield Events(answer)


class Events:
    """Reads a stream, event by event."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.aiter_lines()

    async def read(self) -> dict[str, Any] | None:
        """Return the fields of the next event or comment; `None` at the end."""
        fields: dict[str, Any] = {}
        async with asyncio.timeout(SECONDS_MAX):
            async for line in self._lines:
                if not line:
                    return fields
                name, _, text = line.partition(": ")
                fields[name or "comment"] = json.loads(text) if name == "data" else text
        return None

    async def next(self) -> dict[str, Any]:
        """Return the next event; comments and the time to reconnect are none."""
        while (found := await self.read()) is not None:
            if "event" in found:
                return found
        raise AssertionError("the stream has ended")

    async def rest(self) -> list[dict[str, Any]]:
        events = []
        while (found := await self.read()) is not None:
            events += [found] if "event" in found else []
        return events


@asynccontextmanager
async def served(system: System, **settings: Any) -> AsyncIterator[Served]:
    made = GatewaySettings(**settings)
    watches = Watches(most=made.events_clients_max)
    app = create_app(made, system.resonate, watches=watches)
    async with AsyncExitStack() as stack:
        listening = serving(app, Address("127.0.0.1", 0), stop_seconds=5)
        address = await stack.enter_async_context(listening)
        stack.callback(watches.close)
        http = httpx.AsyncClient(base_url=f"http://{address}", timeout=SECONDS_MAX)
        yield Served(system, await stack.enter_async_context(http), watches)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def gateway(system: System) -> AsyncIterator[Served]:
    async with served(system, events_keep_alive_seconds=0.05) as gateway:
        yield gateway


async def until_told(events: Events, child_id: str, state: str) -> None:
    while True:
        event = await events.next()
        if (event["data"]["id"], event["data"]["state"]) == (child_id, state):
            return


async def test_a_workflow_and_its_children_are_told_of_until_the_end(gateway: Served) -> None:
    gate = uuid4().hex
    workflow_id = await gateway.start("gated", gate)
    async with gateway.follow("gated", workflow_id) as events:
        first = await events.next()
        await until_told(events, gate, "pending")

        await gateway.system.resonate.promises.resolve(gate, "open")
        rest = await events.rest()

    assert (first["event"], first["data"]["state"]) == ("workflow", "pending")
    assert [(each["event"], each["data"]["id"]) for each in rest[-2:]] == [
        ("child", gate),
        ("settled", workflow_id),
    ]
    assert rest[-2]["data"]["state"] == "resolved"
    assert "value" not in rest[-2]["data"]
    assert rest[-1]["data"]["value"] == {"data": [2, "open"]}


async def test_a_workflow_that_has_ended_is_told_at_once(gateway: Served) -> None:
    workflow_id = await gateway.start("wide", 3)
    await gateway.system.outcome(workflow_id)

    async with gateway.follow("wide", workflow_id) as events:
        told = await events.rest()

    assert [each["event"] for each in told] == ["workflow", "child", "child", "child", "settled"]
    assert len({each["id"] for each in told}) == 5


async def test_a_stream_goes_on_behind_the_last_event(
    gateway: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast_gateway.events.AGAIN_MS", 0)
    workflow_id = await gateway.start("wide", 2)
    await gateway.system.outcome(workflow_id)
    async with gateway.follow("wide", workflow_id) as events:
        told = await events.rest()

    async with gateway.follow("wide", workflow_id, **{"Last-Event-ID": told[1]["id"]}) as events:
        after = await events.rest()
    late = f"{int(told[-1]['id'].partition('-')[0])}-child-x"
    async with gateway.follow("wide", workflow_id, **{"Last-Event-ID": late}) as events:
        at_last = await events.rest()

    at_ms = [int(each["id"].partition("-")[0]) for each in told]
    assert after == [each for each, at in zip(told, at_ms, strict=True) if at >= at_ms[1]]
    assert at_last[-1] == told[-1]
    assert len(at_last) < len(told)


async def test_what_happened_just_before_the_last_event_is_told_again(gateway: Served) -> None:
    workflow_id = await gateway.start("wide", 2)
    await gateway.system.outcome(workflow_id)
    async with gateway.follow("wide", workflow_id) as events:
        told = await events.rest()

    async with gateway.follow("wide", workflow_id, **{"Last-Event-ID": told[2]["id"]}) as events:
        again = await events.rest()
    async with gateway.follow("wide", workflow_id, **{"Last-Event-ID": "of others"}) as events:
        everything = await events.rest()

    assert again == everything == told


async def test_whoever_read_the_end_is_told_not_to_come_back(gateway: Served) -> None:
    workflow_id = await gateway.start("wide", 0)
    async with gateway.follow("wide", workflow_id) as events:
        end = (await events.rest())[-1]

    answer = await gateway.http.get(
        f"/v1/workflows/wide/-/events?id={quote(workflow_id)}",
        headers={"Last-Event-ID": end["id"]},
    )

    assert (answer.status_code, answer.content) == (204, b"")


async def test_a_stream_without_news_gives_signs_of_life(gateway: Served) -> None:
    workflow_id = await gateway.start("gated", uuid4().hex)
    async with gateway.follow("gated", workflow_id) as events:
        comments = 0
        while comments < 2:
            comments += "comment" in (await events.read() or {})


async def test_many_children_are_told_up_to_the_limit(
    gateway: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "CHILDREN_MAX", 5)
    monkeypatch.setattr(watching, "PAGE", 3)
    workflow_id = await gateway.start("wide", 9)
    await gateway.system.outcome(workflow_id)

    async with gateway.follow("wide", workflow_id) as events:
        told = await events.rest()

    kinds = [each["event"] for each in told]
    assert (kinds.count("child"), kinds.count("more"), kinds[-1]) == (5, 1, "settled")
    assert next(each["data"] for each in told if each["event"] == "more") == {"toldChildren": 5}


async def test_ids_of_any_kind_are_told(gateway: Served) -> None:
    workflow_id = f"a b\n\r{uuid4().hex}ä%"
    body = {"id": workflow_id, "args": [0]}
    (await gateway.http.post("/v1/workflows/wide", json=body)).raise_for_status()

    async with gateway.follow("wide", workflow_id) as events:
        told = await events.rest()

    assert told[-1]["data"]["id"] == workflow_id
    assert "\n" not in told[-1]["id"]


@pytest.mark.parametrize("path", ["gated/nobody", "other/{id}"])
async def test_what_is_no_workflow_of_that_name_is_not_found(gateway: Served, path: str) -> None:
    workflow_id = await gateway.start("wide", 0)
    call = await Documented.by(gateway.http)

    answer = await call(
        "GET", f"/v1/workflows/{path.format(id=quote(workflow_id, safe=''))}/events"
    )

    assert (answer.status_code, answer.json()["code"]) == (404, "promise_not_found")


async def test_clients_beyond_the_limit_are_refused_and_room_is_given_back(system: System) -> None:
    async with served(system, events_clients_max=1) as gateway:
        workflow_id = await gateway.start("gated", uuid4().hex)
        call = await Documented.by(gateway.http)
        url = f"/v1/workflows/gated/{quote(workflow_id, safe='')}/events"
        async with gateway.follow("gated", workflow_id) as events:
            await events.next()
            refused = await call("GET", url)
        async with asyncio.timeout(SECONDS_MAX):
            while not gateway.watches.has_room:  # noqa: ASYNC110 - nobody else needs to know
                await asyncio.sleep(0.01)

        assert (refused.status_code, refused.json()["code"]) == (503, "too_many_clients")
        assert refused.headers["retry-after"] == "5"


async def test_a_client_that_does_not_read_is_cut(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listen_narrowly(address: Address) -> socket.socket:
        listener = listen(address)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        return listener

    listen = serving_module._listen
    monkeypatch.setattr(serving_module, "_listen", listen_narrowly)
    limits = {"events_send_seconds": 0.1, "events_keep_alive_seconds": 0.05}
    async with served(system, events_clients_max=1, **limits) as gateway:
        workflow_id = await gateway.start("gated", uuid4().hex, "x" * 700_000)
        reader, writer = await asyncio.open_connection(
            gateway.http.base_url.host, gateway.http.base_url.port, limit=1_024
        )
        path = f"/v1/workflows/gated/{quote(workflow_id, safe='')}/events"
        writer.write(f"GET {path} HTTP/1.1\r\nhost: here\r\n\r\n".encode())
        await reader.readuntil(b"event: workflow")
        is_full = not gateway.watches.has_room
        async with asyncio.timeout(SECONDS_MAX):
            while not gateway.watches.has_room:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        [rest] = await asyncio.gather(reader.read(), return_exceptions=True)
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    assert is_full
    is_whole = isinstance(rest, bytes) and rest.endswith(b"0\r\n\r\n")
    assert not is_whole


async def test_streams_end_when_the_process_stops_and_no_new_one_begins(system: System) -> None:
    async with served(system) as gateway:
        workflow_id = await gateway.start("gated", uuid4().hex)
        async with gateway.follow("gated", workflow_id) as events:
            await events.next()
            gateway.watches.close()
            await events.rest()  # which ends
        refused = await gateway.http.get(
            f"/v1/workflows/gated/{quote(workflow_id, safe='')}/events"
        )

    assert refused.status_code == 503
