"""`holdfast dev`: everything but the operator, as real processes on this machine."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from holdfast_cli import signals
from holdfast_cli.errors import CommandFailed
from holdfast_cli.lock import locked
from holdfast_cli.output import Console, Output
from holdfast_cli.plan import FREE_PORTS, Options, Plan, plan
from holdfast_cli.ports import free_ports, refusal
from holdfast_cli.supervisor import Supervisor

STATE_FILE = "dev.json"  # in the data directory: the `ready` object, kept up to date

EXAMPLE_ORDER: Mapping[str, object] = {
    "id": "ord-1",
    "items": [
        {"sku": "widget", "qty": 2, "price": 2999},
        {"sku": "gadget", "qty": 1, "price": 999},
    ],
    "customer": {"id": "cus-1", "email": "ada@example.com"},
}


@dataclass(frozen=True, slots=True)
class System:
    """Everything that `holdfast dev` started, ready for use."""

    plan: Plan
    supervisor: Supervisor

    def ready(self) -> dict[str, object]:
        """Return the `ready` object with the processes that live now."""
        return self.plan.ready(self.supervisor.pids)


@contextlib.asynccontextmanager
async def running(options: Options, the_plan: Plan, *, output: Output) -> AsyncIterator[System]:
    """Run a plan; enter when all is ready, stop everything on the way out."""
    with locked(options.data) as lock, _state_file(options.data / STATE_FILE) as state:
        _refuse_busy_ports(the_plan, options.port_base)
        await _migrate(options.database_url, output)

        def write_state(pids: dict[str, int]) -> None:
            # Readers never see half of it.
            new = state.with_suffix(".new")
            new.write_text(json.dumps(the_plan.ready(pids)) + "\n")
            new.replace(state)

        async with Supervisor(
            the_plan.processes, output=output, on_pids=write_state, hold=[lock]
        ) as supervisor:
            await supervisor.start()
            yield System(the_plan, supervisor)


async def _migrate(database_url: str | None, output: Output) -> None:
    """Make the tables of a database that stores share: these never change them by themselves.

    Whoever runs everything on one machine takes first steps, and replaces all stores at once.
    """
    if database_url is None:
        return
    # Here, because the default database needs none of it.
    from holdfast_store import storages  # noqa: PLC0415
    from holdfast_store.storage import StorageError  # noqa: PLC0415

    try:
        if storages.is_migrated_by_its_store(database_url):
            return
        output.say("migrating the database")
        await asyncio.to_thread(storages.migrate, database_url)
    except StorageError as error:
        raise CommandFailed(f"The database cannot be used: {error}.") from error


def command(options: Options) -> int:
    """Run until a signal; return the exit code."""
    the_plan = plan(options, free_ports=free_ports())
    console = Console(process.name for process in the_plan.processes)
    code = signals.run(_command(options, the_plan, console), interrupted=0)
    console.say("all stopped")
    return code


async def _command(options: Options, the_plan: Plan, console: Console) -> int:
    async with running(options, the_plan, output=console) as system:
        console.write(f"ready {json.dumps(system.ready())}")
        console.write(_hint(system, options.data))
        try:
            raise CommandFailed(await system.supervisor.broken())
        except asyncio.CancelledError:
            console.say("stopping; a second Ctrl-C does not wait")
            raise


def _hint(system: System, data: Path) -> str:
    lines = []
    if system.plan.gateway:
        gateway = system.plan.gateway[0]
        lines = [
            "",
            "Place an order, and see what became of it:",
            "",
            f"  curl -s {gateway}/orders -H 'content-type: application/json' \\",
            f"    -d '{json.dumps(EXAMPLE_ORDER, separators=(',', ':'))}'",
            f"  curl -s {gateway}/orders/{EXAMPLE_ORDER['id']}/status",
            "",
            f"Pages to try: {gateway}/reports and {gateway}/shop. All routes: {gateway}/schema",
        ]
    return "\n".join([*lines, f"Ctrl-C stops everything; what happened stays in {data}.", ""])


@contextlib.contextmanager
def _state_file(path: Path) -> Iterator[Path]:
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _refuse_busy_ports(the_plan: Plan, port_base: int) -> None:
    for process in the_plan.processes:
        for port in process.ports:
            if reason := refusal(port):
                remedy = (
                    "try again"
                    if port_base == FREE_PORTS
                    else "stop what uses it, or choose other ports with --port-base"
                )
                msg = f"Port {port}, for {process.name}, {reason}; {remedy}."
                raise CommandFailed(msg)
