"""Clients that poll: who gets what, and when they are missed (§4.3 to §4.5)."""

import asyncio
from contextlib import AsyncExitStack, closing
from typing import Any

import pytest

from holdfast.rpc import Admin
from tests.integration.apps.processes import Process
from tests.integration.bridge.polling import Poll
from tests.integration.bridge.system import (
    Client,
    System,
    create,
    name,
    running,
    settle,
    task_create,
)

SECONDS_MAX = 20


def targeted(task_id: str, address: str) -> dict[str, object]:
    return create(task_id, resonate_target=address)


async def seats(system: System, group: str) -> int:
    """Count the members of a group, as the store sees them."""
    async with Admin(system.store_url) as admin:
        return sum(group in member.groups for member in await admin.list_members())


async def until_seats(system: System, group: str, count: int) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while await seats(system, group) != count:  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.01)


async def test_the_answer_begins_at_once_and_says_what_it_is(system: System) -> None:
    async with Poll(system.url, "g", name()) as poll:
        assert poll.status == 200
        assert "content-type: text/event-stream" in poll.head.lower()
        assert "transfer-encoding: chunked" in poll.head.lower()


async def test_a_task_that_comes_to_be_is_told_to_who_polls(system: System, client: Client) -> None:
    group, task_id = name("g"), name()
    async with Poll(system.url, group, "p") as poll:
        client("promise.create", targeted(task_id, f"poll://any@{group}"))

        message = await poll.message()

    assert message == {
        "kind": "execute",
        "head": {"serverUrl": f"http://localhost:{system.url.rpartition(':')[2]}"},
        "data": {"task": {"id": task_id, "version": 0}},
    }


async def test_a_task_waits_for_the_first_who_polls(system: System, client: Client) -> None:
    group, task_id = name("g"), name()
    client("promise.create", targeted(task_id, f"poll://any@{group}"))

    async with Poll(system.url, group, "p") as poll:
        assert await poll.task() == (task_id, 0)


async def test_an_acquired_task_is_not_told_to_anybody(system: System, client: Client) -> None:
    group, held, other = name("g"), name(), name()
    client("task.create", task_create(held, target=f"poll://any@{group}"))
    async with Poll(system.url, group, "p") as poll:
        client("promise.create", targeted(other, f"poll://any@{group}"))

        assert await poll.task() == (other, 0)


async def test_whoever_is_named_alone_gets_a_message_on_whichever_gateway(
    system: System, client: Client
) -> None:
    group = name("g")
    first, second = system.urls
    async with Poll(first, group, "a") as a, Poll(second, group, "b") as b:
        await until_seats(system, group, 2)
        for index in range(10):
            client("promise.create", targeted(f"{group}.a{index}", f"poll://uni@{group}/a"))
            client("promise.create", targeted(f"{group}.b{index}", f"poll://any@{group}/b"))

        to_a = {(await a.task())[0] for _ in range(10)}
        to_b = {(await b.task())[0] for _ in range(10)}

    assert to_a == {f"{group}.a{index}" for index in range(10)}
    assert to_b == {f"{group}.b{index}" for index in range(10)}


async def test_a_preferred_member_that_is_away_keeps_nobody_from_the_task(
    system: System, client: Client
) -> None:
    group, any_of, alone = name("g"), name(), name()
    async with Poll(system.url, group, "here") as here:
        client("promise.create", targeted(alone, f"poll://uni@{group}/away"))
        client("promise.create", targeted(any_of, f"poll://any@{group}/away"))

        assert await here.task() == (any_of, 0)
        async with Poll(system.url, group, "away") as away:
            assert await away.task() == (alone, 0)


async def test_tasks_for_anybody_are_spread_over_who_polls(system: System, client: Client) -> None:
    group = name("g")
    async with Poll(system.urls[0], group, "a") as a, Poll(system.urls[1], group, "b") as b:
        await until_seats(system, group, 2)
        for index in range(40):
            client("promise.create", targeted(f"{group}.{index}", f"poll://any@{group}"))

        first, second = await asyncio.gather(a.task(), b.task())  # neither is left out

    assert first != second


async def test_of_several_with_one_name_the_first_receives_until_it_leaves(
    system: System, client: Client
) -> None:
    group = name("g")
    address = f"poll://uni@{group}/p"
    async with Poll(system.url, group, "p") as first, Poll(system.url, group, "p") as second:
        for index in range(5):
            client("promise.create", targeted(f"{group}.{index}", address))
        assert {(await first.task())[0] for _ in range(5)} == {f"{group}.{i}" for i in range(5)}

        await first.cut()
        told = asyncio.create_task(second.task())
        created: list[str] = []
        async with asyncio.timeout(SECONDS_MAX):
            while not told.done():  # until the gateway has missed the first
                created.append(name())
                client("promise.create", targeted(created[-1], address))
                await asyncio.wait({told}, timeout=0.5)

    task_id, version = told.result()
    assert task_id in created
    assert version == 0


async def test_one_name_in_two_groups_is_two_clients(system: System, client: Client) -> None:
    one, two = name("g"), name("g")
    async with Poll(system.url, one, "p") as a, Poll(system.url, two, "p") as b:
        client("promise.create", targeted(f"{one}.t", f"poll://uni@{one}/p"))
        client("promise.create", targeted(f"{two}.t", f"poll://uni@{two}/p"))

        assert (await a.task(), await b.task()) == ((f"{one}.t", 0), (f"{two}.t", 0))


