"""The command `holdfast-operator`: puts the parts of the operator together and runs them."""

import asyncio
import contextlib
import functools
import sys
from collections.abc import Coroutine, Mapping
from typing import Any, Final

from holdfast.rpc.access import BadAccess, access_by
from holdfast.rpc.admin import Admin
from holdfast_chassis.health import HealthServer
from holdfast_chassis.lifecycle import Shutdown, StartFailed, run
from holdfast_chassis.logs import get_logger, setup_logging
from holdfast_chassis.metrics import describe_build
from holdfast_chassis.settings import Command, run_cli
from holdfast_operator.apply import Hands
from holdfast_operator.control import Control, clock_ms
from holdfast_operator.handlers import Eyes, quiet_kopf, sign_in
from holdfast_operator.kube import Kube, NoCluster
from holdfast_operator.mirror import Mirror
from holdfast_operator.observe import Observer
from holdfast_operator.settings import OperatorSettings
from holdfast_operator.store import QueueWatch

PROGRAM = "holdfast-operator"
NAMESPACE_DEFAULT: Final = "default"

HANGS_S: Final = 120.0
"""For so long a loop may not have turned before the process counts as hanging."""
PING_S: Final = 5.0

log = get_logger("holdfast_operator")


def main() -> int:
    """Run the command that the arguments name; return its exit code."""
    return run_cli(
        program=PROGRAM,
        service="OPERATOR",
        commands={
            "serve": Command(
                settings=OperatorSettings,
                run=_serve_command,
                help="Scale the Deployments of WorkerGroups.",
            ),
        },
    )


def _serve_command(settings: OperatorSettings) -> int:
    setup_logging(settings.log_level, "operator")
    quiet_kopf()
    try:
        Admin(settings.store_url, access=access_by(settings))
    except BadAccess as error:
        print(f"{PROGRAM}: {error}.", file=sys.stderr)  # noqa: T201
        return 2
    except ValueError as error:
        print(f"{PROGRAM}: HOLDFAST_OPERATOR_STORE_URL is not usable: {error}.", file=sys.stderr)  # noqa: T201
        return 2
    return run(lambda shutdown: _serve(settings, shutdown))


class Operator:
    """All parts, and how they are doing."""

    def __init__(self, settings: OperatorSettings, *, namespace: str) -> None:
        wake = asyncio.Event()
        self.kube = Kube(sign_in, namespace=namespace, timeout_s=settings.request_seconds)
        self.mirror = Mirror(wake)
        self.queues = QueueWatch(
            functools.partial(Admin, access=access_by(settings)),
            wake,
            url=settings.store_url,
            interval_ms=settings.interval_ms,
            clock_ms=clock_ms,
        )
        self.eyes = Eyes(namespace=namespace, seen=self.mirror.put, gone=self.mirror.remove)
        self.observer = Observer(
            kube=self.kube, mirror=self.mirror, watch=self.eyes, resync_s=settings.resync_seconds
        )
        self.control = Control(
            kube=self.kube,
            hands=Hands(self.kube, self.queues, namespace=namespace),
            mirror=self.mirror,
            queues=self.queues,
            wake=wake,
            interval_ms=settings.interval_ms,
            status_interval_ms=settings.status_interval_ms,
        )

    async def run(self) -> None:
        """Run all loops until cancelled; a loop that fails ends the others."""
        async with asyncio.TaskGroup() as tasks:
            for loop in self._loops():
                tasks.create_task(loop)

    def _loops(self) -> tuple[Coroutine[Any, Any, None], ...]:
        return (self.observer.run(), self.queues.run(), self.control.run(), self._keep_pinging())

    async def _keep_pinging(self) -> None:
        while True:
            self.eyes.ping()
            await asyncio.sleep(PING_S)

    def not_alive(self) -> Mapping[str, str]:
        """Name the loops that hang: only a new process helps."""
        reasons = {}
        if clock_ms() - self.control.turned_at_ms > HANGS_S * 1000:
            reasons["control"] = f"The control loop has not turned for {HANGS_S:.0f} s."
        if self.eyes.silent_s > HANGS_S:
            reasons["watch"] = f"The loop that watches the cluster hangs for {HANGS_S:.0f} s."
        return reasons

    def not_ready(self) -> Mapping[str, str]:
        """Say what keeps the operator from deciding."""
        reasons = {}
        if self.observer.trouble is not None:
            reasons["kubernetes"] = self.observer.trouble
        if not self.queues.is_reporting:
            reasons["store"] = "The promise store does not report its queues."
        return reasons


async def _serve(settings: OperatorSettings, shutdown: Shutdown) -> None:
    """Build everything, run it until the process is asked to stop, and stop it in order."""
    try:
        cluster = await asyncio.to_thread(sign_in)
    except NoCluster as error:
        raise StartFailed(f"There is no cluster to work for: {error}.") from error
    namespace = settings.namespace or cluster.namespace or NAMESPACE_DEFAULT
    operator = Operator(settings, namespace=namespace)

    def not_ready() -> Mapping[str, str]:
        if shutdown.is_requested:
            return {"stopping": "The operator is stopping."}
        return operator.not_ready()

    describe_build("operator")
    async with contextlib.AsyncExitStack() as stack:
        health = HealthServer(
            settings.metrics_listen, not_ready=not_ready, not_alive=operator.not_alive
        )
        try:
            await stack.enter_async_context(health)
        except OSError as error:
            raise StartFailed(
                f"The address {settings.metrics_listen} cannot be listened on: {error.strerror}."
            ) from error
        await stack.enter_async_context(operator.kube)
        log.info("operator_started", namespace=namespace, cluster=cluster.server)
        await _until_shutdown(operator, shutdown)
    log.info("operator_stopped")


async def _until_shutdown(operator: Operator, shutdown: Shutdown) -> None:
    """Run until the process is asked to stop, or a loop fails, which ends the process."""
    running = asyncio.create_task(operator.run())
    stopping = asyncio.create_task(shutdown.wait())
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if running.done():
        await running  # raises what ended it
        return
    # Nothing is lost by stopping in the middle: the next start looks anew.
    running.cancel()
    await asyncio.wait({running})


if __name__ == "__main__":
    sys.exit(main())
