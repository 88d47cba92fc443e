"""The command `holdfast-store`: puts the parts of the store together and runs them."""

import logging
import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib import metadata
from typing import Protocol, TypeVar, runtime_checkable

from prometheus_client import REGISTRY

from holdfast_chassis.health import HealthServer
from holdfast_chassis.lifecycle import Shutdown, run
from holdfast_chassis.logs import get_logger, setup_logging
from holdfast_chassis.metrics import describe_build
from holdfast_chassis.settings import Command, run_cli
from holdfast_store import commands, storages
from holdfast_store.clock import Clock, clock_of
from holdfast_store.commands import PROGRAM, complain
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
from holdfast_store.rpc.server import RpcServer
from holdfast_store.security import Security, Unusable, open_security, say_what_is_open
from holdfast_store.serving import Loop, Parts, serve
from holdfast_store.settings import (
    CheckSettings,
    DatabaseSettings,
    ExportSettings,
    ImportSettings,
    MigrateSettings,
    StoreSettings,
)
from holdfast_store.storage import Storage, StorageError

D = TypeVar("D", bound=DatabaseSettings)

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

    async def serving(shutdown: Shutdown) -> None:
        await serve(_parts(settings, storage, security, reached), shutdown)

    return run(serving)


def _parts(
    settings: StoreSettings,
    storage: Storage,
    security: Security,
    reached: Callable[[str], None],
) -> Parts:
    """Build everything that a store process is made of."""
    metrics = Metrics()
    if isinstance(storage, CountsStatements):
        storage.on_statement = metrics.count_statement
    engine = Engine(
        storage,
        clock=clock_of(storage),
        profile=settings.profile(),
        settings=settings.engine(),
        observer=metrics,
        statements=metrics.statements,
        reached=reached,
    )
    debug = _debug(settings, engine, storage)
    server = _server(settings, engine, security, metrics, debug)
    readiness = Readiness(
        engine, slow_poll_s=settings.slow_poll_ms / 1000, on_change=server.set_ready
    )
    metrics.members = engine.members
    metrics.queues = engine.statistics.shown
    metrics.on_batch_failed = readiness.doubt
    REGISTRY.register(metrics)
    describe_build("store")
    return Parts(
        settings=settings,
        storage=storage,
        engine=engine,
        server=server,
        readiness=readiness,
        health=HealthServer(settings.metrics_listen, not_ready=readiness.reasons),
        loops=_loops(settings, engine, storage, metrics, debug),
    )


def _server(
    settings: StoreSettings,
    engine: Engine,
    security: Security,
    metrics: Metrics,
    debug: Debug | None,
) -> RpcServer:
    return RpcServer(
        engine,
        store_version=metadata.version("holdfast"),
        limits=settings.server(),
        stopwatch=metrics,
        guard=security.guard,
        certificate=security.certificate,
        debug=debug,
    )


def _loops(
    settings: StoreSettings,
    engine: Engine,
    storage: Storage,
    metrics: Metrics,
    debug: Debug | None,
) -> Mapping[str, Loop]:
    """Build what runs in the background; what goes by the clock may be held in debug mode."""
    slow_poll_s = settings.slow_poll_ms / 1000
    timers = Timers(engine, storage, observer=metrics, slow_poll_s=slow_poll_s)
    schedules = ScheduleTimer(engine, slow_poll_s=slow_poll_s)
    metrics.schedule_lag_ms = lambda: schedules.lag_ms
    by_the_clock: dict[str, Loop] = {"timers": timers.run, "schedules": schedules.run}
    if settings.retention_ms is not None:
        by_the_clock["retention"] = _retention(settings, engine, storage, metrics).run
    if debug is not None:
        gate = debug.gate
        by_the_clock = {name: partial(gate.keep, run_) for name, run_ in by_the_clock.items()}
    readings = Readings(engine.statistics, slow_poll_s=slow_poll_s)
    loops: dict[str, Loop] = {**by_the_clock, "readings": readings.run}
    if isinstance(storage, SharedStorage):
        neighbors = Neighbors(engine, storage, storage, slow_poll_s=slow_poll_s)
        metrics.neighborhood = neighbors.status
        loops["neighbors"] = neighbors.run
    return loops


def _retention(
    settings: StoreSettings, engine: Engine, storage: Storage, metrics: Metrics
) -> Retention:
    assert settings.retention_ms is not None
    return Retention(
        storage,
        clock=engine.now_ms,
        machine_clock=Clock(),
        observer=metrics,
        age_ms=settings.retention_ms,
        rows_max=settings.retention_batch_rows,
        pause_ms=settings.retention_pause_ms,
    )


def _debug(settings: StoreSettings, engine: Engine, storage: Storage) -> Debug | None:
    """Put debug mode together, where that is wanted, and say what that means."""
    if not settings.debug:
        return None
    log.warning(
        "debug_enabled",
        meaning="callers can delete everything and name the time; nothing becomes due by the clock",
    )
    return Debug(engine, storage, snapshot=storages.snapshots_of(settings.database_url, storage))


def _set_up_logging(level: str) -> None:
    setup_logging(level, "store")
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it narrates; we log one event


if __name__ == "__main__":
    sys.exit(main())
