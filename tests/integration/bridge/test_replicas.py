"""Two stores on one database, each with a gateway: it does not matter who is connected where."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.integration.apps.processes import PORT_0, Process
from tests.integration.bridge.polling import Poll
from tests.integration.bridge.system import Client, System, create, name, running, settle
from tests.integration.bridge.targets import serving
from tests.integration.postgres import Server


@pytest.fixture
def replicated(postgres_url: str, tmp_path: Path) -> Iterator[System]:
    """Run two stores; the second gateway alone sends messages to HTTP addresses."""
    database = {"DATABASE_URL": postgres_url}
    with running(tmp_path, store=database, gateway={"BRIDGE_PUSH": "0"}) as system:
        settings: dict[str, Any] = {"LISTEN": PORT_0, **database}
        second = Process("store", tmp_path, **settings)
        try:
            asyncio.run(second.ready())
            address = asyncio.run(second.logged("store_listening"))["address"]
            system.add_gateway(STORE_URL=f"grpc://{address}", BRIDGE_PUSH="1")
            yield system
        finally:
            second.kill()


@pytest.fixture
def client(replicated: System) -> Iterator[Client]:
    """Speak to the first gateway, and so to the first store."""
    with closing(Client(replicated.url)) as client:
        yield client


async def test_messages_find_their_way_between_stores(replicated: System, client: Client) -> None:
    group = name("g")
    ask = asyncio.to_thread
    async with Poll(replicated.urls[1], group, "far") as far:
        for index in range(5):
            address = f"poll://{('any', 'uni')[index % 2]}@{group}/far"
            task_id = name()
            await ask(client, "promise.create", create(task_id, resonate_target=address))
            assert await far.task() == (task_id, 0)

            awaited = name()
            await ask(client, "promise.create", create(awaited, resonate_external="true"))
            listener = {"awaited": awaited, "address": f"poll://uni@{group}/far"}
            await ask(client, "promise.register_listener", listener)
            await ask(client, "promise.settle", settle(awaited))
            message = await far.message()
            assert message["data"]["promise"]["id"] == awaited


async def test_one_client_of_a_name_on_each_store_is_enough(
    replicated: System, client: Client
) -> None:
    group = name("g")
    near, far = (Poll(url, group, "p") for url in replicated.urls)
    async with near, far:
        told = []
        for index in range(6):
            task_id = f"{group}.{index}"
            target = create(task_id, resonate_target=f"poll://uni@{group}/p")
            await asyncio.to_thread(client, "promise.create", target)
            told.append(task_id)
        seen = await _told_by(near, far, count=6)

    assert seen == set(told)


async def _told_by(*polls: Poll, count: int) -> set[str]:
    """Gather so many tasks, whoever is told of them: it may be the one who was seated first."""
    seen: set[str] = set()
    waiting = {asyncio.create_task(poll.task()): poll for poll in polls}
    while len(seen) < count:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            seen.add(each.result()[0])
            poll = waiting.pop(each)
            waiting[asyncio.create_task(poll.task())] = poll
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return seen


async def test_pushes_are_sent_by_whichever_gateway_does(
    replicated: System, client: Client
) -> None:
    async with serving() as target:
        task_id, awaited = name(), name()
        ask = asyncio.to_thread
        await ask(client, "promise.create", create(task_id, resonate_target=target.url))
        assert (await target.next()).task == (task_id, 0)

        await ask(client, "promise.create", create(awaited, resonate_external="true"))
        listener = {"awaited": awaited, "address": target.url}
        await ask(client, "promise.register_listener", listener)
        await ask(client, "promise.settle", settle(awaited))
        assert (await target.next()).message["data"]["promise"]["id"] == awaited


async def test_it_is_not_ready_while_the_database_is_away(
    postgres_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    url = postgres_server.create_database()

    def start() -> System:
        directory = tmp_path_factory.mktemp("unready")
        return stack.enter_context(running(directory, store={"DATABASE_URL": url}))

    async with AsyncExitStack() as stack:
        system = await asyncio.to_thread(start)
        ready = f"{system.url}/ready"
        async with httpx.AsyncClient(trust_env=False) as http:
            assert (await http.get(ready)).status_code == 200
            database = urlsplit(url).path.removeprefix("/")
            await asyncio.to_thread(
                postgres_server._administrate, f'DROP DATABASE "{database}" WITH (FORCE)'
            )
            async with asyncio.timeout(60):
                while (await http.get(ready)).status_code != 503:  # noqa: ASYNC110 - elsewhere
                    await asyncio.sleep(0.05)
            assert (await http.get(f"{system.url}/health")).status_code == 200
