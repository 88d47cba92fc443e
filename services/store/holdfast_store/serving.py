"""A store process from its start to its end: what comes up before what, and goes down after it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast_chassis.health import HealthServer
from holdfast_chassis.lifecycle import Shutdown, StartFailed
from holdfast_store import storages
from holdfast_store.commands import UNUSABLE
from holdfast_store.engine import Engine
from holdfast_store.replicas import SharedStorage
from holdfast_store.rpc.readiness import Readiness
from holdfast_store.rpc.server import CannotListen, RpcServer
from holdfast_store.settings import StoreSettings
from holdfast_store.starting import open_when_there
from holdfast_store.storage import SchemaMismatch, Storage, StorageError, StorageRefused

Loop = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a store process is made of; nothing of it runs yet."""

    settings: StoreSettings
    storage: Storage
    engine: Engine
    server: RpcServer
    readiness: Readiness
    health: HealthServer
    loops: Mapping[str, Loop]
    """What runs in the background, by name."""

    @property
    def drain_s(self) -> float:
        """How long answers and batches in flight may take to end."""
        return self.settings.drain_ms / 1000


async def serve(parts: Parts, shutdown: Shutdown) -> None:
    """Run everything until the process is asked to stop, and stop it in order.

    What is entered last ends first: answers in flight go out before the engine stops, and the
    engine finishes its batches before the database closes.
    """
    async with contextlib.AsyncExitStack() as stack:
        await _answer_probes(parts)
        stack.push_async_callback(parts.health.stop)
        stack.push_async_callback(parts.storage.close)
        await parts.engine.start()
        stack.push_async_callback(parts.engine.stop, grace_s=parts.drain_s)

        async def listen(*, members: bool) -> None:
            if not parts.server.is_listening:
                await _listen(parts, members=members)
                stack.push_async_callback(parts.server.stop, grace_s=parts.drain_s)

        async def awaits(reason: str) -> None:
            parts.readiness.awaits(reason)
            await listen(members=False)  # probes and callers learn that it lives, and what it lacks

        if not await _open(parts, shutdown, awaits=awaits):
            return
        await listen(members=True)
        parts.server.admit_members()
        await _run(parts, shutdown)


async def _run(parts: Parts, shutdown: Shutdown) -> None:
    """Work in the background until the process is asked to stop, and let callers go first."""
    loops: dict[str, Loop] = {**parts.loops, "readiness": parts.readiness.watch}
    async with asyncio.TaskGroup() as group:
        background = [group.create_task(run(), name=name) for name, run in loops.items()]
        await shutdown.wait()
        parts.readiness.stop()
        await parts.server.stop(grace_s=parts.drain_s)
        # What its last batches leave to other stores is told while there is a way to them.
        await parts.engine.stop(grace_s=parts.drain_s)
        for task in background:
            task.cancel()


async def _open(
    parts: Parts, shutdown: Shutdown, *, awaits: Callable[[str], Awaitable[None]]
) -> bool:
    """Open the database; answer `False` when the process shall stop before there is one."""
    storage, url = parts.storage, parts.settings.database_url
    try:
        if isinstance(storage, SharedStorage):
            return await open_when_there(storage, shutdown, awaits=awaits)
        if storages.is_migrated_by_its_store(url):
            await asyncio.to_thread(storages.migrate, url)
        await storage.open()
    except (SchemaMismatch, StorageRefused) as error:
        raise StartFailed(f"The database cannot be used: {error}.", code=UNUSABLE) from error
    except StorageError as error:
        raise StartFailed(f"The database cannot be used: {error}.") from error
    return True


async def _answer_probes(parts: Parts) -> None:
    try:
        await parts.health.start()
    except OSError as error:
        address = parts.settings.metrics_listen
        raise StartFailed(f"The address {address} cannot be had.") from error


async def _listen(parts: Parts, *, members: bool) -> None:
    try:
        await parts.server.start(parts.settings.listen, members=members)
    except CannotListen as error:
        raise StartFailed(str(error)) from error
