"""The index page, and the two answers that probes ask for."""

from http import HTTPStatus
from typing import Any

from litestar import MediaType, Request, Response, Router, get
from litestar.di import NamedDependency

from holdfast_gateway.gateway import Gateway
from holdfast_gateway.html import escape, page

_ORDER = (
    '{"id":"ord-index-1","items":[{"sku":"mug","qty":2,"price":2999},{"sku":"pen","qty":1,"price":999}],'
    '"customer":{"id":"c-1","email":"ada@example.com"}}'
)


@get("/", media_type=MediaType.HTML, include_in_schema=False)
async def index(request: Request[Any, Any, Any], gateway: NamedDependency[Gateway]) -> str:
    """Say what is here, with lines to paste."""
    base = str(request.base_url).rstrip("/")
    orders, jobs, reports, async_api, shop = (
        base + gateway.settings.prefix_of(app)
        for app in ("orders", "jobs", "reports", "async", "shop")
    )
    json = "-H 'content-type: application/json'"
    lines = {
        "Place an order": f"curl -X POST {orders}/orders {json} -d '{_ORDER}'",
        "See how it is getting on": f"curl {orders}/orders/ord-index-1/status",
        "Start a job": f'curl -X POST {jobs}/jobs {json} -d \'{{"accountId":"acct-1"}}\'',
        "Approve it": (
            f"curl -X POST {jobs}/webhooks/approval {json}"
            ' -d \'{"promiseId":"approve/job/<uuid>","approved":true}\''
        ),
        "See its result": f"curl '{jobs}/jobs/job/<uuid>?wait=5'",
        "Make a report": f"curl -X POST {reports}/api/reports -d type=sales -d period=2025-Q4",
        "See how far it is": f"curl {reports}/api/status/rpt_<id>",
        "Begin something": f"curl -X POST '{async_api}/begin?id=one' {json} -d '{{\"n\":1}}'",
        "See whether it has ended": f"curl '{async_api}/wait?id=one'",
        "Buy something": f'curl -X POST {shop}/buy/buy-1 {json} -d \'{{"itemId":"mug"}}\'',
        "Cancel it within five seconds": f"curl -X POST {shop}/cancel/buy-1",
        "See how it ended": f"curl {shop}/status/buy-1",
    }
    shown = "".join(
        f"<h2>{escape(title)}</h2><pre>{escape(line)}</pre>" for title, line in lines.items()
    )
    return page(
        "Holdfast",
        "<p>Functions that survive crashes. This gateway is REST in front of the promise store;"
        ' <a href="/schema">/schema</a> describes every route; <a href="/reports">/reports</a> and'
        ' <a href="/shop">/shop</a> are pages to try.</p>' + shown,
    )


@get("/health", include_in_schema=False)
async def health() -> dict[str, str]:
    """Answer whenever the process can."""
    return {"status": "alive"}


@get("/ready", include_in_schema=False)
async def ready(gateway: NamedDependency[Gateway]) -> Response[dict[str, object]]:
    """Answer 200 when requests can be served now."""
    reasons = gateway.not_ready()
    return Response(
        {"status": "not ready" if reasons else "ready", "reasons": dict(reasons)},
        status_code=HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK,
    )


def routes() -> Router:
    """Return the routes at the root, wherever applications are mounted."""
    return Router("/", route_handlers=[index, health, ready])
