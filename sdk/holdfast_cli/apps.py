"""`holdfast apps`: the example applications as one program, without anything else to run.

Gateway, workflows and db functions share one client, which finds its store by itself: a server when
RESONATE_URL is set, and otherwise a store in this process, in memory or in the file that
RESONATE_EMBEDDED names. Nothing in the program knows the difference.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

from holdfast import Resonate, tracing
from holdfast.testing.attempts import AttemptsFile
from holdfast_chassis.lifecycle import StartFailed
from holdfast_chassis.listen import Address
from holdfast_chassis.logs import get_logger, setup_logging
from holdfast_chassis.settings import SettingsError, load
from holdfast_cli import signals
from holdfast_cli.errors import CommandFailed, UsageError
from holdfast_cli.ports import HOST
from holdfast_db import functions
from holdfast_db import outside as db_outside
from holdfast_db.database import DatabaseUnusable, migrate, open_database
from holdfast_db.settings import DbSettings
from holdfast_gateway.app import create_app
from holdfast_gateway.gateway import Gateway
from holdfast_gateway.outcomes import Waits
from holdfast_gateway.serving import serving
from holdfast_gateway.settings import GatewaySettings
from holdfast_gateway.watching import Watches
from holdfast_worker import outside
from holdfast_worker.apps import async_api, jobs, orders, reports, shop, shop_bus
from holdfast_worker.settings import WorkerSettings

STOP_SECONDS = 5.0

Shop = Literal["durable", "bus"]

log = get_logger("holdfast_apps")


def command(*, port: int, shop_variant: Shop) -> int:
    """Serve until a signal; return the exit code."""
    setup_logging("info", "apps", keys=tracing.log_keys)
    return signals.run(_command(Address(HOST, port), shop_variant), interrupted=0)


async def _command(listen: Address, shop_variant: Shop) -> int:
    try:
        async with running(listen, shop_variant=shop_variant) as address:
            log.info("apps_started", address=str(address))
            await asyncio.Event().wait()  # a signal cancels it
    except (SettingsError, ValueError) as error:  # the latter about RESONATE_URL
        raise UsageError(str(error)) from error
    except (DatabaseUnusable, OSError, StartFailed) as error:
        raise CommandFailed(str(error)) from error
    return 0


@contextlib.asynccontextmanager
async def running(listen: Address, *, shop_variant: Shop) -> AsyncIterator[Address]:
    """Serve the applications inside the block; yield their address."""
    gateway = load(GatewaySettings, service="GATEWAY", environ=os.environ)
    waits = Waits(most=gateway.waits_max)
    watches = Watches(most=gateway.events_clients_max)
    async with contextlib.AsyncExitStack() as stack:
        resonate = Resonate(group="workers", groups=("worker", "db"))
        await _give_dependencies(resonate, stack)
        modules = [orders, jobs, reports, async_api, functions]
        if shop_variant == "bus":
            bus = shop_bus.CancelBus()
            resonate.set_dependency(shop_bus.BUS, bus)

            async def cancel(_: Gateway, key: str) -> None:
                bus.cancel(key)

            app = create_app(
                gateway, resonate, waits=waits, watches=watches, cancel_checkout=cancel
            )
            modules.append(shop_bus)
        else:
            app = create_app(gateway, resonate, waits=waits, watches=watches)
            modules.append(shop)
        for module in modules:
            module.register(resonate)
        # What is entered last ends first: requests are answered before their client leaves.
        await resonate.start()
        stack.push_async_callback(resonate.stop, STOP_SECONDS)
        listening = serving(
            app, listen, stop_seconds=STOP_SECONDS, body_seconds=gateway.body_seconds
        )
        address = await stack.enter_async_context(listening)
        stack.callback(waits.close)
        stack.callback(watches.close)
        yield address


async def _give_dependencies(resonate: Resonate, stack: contextlib.AsyncExitStack) -> None:
    """Set what steps and db functions need, as the settings of worker and db worker say."""
    worker = load(WorkerSettings, service="WORKER", environ=os.environ)
    db = load(DbSettings, service="DB", environ=os.environ)
    journal = None
    if worker.attempts_file is not None:
        journal = AttemptsFile(Path(worker.attempts_file), process="apps")
        stack.callback(journal.close)
    steps = outside.PretendOutside(
        delay_ms=worker.step_delay_ms, delay_factor=worker.delay_factor, attempts=journal
    )
    warehouse = db_outside.PretendOutside(
        delay_ms=db.step_delay_ms, delay_factor=db.delay_factor, attempts=journal
    )
    engine = open_database(db.database_url)
    stack.callback(engine.dispose)
    await asyncio.to_thread(migrate, engine)
    resonate.set_dependency(outside.DEPENDENCY, steps)
    resonate.set_dependency(db_outside.DEPENDENCY, warehouse)
    resonate.set_dependency(functions.DATABASE, engine)
