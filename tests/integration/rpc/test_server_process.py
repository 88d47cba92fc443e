"""`python -m holdfast_store` as a process: start, stop, kill, and what is there afterwards."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from holdfast import errors
from holdfast.core.records import Promise, PromiseState
from holdfast.core.requests import (
    Done,
    PromiseCreate,
    PromiseGet,
    PromiseSettle,
    Request,
    TaskFulfill,
)
from tests.integration.rpc.set_clock_main import AHEAD
from tests.integration.rpc.support import FAR_MS, RawStream, join, member, targeted, until

READY_S = 30.0
HOUR_MS = 3_600_000
SET_BACK = "clock_set_back"


async def start(*arguments: str, module: str = "holdfast_store", **settings: str) -> Process:
    environment = {key: value for key, value in os.environ.items() if "HOLDFAST" not in key}
    variables = {f"HOLDFAST_STORE_{key.upper()}": value for key, value in settings.items()}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        env=environment | variables,
        stdout=PIPE,
        stderr=PIPE,
    )


class Store:
    """A store process that listens."""

    def __init__(self, process: Process, addresses: dict[str, str], lines: list[bytes]) -> None:
        self.process = process
        self.log = b"".join(lines).decode()
        """What it said until it was ready."""
        self.target = addresses["store_listening"]
        self.metrics = addresses["metrics_listening"]

    @property
    def url(self) -> str:
        return f"grpc://{self.target}"

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code: int = await until(self.process.wait(), 20)
        return code

    async def kill(self) -> None:
        self.process.kill()
        await until(self.process.wait())


@contextlib.asynccontextmanager
async def running(
    database: str, *, module: str = "holdfast_store", **settings: str
) -> AsyncIterator[Store]:
    listen = {"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0"} | settings
    process = await start("serve", module=module, database_url=database, **listen)
    assert process.stderr is not None
    addresses: dict[str, str] = {}
    lines: list[bytes] = []
    async with asyncio.timeout(READY_S):
        while "ready" not in addresses:
            line = await process.stderr.readline()
            assert line, b"".join(lines).decode()
            lines.append(line)
            event = json.loads(line)
            if event["event"] == "readiness_changed":
                addresses["ready"] = "yes"
            elif "address" in event:
                addresses[event["event"]] = event["address"]
    logs = asyncio.create_task(process.stderr.read())
    try:
        yield Store(process, addresses, lines)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await logs


async def get(address: str, path: str) -> tuple[int, str]:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split(" ")[1]), body


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'store.db'}"


async def test_every_acknowledged_write_is_there_after_a_kill(tmp_path: Path) -> None:
    """Chains are in flight when the process dies; what was answered must be found again."""
    acknowledged: list[str] = []
    async with running(url_of(tmp_path)) as store, join(store.url) as (client, _):
        enough = asyncio.Event()

        async def work(worker: int) -> None:
            for number in range(100_000):
                name = f"{worker}.{number}"
                chain: list[Request] = [
                    PromiseCreate(id=name, timeout_at_ms=FAR_MS),
                    PromiseSettle(id=name, state=PromiseState.RESOLVED),
                ]
                answer = await client.submit(chain, timeout=2)
                assert all(isinstance(outcome, Done) for outcome in answer.outcomes)
                acknowledged.append(name)
                if len(acknowledged) >= 500:
                    enough.set()

        workers = [asyncio.create_task(work(number)) for number in range(32)]
        await until(enough.wait(), 30)
        await store.kill()
        results = await asyncio.gather(*workers, return_exceptions=True)
        assert all(isinstance(result, errors.ServerUnavailable) for result in results)

    async with running(url_of(tmp_path)) as store, join(store.url) as (client, _):
        reads = [client.submit([PromiseGet(id=name)]) for name in acknowledged]
        answers = await until(asyncio.gather(*reads), 30)

    states = {
        outcome.promise.state
        for answer in answers
        for outcome in answer.outcomes
        if isinstance(outcome, Done) and outcome.promise is not None
    }
    assert len(answers) >= 500
    assert all(isinstance(answer.outcomes[0], Done) for answer in answers)
    assert states == {PromiseState.RESOLVED}


async def test_a_store_whose_clock_was_set_back_goes_on_where_the_killed_one_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deadline that was told to have passed has passed, and what is new is not older."""
    seen: list[Promise] = []
    log = ""
    for name, ahead_ms in (("before", 0), ("after", -HOUR_MS)):
        monkeypatch.setenv(AHEAD, str(ahead_ms))
        async with (
            running(url_of(tmp_path), module="tests.integration.rpc.set_clock_main") as store,
            join(store.url) as (client, _),
        ):
            answer = await client.submit(
                [
                    PromiseCreate(id="short", timeout_at_ms=int(time.time() * 1000)),
                    PromiseCreate(id=name, timeout_at_ms=FAR_MS),
                ]
            )
            log = store.log
            await store.kill()
        assert all(isinstance(each, Done) for each in answer.outcomes)
        seen += [
            each.promise for each in answer.outcomes if isinstance(each, Done) and each.promise
        ]

    short, before, again, after = seen
    assert short == again
    assert short.state is PromiseState.REJECTED_TIMEDOUT
    assert after.created_at_ms >= before.created_at_ms
    [told] = [each for each in map(json.loads, log.splitlines()) if each["event"] == SET_BACK]
    assert told["behind_ms"] == pytest.approx(HOUR_MS, abs=60_000)


