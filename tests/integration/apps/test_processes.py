"""The commands of gateway, worker and db worker as real processes."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from holdfast import PromiseNotFound, Resonate
from holdfast.rpc.admin import Admin
from holdfast_cli.demo.journal import Journal
from tests.integration.apps.processes import PORT_0, SECONDS_MAX, Start, get_until

NOWHERE = "grpc://127.0.0.1:1"
SERVICES = ("gateway", "worker", "db")
ORDER = {
    "id": "ord-1",
    "items": [{"sku": "mug", "qty": 1, "price": 5}],
    "customer": {"id": "c", "email": "ada@example.com"},
}


async def waits_for_approval(store_url: str, job: str) -> None:
    """Return when a job waits for its approval."""
    async with asyncio.timeout(SECONDS_MAX), Resonate(store_url, env={}) as resonate:
        while True:
            try:
                await resonate.promises.get(f"approve/{job}")
            except PromiseNotFound:
                await asyncio.sleep(0.02)
            else:
                return


async def test_an_order_and_a_job_travel_through_all_processes(
    start: Start, store_url: str, tmp_path: Path
) -> None:
    attempts = str(tmp_path / "attempts.jsonl")
    worker = start("worker", STORE_URL=store_url, ATTEMPTS_FILE=attempts)
    db = start("db", STORE_URL=store_url, ATTEMPTS_FILE=attempts)
    gateway = start("gateway", STORE_URL=store_url, LISTEN=PORT_0, BRIDGE_LISTEN=PORT_0)
    for process in (worker, db, gateway):
        await process.ready()
    started = await gateway.logged("gateway_started")

    async with httpx.AsyncClient(base_url=f"http://{started['address']}") as http:
        accepted = await http.post("/orders", json=ORDER)
        status = await get_until(http, "/orders/ord-1/status", lambda answer: "done" in answer.text)
        job = (await http.post("/jobs", json={"accountId": "acct-1"})).json()["id"]
        approval = {"promiseId": f"approve/{job}", "approved": True}
        await waits_for_approval(store_url, job)
        approved = await http.post("/webhooks/approval", json=approval)
        ended = await http.get(f"/jobs/{job}", params={"wait": "20"})
        bridge = await http.get(f"http://{started['bridge_address']}/promises/x")
        bridge_health = await http.get(f"http://{started['bridge_address']}/health")

    assert (accepted.status_code, approved.status_code) == (202, 204)
    assert status.json()["result"]["total"] == 5
    assert ended.json()["status"] == "done"
    assert bridge.status_code == 410
    assert bridge_health.status_code == 200
    entries = [json.loads(line) for line in (tmp_path / "attempts.jsonl").read_text().splitlines()]
    assert [
        (entry["step"], entry["process"], entry["os_pid"])
        for entry in entries
        if entry["origin"] == "order/ord-1"
    ] == [
        ("validateOrder", "worker", worker.popen.pid),
        ("reserveInventory", "db", db.popen.pid),
        ("chargePayment", "worker", worker.popen.pid),
        ("db.recordCharge", "db", db.popen.pid),
        ("sendConfirmation", "worker", worker.popen.pid),
    ]
    assert any(
        event["event"].startswith("[email]      order ord-1 — confirmation sent")
        for event in worker.events()
    )
    for process in (gateway, worker, db):
        process.popen.send_signal(signal.SIGTERM)
    assert [await process.exit_code() for process in (gateway, worker, db)] == [0, 0, 0]
    assert not [
        event
        for process in (gateway, worker, db)
        for event in process.events()
        if event["level"] in {"warning", "error"} and event["event"] != "authentication_off"
    ]


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_without_a_store_runs_is_not_ready_and_stops_when_told(
    start: Start, service: str
) -> None:
    listens = {"LISTEN": PORT_0, "BRIDGE_LISTEN": PORT_0} if service == "gateway" else {}
    process = start(service, STORE_URL=NOWHERE, **listens)
    address = (await process.logged("metrics_listening"))["address"]
    await process.logged(
        {"gateway": "gateway_started", "worker": "worker_started", "db": "db_worker_started"}[
            service
        ]
    )

    async with httpx.AsyncClient(base_url=f"http://{address}") as http:
        health = await http.get("/health")
        ready = await http.get("/ready")
        metrics = await http.get("/metrics")
    process.popen.send_signal(signal.SIGTERM)

    assert health.status_code == 200
    assert ready.status_code == 503
    assert ready.json()["reasons"] == {"store": "The promise store cannot be reached."}
    assert f'component="{service}"' in metrics.text
    assert await process.exit_code() == 0


async def test_processes_are_known_by_the_pids_that_they_were_given(
    start: Start, store_url: str
) -> None:
    worker = start("worker", STORE_URL=store_url, PID="worker-7d9f-x2x4l")
    db = start("db", STORE_URL=store_url, PID="db-0")
    for process in (worker, db):
        await process.ready()

    async with Admin(store_url) as admin:
        members = {member.pid: member.groups for member in await admin.list_members()}

    assert members == {"worker-7d9f-x2x4l": ("workers", "worker"), "db-0": ("db",)}
    assert (await worker.logged("worker_started"))["pid"] == "worker-7d9f-x2x4l"


async def test_of_two_processes_with_one_pid_the_older_one_says_so_and_nothing_is_lost(
    start: Start, store_url: str, tmp_path: Path
) -> None:
    """A mistake of whoever deploys them; the order is in the older one's hands when it happens."""
    file = tmp_path / "attempts.jsonl"
    common = {"STORE_URL": store_url, "PID": "twin", "LEASE_TTL_MS": "1000"}
    first_log = tmp_path / "first"
    first_log.mkdir()
    older = start("worker", **common, STEP_DELAY_MS="600000", ATTEMPTS_FILE=str(file))
    older.log = older.log.rename(first_log / "worker.log")
    start("db", STORE_URL=store_url)
    await older.ready()
    async with Resonate(store_url, env={}) as resonate:
        handle = await resonate.options(target="workers").begin_rpc(
            "order/ord-1", "processOrder", ORDER
        )
        await asyncio.wait_for(Journal(file).begun("validateOrder"), SECONDS_MAX)

        newer = start("worker", **common)
        replaced = await older.logged("member_replaced")
        result = await handle.result(timeout=SECONDS_MAX)

    assert result["total"] == 5
    assert (replaced["level"], replaced["pid"]) == ("error", "twin")
    address = (await older.logged("metrics_listening"))["address"]
    async with httpx.AsyncClient() as http:
        ready = await http.get(f"http://{address}/ready")
    assert ready.status_code == 503
    assert (
        "another process has joined the store with this process's pid"
        in (ready.json()["reasons"]["store"])
    )
    assert newer.popen.poll() is None
    older.popen.send_signal(signal.SIGTERM)
    assert await older.exit_code() == 0


