"""The factory of the gateway's application."""

from collections.abc import Callable, Mapping
from importlib import metadata

from litestar import Litestar
from litestar.di import Provide
from litestar.types import ASGIApp

from holdfast import Resonate
from holdfast_gateway import errors, openapi
from holdfast_gateway.gateway import Gateway, Groups
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
) -> ASGIApp:
    """Build the application around a client that somebody else starts and stops.

    `waits` and `watches` let the server end waiting requests and streams of events when it stops;
    `not_ready` returns the reasons,
    by short name, for which `/ready` answers 503; `cancel_checkout` is how the shop's workflows in
    this very process hear of a cancellation, where they do not wait for a promise; `groups` tells
    of worker groups, where there is a store process to ask.
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
    # Nobody says who he is to these, and they settle any promise: where webhooks must be signed,
    # they would be the way around it.
    tells_all = [promises, tasks, groups_routes, workflows, events]
    records = [] if settings.webhook_secrets else tells_all
    application = Litestar(
        route_handlers=[
            pages.routes(),
            static.routes(),
            reports_page.routes(),
            shop_page.routes(cancel_checkout),
            orders.routes(settings.prefix_of("orders")),
            *reports.routes(settings.prefix_of("reports")),
            async_api.routes(settings.prefix_of("async")),
            shop.routes(settings.prefix_of("shop"), cancel_checkout),
            jobs.routes(settings.prefix_of("jobs")),
            webhooks.routes(settings.prefix_of("jobs")),
            *(each.routes() for each in records),
        ],
        dependencies={"gateway": Provide(lambda: gateway, sync_to_thread=False)},
        exception_handlers={Exception: errors.answer},
        openapi_config=openapi.config(metadata.version("holdfast")),
        request_max_body_size=settings.body_bytes_max,
        logging_config=None,  # the process has set logging up
    )
    return Observed(application)
