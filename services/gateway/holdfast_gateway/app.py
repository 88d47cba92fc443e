"""The factory of the gateway's application."""

from collections.abc import Callable, Mapping, Sequence
from importlib import metadata

from litestar import Litestar, Router
from litestar.di import Provide
from litestar.types import ASGIApp

from holdfast import Resonate
from holdfast_gateway import errors, openapi
from holdfast_gateway.callers import Callers
from holdfast_gateway.gateway import Gateway, Groups
from holdfast_gateway.guarding import Guarded
from holdfast_gateway.observe import Observed
from holdfast_gateway.outcomes import Waits
from holdfast_gateway.routes import (
    async_api,
    events,
    jobs,
    orders,
    pages,
    promises,
    reports,
    reports_page,
    schedules,
    shop,
    shop_page,
    static,
    tasks,
    webhooks,
    workflows,
)
from holdfast_gateway.routes import groups as groups_routes
from holdfast_gateway.settings import GatewaySettings
from holdfast_gateway.signatures import Deliveries
from holdfast_gateway.watching import Watches


def create_app(
    settings: GatewaySettings,
    resonate: Resonate,
    *,
    waits: Waits | None = None,
    watches: Watches | None = None,
    not_ready: Callable[[], Mapping[str, str]] = dict,
    cancel_checkout: shop.Cancel = shop.resolve_cancel,
    groups: Groups | None = None,
    callers: Callers | None = None,
) -> ASGIApp:
    """Build the application around a client that somebody else starts and stops.

    `waits` and `watches` let the server end waiting requests and streams of events when it stops;
    `not_ready` returns the reasons,
    by short name, for which `/ready` answers 503; `cancel_checkout` is how the shop's workflows in
    this very process hear of a cancellation, where they do not wait for a promise; `groups` tells
    of worker groups, where there is a store process to ask; `callers` asks for tokens.
    """
    gateway = Gateway(
        settings=settings,
        resonate=resonate,
        waits=Waits(most=settings.waits_max) if waits is None else waits,
        watches=Watches(most=settings.events_clients_max) if watches is None else watches,
        not_ready=not_ready,
        groups=groups,
        deliveries=Deliveries(window_seconds=settings.webhook_window_seconds),
    )
    # These settle any promise. Unless they ask for tokens they would be the way around signatures,
    # where webhooks must be signed.
    tells_all = [promises, tasks, schedules, groups_routes, workflows, events]
    records = tells_all if callers is not None or not settings.webhook_secrets else []
    applications = [
        reports_page.routes(),
        shop_page.routes(cancel_checkout),
        orders.routes(settings.prefix_of("orders")),
        *reports.routes(settings.prefix_of("reports")),
        shop.routes(settings.prefix_of("shop"), cancel_checkout),
        jobs.routes(settings.prefix_of("jobs")),
    ]
    application = Litestar(
        route_handlers=[
            pages.routes(),
            static.routes(),
            _guarded(applications, callers if settings.auth_apps else None),
            # These reach promises of any name, which are not the applications' own.
            _guarded([async_api.routes(settings.prefix_of("async"))], callers),
            _guarded(
                [webhooks.routes(settings.prefix_of("jobs"))],
                None if settings.webhook_secrets else callers,
            ),
            _guarded([each.routes() for each in records], callers),
        ],
        dependencies={"gateway": Provide(lambda: gateway, sync_to_thread=False)},
        exception_handlers={Exception: errors.answer},
        openapi_config=openapi.config(metadata.version("holdfast")),
        request_max_body_size=settings.body_bytes_max,
        logging_config=None,  # the process has set logging up
    )
    guarded = Guarded(
        application,
        rates=settings.rates(),
        trusted_proxies=settings.trusted_proxies,
        body_seconds=settings.body_seconds,
    )
    return Observed(guarded)


def _guarded(routers: Sequence[Router], callers: Callers | None) -> Router:
    """Have routes ask for a token, if they are to."""
    if callers is None:
        return Router("/", route_handlers=routers)
    security = [{openapi.BEARER: list[str]()}]
    return Router("/", route_handlers=routers, guards=[callers.admit], security=security)
