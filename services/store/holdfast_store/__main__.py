"""The command `holdfast-store`: puts the parts of the store together and runs them."""

import asyncio
import contextlib
import logging
import sys
from collections.abc import Awaitable, Callable, Coroutine
from importlib import metadata
from typing import Any, Protocol, TypeVar, runtime_checkable

from prometheus_client import REGISTRY

from holdfast_chassis.health import HealthServer
from holdfast_chassis.lifecycle import Shutdown, StartFailed, run
from holdfast_chassis.logs import get_logger, setup_logging
from holdfast_chassis.metrics import describe_build
from holdfast_chassis.settings import Command, run_cli
from holdfast_store import commands, storages
from holdfast_store.clock import Clock
from holdfast_store.commands import PROGRAM, UNUSABLE, complain
from holdfast_store.debugging import Debug
from holdfast_store.engine import Engine
from holdfast_store.loops.neighbors import Neighbors
from holdfast_store.loops.readings import Readings
from holdfast_store.loops.retention import Retention
from holdfast_store.loops.schedules import ScheduleTimer
from holdfast_store.loops.timers import Timers
from holdfast_store.metrics import Metrics
from holdfast_store.replicas import SharedStorage
from holdfast_store.rpc.readiness import Readiness
from holdfast_store.rpc.server import CannotListen, RpcServer
from holdfast_store.security import Security, Unusable, open_security, say_what_is_open
from holdfast_store.settings import (
    CheckSettings,
    DatabaseSettings,
    ExportSettings,
    ImportSettings,
    MigrateSettings,
    StoreSettings,
)
from holdfast_store.starting import open_when_there
from holdfast_store.storage import SchemaMismatch, Storage, StorageError, StorageRefused

D = TypeVar("D", bound=DatabaseSettings)

log = get_logger("holdfast_store")


@runtime_checkable
class CountsStatements(Protocol):
    """A storage that tells of each statement; the one in memory has none."""

    on_statement: Callable[[str], None] | None


@runtime_checkable
class TellsTime(Protocol):
    """A storage whose database has a clock that several stores answer by."""

    clock: Callable[[], int]


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
                settings=MigrateSettings,
                run=_with_logging(commands.migrate_command),
                help="Add to the tables what this version needs, beside stores of the version"
                " before; with --contract also take away what only older versions use.",
            ),
            "check": _whole(
                CheckSettings,
                commands.check_command,
                "Judge a database by the invariants, beside the store that runs on it. Exit code"
                " 0 when all hold, 1 when one is broken, 2 when it cannot be checked.",
            ),
            "export": _whole(
                ExportSettings,
                commands.export_command,
                "Write a database out as lines of JSON, beside the store that runs on it.",
            ),
            "import": _whole(
                ImportSettings,
                commands.import_command,
                "Read what export wrote into a database that is new or empty: all or nothing.",
            ),
        },
    )


def _whole(settings: type[D], run_: Callable[[D], int], help_: str) -> Command[D]:
    return Command(settings=settings, run=_with_logging(run_), help=help_)


def _with_logging(run_: Callable[[D], int]) -> Callable[[D], int]:
    def with_logging(given: D) -> int:
        _set_up_logging(given.log_level)
        return run_(given)

    return with_logging


def _serve_command(settings: StoreSettings, reached: Callable[[str], None]) -> int:
    _set_up_logging(settings.log_level)
    try:
        storage = storages.open_storage(settings.database_url)
    except StorageError as error:
        complain(f"HOLDFAST_STORE_DATABASE_URL is not usable: {error}.")
        return 2
    try:
        security = open_security(settings)
    except Unusable as error:
        complain(str(error))
        return 2
    say_what_is_open(settings)
    return run(lambda shutdown: _serve(settings, storage, security, shutdown, reached))


