"""The process `holdfast-operator`: how it starts, how it ends, and what it says of itself."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

from holdfast_operator.__main__ import HANGS_S
from holdfast_operator.control import clock_ms
from tests.integration.operator.conftest import Operated, kubeconfig
from tests.integration.operator.fake_api import NAMESPACE, FakeApi
from tests.integration.operator.test_scaling import create
from tests.integration.rpc.support import Served, until


async def start(**environ: str) -> asyncio.subprocess.Process:
    """Start the operator with only these settings."""
    kept = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "holdfast_operator", "serve"),
        env={**kept, "HOLDFAST_OPERATOR_METRICS_LISTEN": "127.0.0.1:0", **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str]:
    """Wait for the end; tell the exit code and what was said."""
    _output, errors = await until(process.communicate(), seconds=40)
    assert process.returncode is not None
    return process.returncode, errors.decode()


async def event(process: asyncio.subprocess.Process, name: str) -> Mapping[str, str]:
    """Read what is logged up to an event."""
    assert process.stderr is not None
    while line := await until(process.stderr.readline(), seconds=40):
        found: Mapping[str, str] = json.loads(line)
        if found["event"] == name:
            return found
    raise AssertionError(f"the operator ended without {name}")


async def test_it_serves_the_namespace_of_the_kubeconfig_and_ends_when_asked(
    api: FakeApi, store: Served, tmp_path: Path
) -> None:
    await api.deployment()
    await api.worker_group()
    await create(store, "a")
    path = kubeconfig(tmp_path / "other", api.url, namespace=NAMESPACE)

    process = await start(KUBECONFIG=str(path), HOLDFAST_OPERATOR_STORE_URL=store.url)
    listening = await event(process, "metrics_listening")
    started = await event(process, "operator_started")
    await api.wait_for(lambda: api.reason() == "Scaled")
    async with httpx.AsyncClient(base_url=f"http://{listening['address']}") as client:
        health = await client.get("/health")
        ready = await client.get("/ready")
        metrics = (await client.get("/metrics")).text
    process.terminate()
    code, _said = await ended(process)

    assert started["namespace"] == NAMESPACE
    assert (health.status_code, ready.status_code) == (200, 200)
    assert 'holdfast_operator_scalings_total{direction="up",worker_group="w"} 1.0' in metrics
    assert 'holdfast_operator_replicas{worker_group="w"}' in metrics
    assert "holdfast_operator_store_reachable 1.0" in metrics
    assert code == 0


async def test_without_a_cluster_it_says_where_it_looked() -> None:
    code, said = await ended(await start())

    assert code == 1
    assert "There is no cluster to work for: there is neither a pod's service account" in said


async def test_a_broken_kubeconfig_is_named(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text("current-context: nobody")

    code, said = await ended(await start(KUBECONFIG=str(path)))

    assert code == 1
    assert "the kubeconfig cannot be used" in said


async def test_a_bad_store_url_is_refused_at_once() -> None:
    code, said = await ended(await start(HOLDFAST_OPERATOR_STORE_URL="http://store"))

    assert code == 2
    assert "HOLDFAST_OPERATOR_STORE_URL is not usable" in said


async def test_a_loop_that_hangs_makes_the_process_not_alive(
    api: FakeApi, operated: Operated
) -> None:
    async with operated() as operator:
        await api.wait_for(lambda: api.watches == 2)
        assert operator.not_alive() == {}
        operator.control.turned_at_ms = clock_ms() - int(HANGS_S * 1_000) - 1_000
        operator.eyes._beat_at -= HANGS_S + 1
        assert set(operator.not_alive()) == {"control", "watch"}


async def test_a_loop_that_turns_again_is_alive_again(api: FakeApi, operated: Operated) -> None:
    async with operated() as operator:
        await api.wait_for(lambda: api.watches == 2)
        operator.eyes._beat_at -= HANGS_S + 1
        operator.eyes.ping()
        async with asyncio.timeout(10):
            while operator.not_alive():  # noqa: ASYNC110 - kopf's thread answers, not this loop
                await asyncio.sleep(0.02)


async def test_two_operators_at_once_do_not_fight(
    api: FakeApi, store: Served, operated: Operated
) -> None:
    """The chart never runs two; a rollout by hand may. Each write names what it saw."""
    await api.deployment()
    await api.worker_group(stabilizationSeconds=3_600)

    async with operated(), operated():
        await create(store, *"abcdef")
        await api.wait_for(lambda: api.replicas() == 3)
        await api.wait_for(lambda: api.reason() == "Scaled")

    assert [event["reason"] for event in api.events] == ["ScaledUp"]
    assert api.replicas() == 3
