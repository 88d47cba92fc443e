"""The shop's variant with a bus, as one program with a store process: both may be killed.

The numbers are those of the failure modes. Only a gateway in the same process can cancel, so that
there is no other one here.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.integration.apps.processes import PORT_0, PROGRAM, SECONDS_MAX, Process, Program
from tests.integration.apps.rehearsal import FOLDER, LONG, SHORT, Cues
from tests.integration.apps.split import ended, entries_of, until

ARGUMENTS = (
    "tests.integration.apps.rehearsal",
    *("apps", "apps", "--port", "0", "--shop", "bus"),
)
WINDOW = "waitForCancelOrTimeout"


class Bus:
    """The program, which may be killed and started again."""

    def __init__(self, directory: Path, store_database: str, application_database: str) -> None:
        self._directory = directory
        self._application_database = application_database
        self._stack = ExitStack()
        self._journal = directory / "attempts.jsonl"
        self.cues = Cues(directory / "cues")
        self._program: Process | None = None
        self.http = httpx.AsyncClient()
        store = Process("store", directory, LISTEN=PORT_0, DATABASE_URL=store_database)
        self._stack.callback(store.kill)
        self._store = store

    async def start(self) -> None:
        """Have the program run; give its gateway's client."""
        if self._program is None:
            store = (await self._store.logged("store_listening"))["address"]
            self._program = Process(
                PROGRAM,
                self._directory,
                Program(ARGUMENTS, {FOLDER: str(self._directory / "cues")}),
                RESONATE_URL=f"grpc://{store}",
                RESONATE_TTL="2",
                HOLDFAST_DB_DATABASE_URL=self._application_database,
                HOLDFAST_WORKER_ATTEMPTS_FILE=str(self._journal),
            )
            self._stack.callback(self._program.kill)
        address = (await self._program.logged("apps_started"))["address"]
        self.http = httpx.AsyncClient(base_url=f"http://{address}", timeout=SECONDS_MAX)

    async def restart(self) -> None:
        """Kill the program and start it again."""
        await self.http.aclose()
        assert self._program is not None, "it was started"
        self._program.kill()
        self.cues.clear()
        self._program = None
        await self.start()

    def close(self) -> None:
        self._stack.close()

    def entered(self, key: str) -> dict[str, int]:
        steps = [entry["step"] for entry in entries_of(self._journal, f"checkout/{key}")]
        return {step: steps.count(step) for step in steps}

    async def begun(self, key: str, step: str) -> None:
        await until(lambda: step in self.entered(key))

    async def buy(self, key: str, item: str = "widget-001") -> None:
        answer = await self.http.post(f"/buy/{key}", json={"itemId": item})
        assert answer.json() == {"status": "pending", "key": key}

    async def cancel(self, key: str, *, step: str = "cancelledPurchase") -> None:
        """Cancel as often as it needs: the step may be entered, and not yet listen."""
        async with asyncio.timeout(SECONDS_MAX):
            while step not in self.entered(key):
                answer = await self.http.post(f"/cancel/{key}")
                assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
                await asyncio.sleep(0.02)

    async def result(self, key: str) -> dict[str, Any]:
        found: dict[str, Any] = (await ended(self.http, f"/status/{key}"))["result"]
        return found


@pytest.fixture(scope="module")
def programs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Bus]]:
    """Start a program for each database when the first test asks, whatever their order."""
    started: dict[str, Bus] = {}

    def program_of(database: str) -> Bus:
        if database not in started:
            directory = tmp_path_factory.mktemp("bus")
            store, application = (f"sqlite:///{directory}/{name}.db" for name in ("store", "app"))
            if database == "postgres":
                server = request.getfixturevalue("lasting_postgres")
                store, application = (
                    server.create_database(),
                    server.create_database(template="template1"),
                )
            started[database] = Bus(directory, store, application)
        return started[database]

    yield program_of
    for program in started.values():
        program.close()


@pytest.fixture(params=["sqlite", "postgres"])
async def bus(request: pytest.FixtureRequest, programs: Callable[[str], Bus]) -> AsyncIterator[Bus]:
    bus = programs(request.param)
    bus.cues.clear()
    await bus.start()
    yield bus
    await bus.http.aclose()


@pytest.fixture
def long_key() -> str:
    return f"{LONG}{uuid4().hex}"


