"""`holdfast apps`: one program, unmodified, without a server and with one."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.apps.processes import PORT_0, SECONDS_MAX, Process, Start, get_until
from tests.integration.apps.processes import Program as Rehearsed
from tests.integration.apps.rehearsal import FOLDER, Cues

pytestmark = pytest.mark.timeout(120)

ORDER = {
    "id": "ord-1",
    "items": [{"sku": "mug", "qty": 2, "price": 2999}, {"sku": "pen", "qty": 1, "price": 999}],
    "customer": {"id": "c", "email": "ada@example.com"},
}
ARGUMENTS = ("tests.integration.apps.rehearsal", "apps", "apps", "--port", "0")
"""The program itself, with a world outside in which a test may hold a step."""
ENDED = ("/orders/ord-1/status", "/api/status/{report}", "/status/buy-1", "/wait?id=one")


class Program:
    """The program, which may be killed and started again with the same settings."""

    def __init__(self, start: Start, program: Rehearsed | None = None, /, **settings: str) -> None:
        self._start = start
        self._program = program
        self._settings = settings
        self.process: Process

    async def begin(self) -> httpx.AsyncClient:
        self.process = self._start("apps", self._program, **self._settings)
        address = (await self.process.logged("apps_started"))["address"]
        return httpx.AsyncClient(base_url=f"http://{address}", timeout=SECONDS_MAX)


async def begin_all(http: httpx.AsyncClient) -> str:
    """Begin something in each application; return the id of the report."""
    assert (await http.post("/orders", json=ORDER)).status_code == 202
    assert (await http.post("/buy/buy-1", json={"itemId": "mug"})).status_code == 200
    assert (await http.post("/begin?id=one", json={"n": 1})).status_code == 200
    report = await http.post("/api/reports", data={"type": "inventory", "period": "2025-Q3"})
    return str(report.json()["id"])


async def results_of_all(http: httpx.AsyncClient, report: str) -> list[dict[str, Any]]:
    """Return what each application came to, without what differs from run to run."""
    results = []
    for url in ENDED:
        answer = await get_until(
            http,
            url.format(report=report),
            lambda answer: "processing" not in answer.text and "pending" not in answer.text,
        )
        result = answer.json()["result"]
        for varying in ("reportId", "rowCount", "fileUrl", "completedAt", "orderId", "timestamp"):
            result.pop(varying, None)
        results.append(result)
    return results


RESULTS = [
    {
        "inventoryReserved": True,
        "paymentCharged": True,
        "confirmationSent": True,
        "total": 6997,
    },
    {"type": "inventory", "period": "2025-Q3"},
    {"state": "PURCHASE_CONFIRMED", "itemId": "mug"},
    {"result": 'Processed: {"n":1}'},
]


def entered(journal: Path) -> Counter[str]:
    lines = journal.read_text().splitlines()
    return Counter(json.loads(line)["step"] for line in lines)


async def test_x1_without_a_server_everything_is_done_in_one_process(start: Start) -> None:
    program = Program(start)

    async with await program.begin() as http:
        results = await results_of_all(http, await begin_all(http))

    assert results == RESULTS


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_x1_with_a_server_what_was_killed_in_the_middle_finishes_what_it_had_begun(
    request: pytest.FixtureRequest, start: Start, tmp_path: Path, kind: str
) -> None:
    database = f"sqlite:///{tmp_path}/store.db"
    if kind == "postgres":
        database = request.getfixturevalue("postgres_url")

    await finish_after_a_kill(start, tmp_path, RESONATE_URL=await start_store(start, database))


async def test_r5b_and_x1_with_a_file_what_was_killed_in_the_middle_finishes_what_it_had_begun(
    start: Start, tmp_path: Path
) -> None:
    await finish_after_a_kill(start, tmp_path, RESONATE_EMBEDDED=str(tmp_path / "embedded.db"))


async def finish_after_a_kill(start: Start, tmp_path: Path, **where: str) -> None:
    journal = tmp_path / "attempts.jsonl"
    cues = Cues(tmp_path / "cues")
    cues.hold("chargePayment")
    rehearsed = Rehearsed(ARGUMENTS, {FOLDER: str(tmp_path / "cues")})
    given = {"HOLDFAST_WORKER_ATTEMPTS_FILE": str(journal), "RESONATE_TTL": "2", **where}
    program = Program(start, rehearsed, **given)
    async with await program.begin() as http:
        report = await begin_all(http)
        await get_until(http, "/health", lambda _: _has_begun(journal, "chargePayment"))
    program.process.kill()
    before = entered(journal)
    cues.clear()

    async with await program.begin() as http:
        results = await results_of_all(http, report)

    assert results == RESULTS
    after = entered(journal)
    assert before["validateOrder"] == after["validateOrder"] == 1
    assert before["reserveInventory"] == after["reserveInventory"] == 1
    assert (before["chargePayment"], after["chargePayment"]) == (1, 2)
    assert after["checkoutItem"] == 1


def _has_begun(journal: Path, step: str) -> bool:
    return journal.exists() and bool(entered(journal)[step])


async def start_store(start: Start, database: str) -> str:
    """Start a store; return its address."""
    store = start("store", LISTEN=PORT_0, DATABASE_URL=database)
    await store.ready()
    return f"grpc://{(await store.logged('store_listening'))['address']}"


async def test_r5b_what_was_in_memory_only_is_forgotten(start: Start) -> None:
    program = Program(start)
    async with await program.begin() as http:
        report = (await http.post("/api/reports", data={})).json()["id"]
        known = await http.get(f"/api/status/{report}")
    program.process.kill()

    async with await program.begin() as http:
        forgotten = await http.get(f"/api/status/{report}")

    assert known.status_code == 200
    assert (forgotten.status_code, forgotten.json()) == (404, {"status": "not_found"})


@pytest.mark.parametrize(
    ("settings", "code", "sentence"),
    [
        ({"RESONATE_URL": "http://127.0.0.1:1"}, 2, "grpc://"),
        ({"HOLDFAST_GATEWAY_APPS_PREFIX": "apps"}, 2, "must be empty or begin with a slash"),
        ({"HOLDFAST_DB_DATABASE_URL": "nonsense"}, 1, "The database URL is not understood"),
        ({"HOLDFAST_WORKER_ATTEMPTS_FILE": "/nowhere/x"}, 1, "No such file"),
    ],
)
async def test_a_program_that_cannot_start_says_why(
    start: Start, settings: dict[str, str], code: int, sentence: str
) -> None:
    process = start("apps", **settings)

    assert await process.exit_code() == code
    text = process.log.read_text()
    assert sentence in text
    assert "Traceback" not in text