async def test_who_leaves_is_missed_at_once(system: System, client: Client) -> None:
    """Else the next task would be told to nobody, and wait for the retry interval."""
    group = name("g")
    async with Poll(system.url, group, "stays") as stays:
        for index in range(10):
            async with Poll(system.url, group, "leaves"):
                await until_seats(system, group, 2)
            await until_seats(system, group, 1)
            client("promise.create", targeted(f"{group}.{index}", f"poll://any@{group}/leaves"))
            assert await stays.task() == (f"{group}.{index}", 0)


async def test_who_is_silent_for_a_while_gets_signs_of_life(system: System) -> None:
    async with Poll(system.url, name("g"), "p") as poll:
        await poll.comment()
        await poll.comment()


async def test_a_listener_is_told_what_became_of_a_promise(system: System, client: Client) -> None:
    group, awaited = name("g"), name()
    client("promise.create", create(awaited, resonate_external="true"))
    async with Poll(system.urls[1], group, "p") as poll:
        address = f"poll://uni@{group}/p"
        for _ in range(3):  # clients ask again and again
            client("promise.register_listener", {"awaited": awaited, "address": address})
        client("promise.settle", settle(awaited, data="NDI="))

        message = await poll.message()

    promise = client("promise.get", {"id": awaited}).promise
    assert message == {"kind": "unblock", "head": {}, "data": {"promise": promise}}
    assert promise["value"] == {"data": "NDI="}


async def test_a_released_task_comes_back_and_a_new_version_after_it(
    system: System, client: Client
) -> None:
    group, task_id = name("g"), name()
    client("promise.create", targeted(task_id, f"poll://any@{group}"))
    async with Poll(system.url, group, "p") as poll:
        for version in range(3):
            assert await poll.task() == (task_id, version)
            lease = {"id": task_id, "version": version, "pid": "w", "ttl": 60_000}
            assert client("task.acquire", lease).status == 200
            client("task.release", {"id": task_id, "version": version + 1})


async def test_a_lease_that_runs_out_is_told_to_another(system: System, client: Client) -> None:
    group, task_id = name("g"), name()
    client("promise.create", targeted(task_id, f"poll://any@{group}"))
    async with Poll(system.url, group, "p") as poll:
        assert await poll.task() == (task_id, 0)
        client("task.acquire", {"id": task_id, "version": 0, "pid": "w", "ttl": 50})

        assert await poll.task() == (task_id, 1)


async def test_names_with_any_characters_are_percent_encoded(
    system: System, client: Client
) -> None:
    task_id = name()
    async with Poll(system.url, "gr%20%C3%BC", "p%2F1") as poll:
        client("promise.create", targeted(task_id, "poll://uni@gr%20%C3%BC/p%2F1"))

        assert await poll.task() == (task_id, 0)


async def test_more_than_may_poll_are_turned_away(tmp_path_factory: pytest.TempPathFactory) -> None:
    def start() -> System:
        return stack.enter_context(
            running(tmp_path_factory.mktemp("full"), gateway={"BRIDGE_POLLS_MAX": "2"})
        )

    async with AsyncExitStack() as stack:
        system = await asyncio.to_thread(start)
        for index in range(2):
            await stack.enter_async_context(Poll(system.url, "g", f"p{index}"))
        async with Poll(system.url, "g", "late") as late:
            assert late.status == 503
            assert "content-type: text/plain" in late.head.lower()


async def test_a_gateway_that_stops_ends_its_streams_and_exits(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    def start() -> System:
        return stack.enter_context(running(tmp_path_factory.mktemp("stop")))

    async with AsyncExitStack() as stack:
        system = await asyncio.to_thread(start)
        poll = await stack.enter_async_context(Poll(system.url, "g", "p"))
        system.gateways[0].popen.terminate()

        with pytest.raises(EOFError):
            await poll.message()
        assert await system.gateways[0].exit_code() == 0


async def test_a_store_that_comes_back_tells_what_waited(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Clients keep their streams meanwhile: the gateway looks for the store on its own."""
    directory = tmp_path_factory.mktemp("back")
    database: dict[str, Any] = {"DATABASE_URL": f"sqlite:///{directory}/store.db"}
    group, task_id = name("g"), name()

    def start() -> System:
        return stack.enter_context(running(directory, store=database))

    async with AsyncExitStack() as stack:
        system = await asyncio.to_thread(start)
        client = stack.enter_context(closing(Client(system.url)))
        poll = await stack.enter_async_context(Poll(system.url, group, "p"))
        await until_seats(system, group, 1)
        await asyncio.to_thread(_restart_store, system, database)
        async with asyncio.timeout(SECONDS_MAX):
            while True:
                made = await asyncio.to_thread(
                    client, "promise.create", targeted(task_id, f"poll://any@{group}")
                )
                if made.status == 200:
                    break
        assert await poll.task() == (task_id, 0)


def _restart_store(system: System, settings: dict[str, Any]) -> None:
    system.store.kill()
    listen = system.store_url.removeprefix("grpc://")
    system.store = Process("store", system.directory, LISTEN=listen, **settings)
    asyncio.run(system.store.ready())
