"""Messages to HTTP addresses: through any gateway, to nowhere that is forbidden."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.integration.bridge.system import Client, System, create, name, running, settle
from tests.integration.bridge.targets import Target, serving

SECONDS_MAX = 30


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    async with serving() as target:
        yield target


@contextlib.asynccontextmanager
async def own_system(
    tmp_path_factory: pytest.TempPathFactory, gateways: int = 1, **gateway: Any
) -> AsyncIterator[System]:
    """Run a system for one test."""
    with contextlib.ExitStack() as stack:

        def start() -> System:
            directory = tmp_path_factory.mktemp("push")
            store = {"RETRY_INTERVAL_MS": "300"}
            return stack.enter_context(
                running(directory, store=store, gateway=gateway, gateways=gateways)
            )

        yield await asyncio.to_thread(start)


def targeted(task_id: str, url: str) -> dict[str, object]:
    return create(task_id, resonate_target=url)


async def until_failed(system: System, count: int) -> None:
    """Return when so many posts have failed, as the gateways count them."""
    async with asyncio.timeout(SECONDS_MAX):
        while (  # noqa: ASYNC110 - in other processes
            await asyncio.to_thread(system.counted, "resonate_deliveries_total", status="error")
            < count
        ):
            await asyncio.sleep(0.02)


async def told_of(target: Target, count: int) -> set[str]:
    """Wait until so many tasks were told of; on a slow machine some are for the second time."""
    told: set[str] = set()
    while len(told) < count:
        told.add((await target.next()).task[0])
    return told


async def test_a_task_is_posted_to_exactly_its_address(
    system: System, client: Client, target: Target
) -> None:
    task_id = name()

    client("promise.create", targeted(task_id, f"{target.url}/hooks/a?b=c%20d"))
    pushed = await target.next()

    assert pushed.path == "/hooks/a?b=c%20d"
    assert pushed.headers["content-type"] == "application/json"
    assert pushed.task == (task_id, 0)
    urls = {f"http://localhost:{url.rpartition(':')[2]}" for url in system.urls}
    assert pushed.message["head"]["serverUrl"] in urls


async def test_a_serverless_worker_completes_a_run(client: Client, target: Target) -> None:
    """It is posted to, acquires, awaits something, is posted to again, and fulfills."""
    task_id, awaited = name(), name()
    client("promise.create", create(awaited, resonate_external="true"))
    client("promise.create", targeted(task_id, target.url))
    assert (await target.next()).task == (task_id, 0)
    lease = {"id": task_id, "version": 0, "pid": "w", "ttl": 60_000}
    assert client("task.acquire", lease).status == 200
    callback = {"awaited": awaited, "awaiter": task_id}
    action = {"kind": "promise.register_callback", "head": {}, "data": callback}
    client("task.suspend", {"id": task_id, "version": 1, "actions": [action]})

    client("promise.settle", settle(awaited))

    assert (await target.next()).task == (task_id, 1)


async def test_listeners_at_http_addresses_are_told(client: Client, target: Target) -> None:
    awaited = name()
    client("promise.create", create(awaited, resonate_external="true"))
    for path in ("/a", "/b"):
        address = f"{target.url}{path}"
        client("promise.register_listener", {"awaited": awaited, "address": address})

    client("promise.settle", settle(awaited))
    first, second = await target.next(), await target.next()

    promise = client("promise.get", {"id": awaited}).promise
    assert {first.path, second.path} == {"/a", "/b"}
    assert first.message == second.message
    assert first.message == {"kind": "unblock", "head": {}, "data": {"promise": promise}}


async def test_a_post_that_fails_is_made_again_after_the_retry_interval(
    tmp_path_factory: pytest.TempPathFactory, target: Target
) -> None:
    async with own_system(tmp_path_factory) as system:
        with contextlib.closing(Client(system.url)) as client:
            target.status = "503 Not Now"
            client("promise.create", targeted("t", target.url))
            assert (await target.next()).task == ("t", 0)

            target.status = "200 OK"

            assert (await target.next()).task == ("t", 0)
        failed = await asyncio.to_thread(
            system.counted, "resonate_deliveries_total", status="error"
        )
    assert failed >= 1


async def test_a_gateway_that_is_killed_with_a_message_in_hand_costs_a_retry_interval(
    tmp_path_factory: pytest.TempPathFactory, target: Target
) -> None:
    async with own_system(tmp_path_factory, gateways=2) as system:
        with contextlib.closing(Client(system.urls[1])) as client:
            target.hold = asyncio.Event()
            for index in range(20):
                client("promise.create", targeted(f"t{index}", target.url))
            told = await told_of(target, 20)
            await asyncio.to_thread(system.gateways[0].kill)
            target.hold.set()
            again = await told_of(target, 20)

    assert told == again == {f"t{index}" for index in range(20)}


async def test_a_task_waits_while_no_gateway_is_there(
    tmp_path_factory: pytest.TempPathFactory, target: Target
) -> None:
    async with own_system(tmp_path_factory, gateways=2) as system:
        with contextlib.closing(Client(system.url)) as client:
            for gateway in system.gateways[1:]:
                await asyncio.to_thread(gateway.kill)
            assert client("promise.create", targeted("t", target.url)).status == 200
        assert (await target.next()).task == ("t", 0)


async def test_a_settled_promise_waits_while_no_gateway_is_there(
    tmp_path_factory: pytest.TempPathFactory, target: Target
) -> None:
    async with own_system(tmp_path_factory, BRIDGE_PUSH="0") as system:
        with contextlib.closing(Client(system.url)) as client:
            client("promise.create", create("p", resonate_external="true"))
            addresses = {f"{target.url}/{index}" for index in range(3)}
            for address in addresses:
                client("promise.register_listener", {"awaited": "p", "address": address})
            client("promise.settle", settle("p"))
        assert target.pushed.empty()
        await asyncio.to_thread(system.add_gateway, BRIDGE_PUSH="1")

        told = [await target.next() for _ in addresses]

    assert {f"{target.url}{each.path}" for each in told} == addresses
    assert {each.message["data"]["promise"]["id"] for each in told} == {"p"}


async def test_a_redirect_is_not_followed(
    tmp_path_factory: pytest.TempPathFactory, target: Target
) -> None:
    """It would lead to wherever its sender says, past everything that was judged."""
    async with serving() as elsewhere, own_system(tmp_path_factory) as system:
        with contextlib.closing(Client(system.url)) as client:
            target.status = "307 Elsewhere"
            target.headers = f"location: {elsewhere.url}\r\n"
            client("promise.create", targeted("t", target.url))
            for _ in range(2):
                assert (await target.next()).task == ("t", 0)

    assert elsewhere.pushed.empty()


@pytest.mark.parametrize(
    "settings",
    [
        {"BRIDGE_PUSH_DENY": "127.0.0.0/8"},
        {"BRIDGE_PUSH_ALLOW": "10.0.0.0/8,*.internal"},
        {"BRIDGE_PUSH_DENY": "localhost"},
    ],
)
async def test_nothing_is_sent_where_an_operator_forbids_it(
    settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory, target: Target
) -> None:
    """A name counts for each address that it stands for, however it is written."""
    port = target.url.rpartition(":")[2]
    async with own_system(tmp_path_factory, **settings) as system:
        with contextlib.closing(Client(system.url)) as client:
            hosts = (
                ["localhost"]
                if "localhost" in settings.values()
                else ["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]"]
            )
            for host in hosts:
                client("promise.create", targeted(name(), f"http://{host}:{port}/"))

            await until_failed(system, len(hosts))

    assert target.pushed.empty()


async def test_an_address_that_hangs_or_is_none_costs_its_time_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, target: Target
) -> None:
    async with serving() as hangs:
        hangs.hold = asyncio.Event()
        async with own_system(tmp_path_factory, BRIDGE_PUSH_SECONDS="0.2") as system:
            with contextlib.closing(Client(system.url)) as client:
                addresses = (
                    *(hangs.url, "http://127.0.0.1:1/", "http://", "http://[::1", "https://x:y/"),
                    *("http://nowhere.invalid/", "http://\u00fc\u00fc.invalid/", "http:///x"),
                )
                for address in addresses:
                    assert client("promise.create", targeted(name(), address)).status == 200
                client("promise.create", targeted("t", target.url))

                assert (await target.next()).task == ("t", 0)
                await until_failed(system, len(addresses))
        hangs.hold.set()


async def test_an_address_that_hangs_delays_only_its_own_messages(
    tmp_path_factory: pytest.TempPathFactory, target: Target
) -> None:
    """All are under way that may be, many more wait, and another address is told at once."""
    settings: dict[str, Any] = {"BRIDGE_PUSHES_MAX": "4", "BRIDGE_PUSH_SECONDS": "3600"}
    theirs = {f"h{index}" for index in range(20)}
    async with serving() as hangs, own_system(tmp_path_factory, **settings) as system:
        hangs.hold = asyncio.Event()
        with contextlib.closing(Client(system.url)) as client:
            for task_id in sorted(theirs):
                client("promise.create", targeted(task_id, hangs.url))
            await told_of(hangs, 2)  # half of four
            for index in range(20):
                client("promise.create", targeted(f"t{index}", target.url))

            assert await told_of(target, 20) == {f"t{index}" for index in range(20)}
            assert len(hangs.connections) == 2

            hangs.hold.set()
            assert await told_of(hangs, 18) <= theirs


async def test_a_token_of_the_gateway_goes_along(
    tmp_path_factory: pytest.TempPathFactory, target: Target
) -> None:
    settings: dict[str, Any] = {
        "BRIDGE_PUSH_TOKEN": "s3cret",
        "BRIDGE_PUSH_ALLOW": "127.0.0.1",
        "BRIDGE_PUSH_HEADER": "X-Worker-Token",
    }
    async with own_system(tmp_path_factory, **settings) as system:
        with contextlib.closing(Client(system.url)) as client:
            client("promise.create", targeted("t", target.url))
        pushed = await target.next()

    assert pushed.headers["x-worker-token"] == "Bearer s3cret"


async def test_a_gateway_that_does_not_push_leaves_it_to_others(
    tmp_path_factory: pytest.TempPathFactory, target: Target
) -> None:
    async with own_system(tmp_path_factory, BRIDGE_PUSH="0") as system:
        with contextlib.closing(Client(system.url)) as client:
            client("promise.create", targeted("t", target.url))
            assert client("task.get", {"id": "t"}).task == ("pending", 0, 0)
            assert target.pushed.empty()
            await asyncio.to_thread(system.add_gateway, BRIDGE_PUSH="1")

            assert (await target.next()).task == ("t", 0)
