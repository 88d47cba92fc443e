"""The command `holdfast-store`: puts the parts of the store together and runs them."""

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable
from importlib import metadata
from typing import Protocol, runtime_checkable

from prometheus_client import REGISTRY

from holdfast_chassis.health import HealthServer
from holdfast_chassis.lifecycle import Shutdown, StartFailed, run
from holdfast_chassis.logs import get_logger, setup_logging
from holdfast_chassis.metrics import describe_build
from holdfast_chassis.settings import Command, run_cli
from holdfast_store import storages
from holdfast_store.engine import Engine
from holdfast_store.loops.timers import Timers
from holdfast_store.metrics import Metrics
from holdfast_store.rpc.readiness import Readiness
from holdfast_store.rpc.server import CannotListen, RpcServer
from holdfast_store.settings import DatabaseSettings, StoreSettings
from holdfast_store.storage import Storage, StorageError

PROGRAM = "holdfast-store"

log = get_logger("holdfast_store")


@runtime_checkable
class CountsStatements(Protocol):
    """A storage that tells of each statement; the one in memory has none."""

    on_statement: Callable[[str], None] | None


def main(*, reached: Callable[[str], None] = lambda _point: None) -> int:
    """Run the command that the arguments name; return its exit code.

    `reached` is told each point of a batch at which a crash would be interesting.
    """
    return run_cli(
        program=PROGRAM,
        service="STORE",
        commands={
            "serve": Command(
                settings=StoreSettings,
                run=lambda settings: _serve_command(settings, reached),
                help="Serve the store over gRPC. A SQLite database is migrated first.",
            ),
            "migrate": Command(
                settings=DatabaseSettings,
                run=_migrate_command,
                help="Bring the tables of the database up to this version.",
            ),
            "check": _not_yet("check", "Check the invariants of a database."),
            "export": _not_yet("export", "Write a database out as a file."),
            "import": _not_yet("import", "Read a file into an empty database."),
        },
    )


def _not_yet(name: str, help_: str) -> Command[DatabaseSettings]:
    def refuse(_settings: DatabaseSettings) -> int:
        _complain(f"The command {name} is not available yet; it comes in a later version.")
        return 2

    return Command(settings=DatabaseSettings, run=refuse, help=f"{help_} Not available yet.")


def _migrate_command(settings: DatabaseSettings) -> int:
    _set_up_logging(settings.log_level)
    try:
        storages.open_storage(settings.database_url)
    except StorageError as error:
        _complain(f"HOLDFAST_STORE_DATABASE_URL is not usable: {error}.")
        return 2
    try:
        storages.migrate(settings.database_url)
    except StorageError as error:
        _complain(f"The database was not migrated: {error}.")
        return 1
    log.info("database_migrated")
    return 0


def _serve_command(settings: StoreSettings, reached: Callable[[str], None]) -> int:
    _set_up_logging(settings.log_level)
    try:
        storage = storages.open_storage(settings.database_url)
    except StorageError as error:
        _complain(f"HOLDFAST_STORE_DATABASE_URL is not usable: {error}.")
        return 2
    return run(lambda shutdown: _serve(settings, storage, shutdown, reached))


async def _serve(
    settings: StoreSettings,
    storage: Storage,
    shutdown: Shutdown,
    reached: Callable[[str], None],
) -> None:
    """Build everything, run it until the process is asked to stop, and stop it in order."""
    metrics = Metrics()
    if isinstance(storage, CountsStatements):
        storage.on_statement = metrics.count_statement
    engine = Engine(
        storage,
        profile=settings.profile(),
        settings=settings.engine(),
        observer=metrics,
        statements=metrics.statements,
        reached=reached,
    )
    server = RpcServer(
        engine,
        store_version=metadata.version("holdfast"),
        limits=settings.server(),
        stopwatch=metrics,
    )
    slow_poll_s = settings.slow_poll_ms / 1000
    timers = Timers(engine, storage, observer=metrics, slow_poll_s=slow_poll_s)
    readiness = Readiness(engine, slow_poll_s=slow_poll_s, on_change=server.set_ready)
    metrics.members = engine.members
    metrics.on_batch_failed = readiness.doubt
    REGISTRY.register(metrics)
    describe_build("store")
    health = HealthServer(settings.metrics_listen, not_ready=readiness.reasons)
    if settings.debug:
        log.warning("debug_not_available", reason="debug operations come in a later version")
    # What is entered last ends first: answers in flight go out before the engine stops, and the
    # engine finishes its batches before the database closes.
    drain_s = settings.drain_ms / 1000
    async with contextlib.AsyncExitStack() as stack:
        await _open(settings, storage)
        stack.push_async_callback(storage.close)
        await engine.start()
        stack.push_async_callback(engine.stop, grace_s=drain_s)
        await _listen(settings, server, health)
        stack.push_async_callback(health.stop)
        stack.push_async_callback(server.stop, grace_s=drain_s)
        async with asyncio.TaskGroup() as group:
            background = [
                group.create_task(timers.run(), name="timers"),
                group.create_task(readiness.watch(), name="readiness"),
            ]
            await shutdown.wait()
            readiness.stop()
            await server.stop(grace_s=drain_s)
            for task in background:
                task.cancel()


async def _open(settings: StoreSettings, storage: Storage) -> None:
    try:
        await asyncio.to_thread(storages.migrate, settings.database_url)
        await storage.open()
    except StorageError as error:
        raise StartFailed(f"The database cannot be used: {error}.") from error


async def _listen(settings: StoreSettings, server: RpcServer, health: HealthServer) -> None:
    try:
        await health.start()
    except OSError as error:
        raise StartFailed(f"The address {settings.metrics_listen} cannot be had.") from error
    try:
        await server.start(settings.listen)
    except CannotListen as error:
        await health.stop()
        raise StartFailed(str(error)) from error


def _set_up_logging(level: str) -> None:
    setup_logging(level, "store")
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it narrates; we log one event


def _complain(sentence: str) -> None:
    print(f"{PROGRAM}: {sentence}", file=sys.stderr)  # noqa: T201 - what the operator reads


if __name__ == "__main__":
    sys.exit(main())