async def _serve(
    settings: StoreSettings,
    storage: Storage,
    security: Security,
    shutdown: Shutdown,
    reached: Callable[[str], None],
) -> None:
    """Build everything, run it until the process is asked to stop, and stop it in order."""
    metrics = Metrics()
    if isinstance(storage, CountsStatements):
        storage.on_statement = metrics.count_statement
    engine = Engine(
        storage,
        clock=storage.clock if isinstance(storage, TellsTime) else None,
        profile=settings.profile(),
        settings=settings.engine(),
        observer=metrics,
        statements=metrics.statements,
        reached=reached,
    )
    debug = _debug(settings, engine, storage)
    server = RpcServer(
        engine,
        store_version=metadata.version("holdfast"),
        limits=settings.server(),
        stopwatch=metrics,
        guard=security.guard,
        certificate=security.certificate,
        debug=debug,
    )
    slow_poll_s = settings.slow_poll_ms / 1000
    timers = Timers(engine, storage, observer=metrics, slow_poll_s=slow_poll_s)
    schedules = ScheduleTimer(engine, slow_poll_s=slow_poll_s)
    neighbors = (
        Neighbors(engine, storage, storage, slow_poll_s=slow_poll_s)
        if isinstance(storage, SharedStorage)
        else None
    )
    readiness = Readiness(engine, slow_poll_s=slow_poll_s, on_change=server.set_ready)
    readings = Readings(engine.statistics, slow_poll_s=slow_poll_s)
    metrics.members = engine.members
    metrics.schedule_lag_ms = lambda: schedules.lag_ms
    if neighbors is not None:
        metrics.neighborhood = neighbors.status
    metrics.queues = engine.statistics.shown
    metrics.on_batch_failed = readiness.doubt
    REGISTRY.register(metrics)
    describe_build("store")
    health = HealthServer(settings.metrics_listen, not_ready=readiness.reasons)
    # What is entered last ends first: answers in flight go out before the engine stops, and the
    # engine finishes its batches before the database closes.
    drain_s = settings.drain_ms / 1000
    async with contextlib.AsyncExitStack() as stack:
        await _answer_probes(settings, health)
        stack.push_async_callback(health.stop)
        stack.push_async_callback(storage.close)
        await engine.start()
        stack.push_async_callback(engine.stop, grace_s=drain_s)

        async def listen(*, members: bool) -> None:
            if not server.is_listening:
                await _listen(settings, server, members=members)
                stack.push_async_callback(server.stop, grace_s=drain_s)

        async def awaits(reason: str) -> None:
            readiness.awaits(reason)
            await listen(members=False)  # probes and callers learn that it lives, and what it lacks

        if not await _open(settings, storage, shutdown, awaits=awaits):
            return
        await listen(members=True)
        server.admit_members()
        async with asyncio.TaskGroup() as group:
            background = [
                group.create_task(_by_the_clock(timers.run, debug), name="timers"),
                group.create_task(_by_the_clock(schedules.run, debug), name="schedules"),
                group.create_task(readings.run(), name="readings"),
                *_retention(settings, engine, storage, metrics, debug, group),
                group.create_task(readiness.watch(), name="readiness"),
            ]
            if neighbors is not None:
                background.append(group.create_task(neighbors.run(), name="neighbors"))
            await shutdown.wait()
            readiness.stop()
            await server.stop(grace_s=drain_s)
            # What its last batches leave to other stores is told while there is a way to them.
            await engine.stop(grace_s=drain_s)
            for task in background:
                task.cancel()


def _retention(
    settings: StoreSettings,
    engine: Engine,
    storage: Storage,
    metrics: Metrics,
    debug: Debug | None,
    group: asyncio.TaskGroup,
) -> list[asyncio.Task[None]]:
    """Begin to delete old trees, where that is wanted."""
    if settings.retention_ms is None:
        return []
    retention = Retention(
        storage,
        clock=engine.now_ms,
        machine_clock=Clock(),
        observer=metrics,
        age_ms=settings.retention_ms,
        rows_max=settings.retention_batch_rows,
        pause_ms=settings.retention_pause_ms,
    )
    return [group.create_task(_by_the_clock(retention.run, debug), name="retention")]


def _debug(settings: StoreSettings, engine: Engine, storage: Storage) -> Debug | None:
    """Put debug mode together, where that is wanted, and say what that means."""
    if not settings.debug:
        return None
    log.warning(
        "debug_enabled",
        meaning="callers can delete everything and name the time; nothing becomes due by the clock",
    )
    return Debug(engine, storage, snapshot=storages.snapshots_of(settings.database_url, storage))


async def _by_the_clock(run_: Callable[[], Coroutine[Any, Any, None]], debug: Debug | None) -> None:
    """Run a loop that goes by the clock, unless debug mode holds the clock."""
    await (run_() if debug is None else debug.gate.keep(run_))


async def _open(
    settings: StoreSettings,
    storage: Storage,
    shutdown: Shutdown,
    *,
    awaits: Callable[[str], Awaitable[None]],
) -> bool:
    """Open the database; answer `False` when the process shall stop before there is one."""
    try:
        if isinstance(storage, SharedStorage):
            return await open_when_there(storage, shutdown, awaits=awaits)
        if storages.is_migrated_by_its_store(settings.database_url):
            await asyncio.to_thread(storages.migrate, settings.database_url)
        await storage.open()
    except (SchemaMismatch, StorageRefused) as error:
        raise StartFailed(f"The database cannot be used: {error}.", code=UNUSABLE) from error
    except StorageError as error:
        raise StartFailed(f"The database cannot be used: {error}.") from error
    return True


async def _answer_probes(settings: StoreSettings, health: HealthServer) -> None:
    try:
        await health.start()
    except OSError as error:
        raise StartFailed(f"The address {settings.metrics_listen} cannot be had.") from error


async def _listen(settings: StoreSettings, server: RpcServer, *, members: bool) -> None:
    try:
        await server.start(settings.listen, members=members)
    except CannotListen as error:
        raise StartFailed(str(error)) from error


def _set_up_logging(level: str) -> None:
    setup_logging(level, "store")
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it narrates; we log one event


if __name__ == "__main__":
    sys.exit(main())
