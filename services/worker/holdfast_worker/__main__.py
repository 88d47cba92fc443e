"""The command `holdfast-worker`: puts the parts of a workflow worker together and runs them."""

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path

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
from holdfast_worker.modules import register_modules
from holdfast_worker.outside import DEPENDENCY, PretendOutside
from holdfast_worker.settings import WorkerSettings

PROGRAM = "holdfast-worker"

log = get_logger("holdfast_worker")


def main(*, observer: Observer | None = None) -> int:
    """Run the command that the arguments name; return its exit code.

    `observer` is told where each run is.
    """
    return run_cli(
        program=PROGRAM,
        service="WORKER",
        commands={
            "serve": Command(
                settings=WorkerSettings,
                run=lambda settings: _serve_command(settings, observer),
                help="Run workflows.",
            ),
        },
    )


def _serve_command(settings: WorkerSettings, observer: Observer | None) -> int:
    setup_logging(settings.log_level, "worker", keys=tracing.log_keys)
    try:
        store = RemoteStore(settings.store_url, access=access_by(settings))
    except BadAccess as error:
        print(f"{PROGRAM}: {error}.", file=sys.stderr)  # noqa: T201
        return 2
    except ValueError as error:
        print(f"{PROGRAM}: HOLDFAST_WORKER_STORE_URL is not usable: {error}.", file=sys.stderr)  # noqa: T201
        return 2
    return run(lambda shutdown: _serve(settings, store, shutdown, observer))


async def _serve(
    settings: WorkerSettings,
    store: RemoteStore,
    shutdown: Shutdown,
    observer: Observer | None,
) -> None:
    """Build everything, run it until the process is asked to stop, and stop it in order."""

    def not_ready() -> Mapping[str, str]:
        if shutdown.is_requested:
            return {"stopping": "The worker is stopping."}
        if store.over is not None:
            return {"store": f"It does no work any more: {store.over.message}."}
        if not store.is_connected:
            return {"store": "The promise store cannot be reached."}
        return {}

    describe_build("worker")
    attempts = _attempts_file(settings)
    outside = PretendOutside(
        delay_ms=settings.step_delay_ms, delay_factor=settings.delay_factor, attempts=attempts
    )
    group, *more = settings.groups
    metrics = WorkerMetrics(group=group, slots=settings.max_concurrency)
    resonate = Resonate(
        group=group,
        groups=more,
        pid=settings.pid,
        store=store,
        env={},  # the settings say it all
        ttl=settings.lease_ttl_ms / 1000,
        max_concurrency=settings.max_concurrency,
        meter=metrics,
        observer=observer,
    )
    metrics.watch(held=lambda: resonate.held, connected=lambda: store.is_connected)
    resonate.set_dependency(DEPENDENCY, outside)
    register_modules(settings.modules, resonate)
    async with contextlib.AsyncExitStack() as stack:
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
        await resonate.start()
        stack.push_async_callback(resonate.stop, settings.stop_seconds)
        log.info(
            "worker_started",
            pid=resonate.pid,
            groups=settings.groups,
            modules=settings.modules,
        )
        await shutdown.wait()
    log.info("worker_stopped")


def _attempts_file(settings: WorkerSettings) -> AttemptsFile | None:
    file = settings.attempts_file
    try:
        return None if file is None else AttemptsFile(Path(file), process="worker")
    except OSError as error:
        raise StartFailed(
            f"The attempts file {file} cannot be opened: {error.strerror}."
        ) from error


if __name__ == "__main__":
    sys.exit(main())
