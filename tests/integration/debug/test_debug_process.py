"""`holdfast-store serve` with debug on and off, as a process."""

import asyncio
import contextlib
import json
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.records import PromiseState
from holdfast.core.requests import PromiseCreate
from holdfast.errors import PermissionDenied
from tests.integration.rpc.test_server_process import start
from tests.traces.store_player import StorePlayer

EXTERNAL = {"resonate:external": "true"}
Event = dict[str, Any]


@contextlib.asynccontextmanager
async def running(folder: Path, **settings: str) -> AsyncIterator[tuple[StorePlayer, list[Event]]]:
    """Run a store; answer what speaks to it, and what it said until it was ready."""
    process = await start(
        "serve",
        database_url=f"sqlite:///{folder / 'store.db'}",
        listen="127.0.0.1:0",
        metrics_listen="127.0.0.1:0",
        **settings,
    )
    try:
        said = [event async for event in _until_ready(process)]
        address = next(e["address"] for e in said if e["event"] == "store_listening")
        async with StorePlayer(f"grpc://{address}") as player:
            yield player, said
    finally:
        process.kill()
        await process.communicate()


async def _until_ready(process: Process) -> AsyncIterator[Event]:
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while line := await process.stderr.readline():
            event: Event = json.loads(line)
            yield event
            if event["event"] == "readiness_changed":
                return
    raise AssertionError("the store ended before it was ready")


async def state_of(player: StorePlayer, promise_id: str) -> PromiseState:
    return (await player.admin.debug_snap()).promises[promise_id].state


async def test_a_store_with_debug_on_warns_and_leaves_the_clock_to_its_callers(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, debug="1", slow_poll_ms="100") as (player, said):
        create = PromiseCreate(id="p", timeout_at_ms=2, tags=EXTERNAL)
        await player.calls.operate(create, at="1")
        for _ in range(20):
            assert await state_of(player, "p") is PromiseState.PENDING

        await player.admin.debug_stop()
        async with asyncio.timeout(30):
            while await state_of(player, "p") is PromiseState.PENDING:
                pass
    # Whether the clock runs is not kept: a store that starts again waits again.
    async with running(tmp_path, debug="1", slow_poll_ms="100") as (player, _):
        await player.calls.operate(PromiseCreate(id="q", timeout_at_ms=2, tags=EXTERNAL), at="1")
        assert await state_of(player, "q") is PromiseState.PENDING
        assert await state_of(player, "p") is PromiseState.REJECTED_TIMEDOUT

    warnings = {e["event"] for e in said if e["level"] == "warning"}
    assert "debug_enabled" in warnings


async def test_a_store_without_debug_says_nothing_of_it_and_refuses(tmp_path: Path) -> None:
    async with running(tmp_path) as (player, said):
        with pytest.raises(PermissionDenied) as caught:
            await player.admin.debug_reset()

    assert caught.value.code == "debug_off"
    assert "debug_enabled" not in {event["event"] for event in said}