@pytest.fixture
def short_key() -> str:
    return f"{SHORT}{uuid4().hex}"


async def test_b1_a_program_that_is_killed_in_the_window_opens_it_anew(
    bus: Bus, short_key: str
) -> None:
    bus.cues.hold(WINDOW)
    await bus.buy(short_key)
    await bus.begun(short_key, WINDOW)

    await bus.restart()

    assert (await bus.result(short_key))["state"] == "PURCHASE_CONFIRMED"
    assert bus.entered(short_key) == {WINDOW: 2, "checkoutItem": 1, "db.createOrder": 1}


async def test_b2_a_decision_is_not_asked_again_when_the_program_is_killed(
    bus: Bus, long_key: str
) -> None:
    bus.cues.hold("cancelledPurchase")
    await bus.buy(long_key)
    await bus.begun(long_key, WINDOW)
    await bus.cancel(long_key)

    await bus.restart()

    assert (await bus.result(long_key))["state"] == "PURCHASE_CANCELLED"
    assert bus.entered(long_key) == {WINDOW: 1, "cancelledPurchase": 2, "db.releaseItem": 1}


async def test_b3_an_order_that_was_made_is_not_made_again_when_the_program_is_killed(
    bus: Bus, short_key: str
) -> None:
    bus.cues.hold("db.createOrder")
    await bus.buy(short_key)
    await bus.begun(short_key, "db.createOrder")

    await bus.restart()

    assert (await bus.result(short_key))["state"] == "PURCHASE_CONFIRMED"
    assert bus.entered(short_key) == {WINDOW: 1, "checkoutItem": 1, "db.createOrder": 2}


async def test_b4_the_first_item_of_a_key_wins(bus: Bus, short_key: str) -> None:
    await bus.buy(short_key, "first")
    await asyncio.gather(*(bus.buy(short_key, "other") for _ in range(5)))

    assert (await bus.result(short_key))["itemId"] == "first"
    assert bus.entered(short_key)["checkoutItem"] == 1


async def test_b5_a_cancellation_after_the_window_changes_nothing(bus: Bus, short_key: str) -> None:
    await bus.buy(short_key)
    confirmed = await bus.result(short_key)

    answer = await bus.http.post(f"/cancel/{short_key}")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert confirmed["state"] == "PURCHASE_CONFIRMED"
    assert await bus.result(short_key) == confirmed


async def test_b6_an_unknown_purchase_is_not_found(bus: Bus, long_key: str) -> None:
    answer = await bus.http.get(f"/status/{long_key}")

    assert (answer.status_code, answer.json()) == (404, {"status": "not_found"})


async def test_b7_a_purchase_that_is_cancelled_in_time_is_cancelled_at_once(
    bus: Bus, long_key: str
) -> None:
    """Its window has a minute, for which the test does not wait."""
    await bus.buy(long_key)
    await bus.begun(long_key, WINDOW)

    await bus.cancel(long_key)

    found = await bus.result(long_key)
    assert found == {"state": "PURCHASE_CANCELLED", "itemId": "widget-001"}
    assert bus.entered(long_key) == {WINDOW: 1, "cancelledPurchase": 1, "db.releaseItem": 1}


async def test_b8_a_cancelled_key_stays_cancelled(bus: Bus, long_key: str) -> None:
    await bus.buy(long_key)
    await bus.cancel(long_key)
    before = await bus.result(long_key)

    await bus.buy(long_key)

    assert await bus.result(long_key) == before
    assert bus.entered(long_key)["cancelledPurchase"] == 1


async def test_b9_a_cancellation_before_its_purchase_is_lost(bus: Bus, short_key: str) -> None:
    await bus.http.post(f"/cancel/{short_key}")
    await bus.buy(short_key)

    assert (await bus.result(short_key))["state"] == "PURCHASE_CONFIRMED"


async def test_b11_a_purchase_is_confirmed_when_its_five_seconds_are_over(bus: Bus) -> None:
    """By the store's clock; the key is one of neither kind, so that the window is as it is."""
    key = f"real-{uuid4().hex}"
    await bus.buy(key)

    assert (await bus.result(key))["state"] == "PURCHASE_CONFIRMED"
    record = (await bus.http.get(f"/v1/promises/checkout%2F{key}")).json()
    assert record["settledAtMs"] - record["createdAtMs"] >= 5_000
