"""The command `holdfast-gateway`: puts the parts of the gateway together and runs them."""

import contextlib
import logging
import sys
from collections.abc import Mapping

from holdfast import Resonate
from holdfast.rpc import Access, Admin, Calls, RemoteStore
from holdfast.rpc.access import BadAccess, access_by
from holdfast_chassis.health import HealthServer
from holdfast_chassis.lifecycle import Shutdown, StartFailed, run
from holdfast_chassis.logs import get_logger, setup_logging
from holdfast_chassis.metrics import describe_build
from holdfast_chassis.settings import Command, run_cli
from holdfast_gateway import metrics
from holdfast_gateway.app import create_app
from holdfast_gateway.bridge.building import Stores, serving_bridge
from holdfast_gateway.callers import BoundedGroups, BoundedStore, Callers
from holdfast_gateway.listening import room_for
from holdfast_gateway.outcomes import Waits
from holdfast_gateway.security import Security, Unusable, open_security, say_what_is_open
from holdfast_gateway.serving import serving
from holdfast_gateway.settings import GatewaySettings
from holdfast_gateway.watching import Watches

PROGRAM = "holdfast-gateway"
GROUP = "gateway"

log = get_logger("holdfast_gateway")


def main(*, store_class: type[RemoteStore] = RemoteStore) -> int:
    """Run the command that the arguments name; return its exit code.

    `store_class` makes the connection to the store.
    """
    return run_cli(
        program=PROGRAM,
        service="GATEWAY",
        commands={
            "serve": Command(
                settings=GatewaySettings,
                run=lambda settings: _serve_command(settings, store_class),
                help="Serve REST.",
            ),
        },
    )


def _serve_command(settings: GatewaySettings, store_class: type[RemoteStore]) -> int:
    setup_logging(settings.log_level, "gateway")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # it narrates; we log events
    try:
        access = access_by(settings)
        store = store_class(settings.store_url, access=access, timeout_s=settings.store_seconds)
        security = open_security(settings)
    except (BadAccess, Unusable) as error:
        print(f"{PROGRAM}: {error}.", file=sys.stderr)  # noqa: T201
        return 2
    except ValueError as error:
        print(f"{PROGRAM}: HOLDFAST_GATEWAY_STORE_URL is not usable: {error}.", file=sys.stderr)  # noqa: T201
        return 2
    say_what_is_open(settings)
    return run(lambda shutdown: _serve(settings, store, access, security, shutdown))


async def _serve(
    settings: GatewaySettings,
    store: RemoteStore,
    access: Access,
    security: Security,
    shutdown: Shutdown,
) -> None:
    """Build everything, run it until the process is asked to stop, and stop it in order."""

    def not_ready() -> Mapping[str, str]:
        if shutdown.is_requested:
            return {"stopping": "The gateway is stopping."}
        if not store.is_connected:
            return {"store": "The promise store cannot be reached."}
        return {}

    describe_build("gateway")
    metrics.store_connected.set_function(lambda: store.is_connected)
    bounded = store if security.verifier is None else BoundedStore(store)
    resonate = Resonate(group=GROUP, store=bounded, accept_tasks=False, env={})
    waits = Waits(most=settings.waits_max)
    watches = Watches(most=settings.events_clients_max)
    admin = Admin(settings.store_url, access=access, timeout_s=settings.store_seconds)
    app = create_app(
        settings,
        resonate,
        waits=waits,
        watches=watches,
        not_ready=not_ready,
        groups=BoundedGroups(admin),
        callers=None if security.verifier is None else Callers(security.verifier),
    )
    health = HealthServer(settings.metrics_listen, not_ready=not_ready)
    connections_max = room_for(settings.connections_max)
    # What is entered last ends first: requests are answered before their client leaves the store.
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(health)
        except OSError as error:
            raise StartFailed(
                f"The address {settings.metrics_listen} cannot be listened on: {error.strerror}."
            ) from error
        await resonate.start()
        stack.push_async_callback(resonate.stop, settings.stop_seconds)
        await stack.enter_async_context(admin)
        stop_seconds = settings.stop_seconds
        calls = Calls(settings.store_url, access=access, timeout_s=settings.store_seconds)
        stack.push_async_callback(calls.close)
        bridging = serving_bridge(
            settings,
            Stores(
                shared=store,
                calls=calls,
                admin=admin,
                open_member=lambda: RemoteStore(settings.store_url, access=access),
            ),
            verifier=security.verifier,
            encryption=security.encryption,
            not_ready=not_ready,
            body_seconds=settings.body_seconds,
            stop_seconds=stop_seconds,
            connections_max=connections_max,
        )
        bridge_address = await stack.enter_async_context(bridging)
        serving_app = serving(
            app,
            settings.listen,
            stop_seconds=stop_seconds,
            body_seconds=settings.body_seconds,
            encryption=security.encryption,
            connections_max=connections_max,
        )
        address = await stack.enter_async_context(serving_app)
        log.info("gateway_started", address=str(address), bridge_address=str(bridge_address))
        await shutdown.wait()
        waits.close()
        watches.close()
    log.info("gateway_stopped")


if __name__ == "__main__":
    sys.exit(main())