async def test_a_stopping_gateway_ends_waiting_requests_with_an_answer(
    start: Start, store_url: str
) -> None:
    gateway = start("gateway", STORE_URL=store_url, LISTEN=PORT_0, BRIDGE_LISTEN=PORT_0)
    await gateway.ready()
    address = (await gateway.logged("gateway_started"))["address"]
    metrics_address = (await gateway.logged("metrics_listening"))["address"]

    async with httpx.AsyncClient(base_url=f"http://{address}", timeout=SECONDS_MAX) as http:
        job = (await http.post("/jobs", json={"accountId": "acct-1"})).json()["id"]
        waiting = asyncio.create_task(http.get(f"/jobs/{job}", params={"wait": "60"}))
        await get_until(
            http,
            f"http://{metrics_address}/metrics",
            lambda answer: "holdfast_gateway_waits_in_flight 1.0" in answer.text,
        )
        gateway.popen.send_signal(signal.SIGTERM)
        answer = await waiting

    assert answer.json() == {"id": job, "status": "processing"}
    assert await gateway.exit_code() == 0


@pytest.mark.parametrize(
    ("service", "settings", "code", "sentence"),
    [
        ("gateway", {"ORDERS_SIMULATE": "1"}, 2, "the nearest one is HOLDFAST_GATEWAY_ORDERS_"),
        ("gateway", {"STORE_URL": "http://x"}, 2, "HOLDFAST_GATEWAY_STORE_URL is not usable"),
        ("gateway", {"STORE_URL": ""}, 2, "must not be empty"),
        ("gateway", {"APPS_PREFIX": "apps"}, 2, "must be empty or begin with a slash"),
        ("gateway", {"WAIT_SECONDS_MAX": "soon"}, 2, "must be a number"),
        ("gateway", {"LISTEN": "192.0.2.1:1"}, 1, "cannot be listened on"),
        ("gateway", {"METRICS_LISTEN": "192.0.2.1:1"}, 1, "cannot be listened on"),
        ("worker", {"STORE_URL": "http://x"}, 2, "HOLDFAST_WORKER_STORE_URL is not usable"),
        ("worker", {"MODULES": "no.such"}, 1, "The module no.such cannot be imported"),
        ("worker", {"MODULES": "json"}, 1, "The module json has no function register(resonate)"),
        ("worker", {"ATTEMPTS_FILE": "/nowhere/x"}, 1, "cannot be opened: No such file"),
        ("worker", {"STEP_DELAY_MS": "-1"}, 2, "must be a whole number"),
        ("worker", {"PID": "a pod"}, 2, "must not contain white space, / or %"),
        ("worker", {"PID": ""}, 2, "must not be empty"),
        ("worker", {"GROUP": "a/b"}, 2, "must not contain white space, / or %"),
        ("db", {"PID": "x" * 256}, 2, "must have at most 255 bytes"),
        ("worker", {"METRICS_LISTEN": "192.0.2.1:1"}, 1, "cannot be listened on"),
        ("db", {"DATABASE_URL": "mysql://x/y"}, 2, "needs the driver 'MySQLdb'"),
        (
            "db",
            {"DATABASE_URL": "postgresql:///y?host=/nowhere"},
            1,
            "The database does not answer",
        ),
        ("db", {"DATABASE_URL": "nonsense"}, 2, "HOLDFAST_DB_DATABASE_URL is not usable"),
        ("db", {"DATABASE_URL": "sqlite:////nowhere/x.db"}, 1, "The database does not answer"),
        ("db", {"STORE_URL": "http://x"}, 2, "HOLDFAST_DB_STORE_URL is not usable"),
        ("db", {"ATTEMPTS_FILE": "/nowhere/x"}, 1, "cannot be opened: No such file"),
        ("db", {"METRICS_LISTEN": "192.0.2.1:1"}, 1, "cannot be listened on"),
    ],
)
async def test_a_service_that_cannot_start_says_why(
    start: Start, service: str, settings: dict[str, str], code: int, sentence: str
) -> None:
    defaults = {"LISTEN": PORT_0, "BRIDGE_LISTEN": PORT_0} if service == "gateway" else {}

    process = start(service, **{"STORE_URL": NOWHERE, **defaults, **settings})

    assert await process.exit_code() == code
    text = process.log.read_text()
    assert sentence in text
    assert "Traceback" not in text


async def test_passwords_are_not_shown(tmp_path: Path) -> None:
    url = "postgresql://ada:secret@db/app"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "holdfast_db", "serve", "--print-config", "--database-url", url),
        stdout=subprocess.PIPE,
        cwd=tmp_path,
    )

    shown, _ = await process.communicate()

    assert json.loads(shown)["database_url"] == "postgresql://ada:***@db/app"
