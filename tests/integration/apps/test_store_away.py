"""A store that is killed: what is refused meanwhile, and what goes on afterwards."""

import asyncio
from pathlib import Path

import httpx
import pytest

from tests.integration.apps.processes import PORT_0, SECONDS_MAX, Start, get_until

ORDER = {
    "id": "during",
    "items": [{"sku": "mug", "qty": 1, "price": 5}],
    "customer": {"id": "c", "email": "ada@example.com"},
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_o10_a10_b12_and_r7b_without_a_store_nothing_is_accepted_and_nothing_is_lost(
    request: pytest.FixtureRequest, start: Start, tmp_path: Path, unused_tcp_port: int, kind: str
) -> None:
    listen = f"127.0.0.1:{unused_tcp_port}"
    database = f"sqlite:///{tmp_path}/store.db"
    if kind == "postgres":
        database = request.getfixturevalue("postgres_url")
    store = start("store", LISTEN=listen, DATABASE_URL=database)
    await store.ready()
    gateway = start(
        "gateway",
        STORE_URL=f"grpc://{listen}",
        LISTEN=PORT_0,
        BRIDGE_LISTEN=PORT_0,
        STORE_SECONDS="3",
    )
    await gateway.ready()
    address = (await gateway.logged("gateway_started"))["address"]
    async with httpx.AsyncClient(base_url=f"http://{address}", timeout=SECONDS_MAX) as http:
        before = await http.post("/begin?id=before")
        store.kill()

        refused = await asyncio.gather(
            http.post("/begin?id=during"),
            http.get("/wait?id=before"),
            http.post("/orders", json=ORDER),
            http.post("/api/reports", data={}),
            http.get("/api/status/rpt_1"),
            http.get("/reports/rpt_1.csv"),
            http.post("/buy/during"),
            http.post("/cancel/during"),
            http.get("/status/during"),
        )

        start("store", LISTEN=listen, DATABASE_URL=database)
        start("worker", STORE_URL=f"grpc://{listen}")
        await get_until(http, "/ready", lambda answer: answer.is_success)
        ended = await get_until(http, "/wait?id=before", lambda answer: "resolved" in answer.text)
        unknown = [
            await http.get("/wait?id=during"),
            await http.get("/orders/during/status"),
            await http.get("/status/during"),
        ]

    assert before.status_code == ended.status_code == 200
    assert [answer.status_code for answer in refused] == [503] * len(refused)
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    assert refused[0].json()["error"].startswith("failed_to_begin: The promise store cannot be")
    assert [answer.status_code for answer in unknown] == [404] * len(unknown)