async def test_clients_ride_over_a_kill_and_a_restart(tmp_path: Path) -> None:
    """The same port again: what had no answer is sent again, and twice does no more than once."""
    async with (
        running(url_of(tmp_path)) as first,
        join(first.url, member(groups=())) as (client, mailbox),
    ):
        asked = [
            client.submit([PromiseCreate(id=str(number), timeout_at_ms=FAR_MS)])
            for number in range(300)
        ]
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        later = [
            client.submit([PromiseCreate(id=f"l{number}", timeout_at_ms=FAR_MS)])
            for number in range(300)
        ]
        await first.kill()
        async with running(url_of(tmp_path), listen=first.target):
            answers = await until(asyncio.gather(*asked, *later), 30)

            assert mailbox.connections == 2
    outcomes = [answer.outcomes[0] for answer in answers]
    assert all(isinstance(outcome, Done) for outcome in outcomes)


async def test_a_termination_lets_members_leave_and_exits_0(tmp_path: Path) -> None:
    async with running(url_of(tmp_path)) as store, join(store.url) as (client, mailbox):
        asked = [
            client.submit([PromiseCreate(id=str(number), timeout_at_ms=FAR_MS)])
            for number in range(200)
        ]
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)

        code = await store.stop()
        await until(mailbox.disconnected.wait())

        done = [each for each in asked if each.done()]
        assert code == 0
        assert all(isinstance(each.result().outcomes[0], Done) for each in done)


async def test_a_member_that_ignores_the_drain_does_not_hold_the_process(tmp_path: Path) -> None:
    async with (
        running(url_of(tmp_path), drain_ms="200") as store,
        grpc.aio.insecure_channel(store.target) as channel,
    ):
        stream = RawStream(channel)
        await stream.hello("stubborn")

        stopping = asyncio.create_task(store.stop())
        message = await until(stream.read())
        error = await until(stream.fails())

        assert message.draining
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert await stopping == 0


async def test_a_lease_survives_the_restart_of_its_store(tmp_path: Path) -> None:
    """The store closed the stream, so that the member keeps what it had."""
    async with running(url_of(tmp_path)) as first, join(first.url) as (client, mailbox):
        await client.submit([targeted("t")])
        push = await until(mailbox.tasks.get())
        assert await first.stop() == 0
        async with running(url_of(tmp_path), listen=first.target):
            settle = PromiseSettle(id="t", state=PromiseState.RESOLVED)
            fulfill = TaskFulfill(id="t", version=push.task.version, action=settle)
            answer = await until(client.submit([fulfill]), 30)

    assert isinstance(answer.outcomes[0], Done)


async def test_health_readiness_and_metrics_are_served(tmp_path: Path) -> None:
    async with running(url_of(tmp_path)) as store, join(store.url) as (client, _):
        await client.submit([PromiseCreate(id="a", timeout_at_ms=FAR_MS)])

        async with grpc.aio.insecure_channel(store.target) as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            serving = await health.Check(health_pb2.HealthCheckRequest())
        alive = await get(store.metrics, "/health")
        ready = await get(store.metrics, "/ready")
        _, metrics = await get(store.metrics, "/metrics")

    assert serving.status == health_pb2.HealthCheckResponse.SERVING
    assert (alive[0], ready[0]) == (200, 200)
    assert 'holdfast_store_requests_total{operation="promise.create",status="200"} 1.0' in metrics
    assert 'resonate_request_total{kind="promise.create",status="200"} 1.0' in metrics
    assert "holdfast_store_members 1.0" in metrics
    assert 'holdfast_build_info{component="' in metrics


@pytest.mark.parametrize(
    ("arguments", "settings", "code", "words"),
    [
        (["check"], {"database_url": "memory:"}, 2, "memory: keeps nothing"),
        (["export"], {}, 2, "the following arguments are required: FILE"),
        (["serve"], {"lisen": "x"}, 2, "the nearest one is HOLDFAST_STORE_LISTEN"),
        (["serve"], {"value_bytes_max": "9999999"}, 2, "whole number from 1024 to 1966080"),
        (["serve"], {"stream_grace_ms": "x"}, 2, "from 0 to 3600000, or off"),
        (["serve"], {"database_url": "mysql://x"}, 2, "HOLDFAST_STORE_DATABASE_URL is not usable"),
        (["migrate"], {"database_url": "nothing"}, 2, "HOLDFAST_STORE_DATABASE_URL is not usable"),
        (["migrate"], {"database_url": "sqlite:////no/folder/x.db"}, 1, "was not migrated"),
        (["serve"], {"database_url": "sqlite:////no/folder/x.db"}, 1, "cannot be used"),
    ],
)
async def test_a_store_that_cannot_start_says_why_in_one_sentence(
    arguments: list[str], settings: dict[str, str], code: int, words: str
) -> None:
    process = await start(*arguments, **settings)

    _, output = await until(process.communicate(), 30)

    assert process.returncode == code
    assert words in output.decode()
    assert "Traceback" not in output.decode()


async def test_two_stores_cannot_share_an_address(tmp_path: Path) -> None:
    async with running(url_of(tmp_path)) as store:
        process = await start(
            "serve",
            database_url="memory:",
            listen=store.target,
            metrics_listen="127.0.0.1:0",
        )
        _, output = await until(process.communicate(), 30)

    assert process.returncode == 1
    assert f"The address {store.target} cannot be had" in output.decode()


async def test_a_database_is_migrated_by_a_command(tmp_path: Path) -> None:
    process = await start("migrate", database_url=url_of(tmp_path))

    _, output = await until(process.communicate(), 30)

    assert process.returncode == 0, output.decode()
    assert (tmp_path / "store.db").exists()


async def test_the_settings_are_printed(tmp_path: Path) -> None:
    process = await start("--print-config", stream_grace_ms="off")

    output, _ = await until(process.communicate(), 30)

    shown = json.loads(output)
    assert shown["stream_grace_ms"] is None
    assert shown["listen"] == "127.0.0.1:50051"
