"""The command `holdfast-db`: puts the parts of a db worker together and runs them."""

import asyncio
import contextlib
import logging
import sys
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import Engine

from holdfast import Resonate, tracing
from holdfast.prometheus import WorkerMetrics
from holdfast.rpc import RemoteStore
from holdfast.rpc.access import BadAccess, access_by
from holdfast.testing.attempts import AttemptsFile
from holdfast.testing.crash_points import Observer
from holdfast_chassis.health import HealthServer
from holdfast_chassis.lifecycle import Shutdown, StartFailed, run
from holdfast_chassis.logs import get_logger, setup_logging
from holdfast_chassis.metrics import describe_build
from holdfast_chassis.settings import Command, run_cli
from holdfast_db import functions, outside
from holdfast_db.database import DatabaseUnusable, migrate, open_database
from holdfast_db.settings import DbSettings

PROGRAM = "holdfast-db"

log = get_logger("holdfast_db")


def main(*, observer: Observer | None = None) -> int:
    """Run the command that the arguments name; return its exit code.

    `observer` is told where each run is.
    """
    return run_cli(
        program=PROGRAM,
        service="DB",
        commands={
            "serve": Command(
                settings=DbSettings,
                run=lambda settings: _serve_command(settings, observer),
                help="Serve the application database to workflows. It is migrated first.",
            ),
        },
    )


def _serve_command(settings: DbSettings, observer: Observer | None) -> int:
    setup_logging(settings.log_level, "db", keys=tracing.log_keys)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it narrates; we log one event
    try:
        engine = open_database(settings.database_url, connections=settings.max_concurrency)
    except DatabaseUnusable as error:
        return _refuse("DATABASE_URL", error)
    try:
        store = RemoteStore(settings.store_url, access=access_by(settings))
    except BadAccess as error:
        print(f"{PROGRAM}: {error}.", file=sys.stderr)  # noqa: T201
        return 2
    except ValueError as error:
        return _refuse("STORE_URL", error)
    return run(lambda shutdown: _serve(settings, engine, store, shutdown, observer))


async def _serve(
    settings: DbSettings,
    engine: Engine,
    store: RemoteStore,
    shutdown: Shutdown,
    observer: Observer | None,
) -> None:
    """Build everything, run it until the process is asked to stop, and stop it in order."""

    def not_ready() -> Mapping[str, str]:
        if shutdown.is_requested:
            return {"stopping": "The db worker is stopping."}
        if store.over is not None:
            return {"store": f"It does no work any more: {store.over.message}."}
        if not store.is_connected:
            return {"store": "The promise store cannot be reached."}
        return {}

    describe_build("db")
    attempts = _attempts_file(settings)
    warehouse = outside.PretendOutside(
        delay_ms=settings.step_delay_ms, delay_factor=settings.delay_factor, attempts=attempts
    )
    metrics = WorkerMetrics(group=settings.group, slots=settings.max_concurrency)
    resonate = Resonate(
        group=settings.group,
        pid=settings.pid,
        store=store,
        env={},  # the settings say it all
        ttl=settings.lease_ttl_ms / 1000,
        max_concurrency=settings.max_concurrency,
        meter=metrics,
        observer=observer,
    )
    metrics.watch(held=lambda: resonate.held, connected=lambda: store.is_connected)
    resonate.set_dependency(functions.DATABASE, engine)
    resonate.set_dependency(outside.DEPENDENCY, warehouse)
    functions.register(resonate)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(engine.dispose)
        if attempts is not None:
            stack.callback(attempts.close)
        try:
            await stack.enter_async_context(
                HealthServer(settings.metrics_listen, not_ready=not_ready)
            )
        except OSError as error:
            raise StartFailed(
                f"The address {settings.metrics_listen} cannot be listened on: {error.strerror}."
            ) from error
        try:
            await asyncio.to_thread(migrate, engine)
        except DatabaseUnusable as error:
            raise StartFailed(str(error)) from error
        log.info("database_migrated")
        await resonate.start()
        stack.push_async_callback(resonate.stop, settings.stop_seconds)
        log.info("db_worker_started", pid=resonate.pid, group=settings.group)
        await shutdown.wait()
    log.info("db_worker_stopped")


def _attempts_file(settings: DbSettings) -> AttemptsFile | None:
    file = settings.attempts_file
    try:
        return None if file is None else AttemptsFile(Path(file), process="db")
    except OSError as error:
        raise StartFailed(
            f"The attempts file {file} cannot be opened: {error.strerror}."
        ) from error


def _refuse(setting: str, error: Exception) -> int:
    sentence = str(error).rstrip(".")
    print(f"{PROGRAM}: HOLDFAST_DB_{setting} is not usable: {sentence}.", file=sys.stderr)  # noqa: T201
    return 2


if __name__ == "__main__":
    sys.exit(main())
