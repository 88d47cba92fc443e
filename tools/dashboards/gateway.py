"""The gateway: rate, errors and duration of its requests."""

from typing import Final

from tools.dashboards.grafana import ORANGE, RED, Dashboard, Panel, Query, Row
from tools.dashboards.shared import HERE, NAMESPACE, quantile, sum_rate

REQUESTS: Final = "holdfast_gateway_requests_total"
SECONDS: Final = "holdfast_gateway_request_seconds"
FAILED: Final = 'status=~"5.."'
WRITES: Final = 'method="POST"'
"""Requests that start or settle something; they never wait for a workflow."""

NOW: Final = Row(
    title="Now",
    panels=(
        Panel(
            title="Requests",
            description="Requests that were answered, per second.",
            unit="reqps",
            kind="stat",
            width=4,
            height=4,
            queries=(Query(expr=sum_rate(REQUESTS)),),
        ),
        Panel(
            title="Errors",
            description="Part of the requests that were answered with 5xx: 503 while the store "
            "cannot be reached, 500 for a defect.",
            unit="percentunit",
            kind="stat",
            width=4,
            height=4,
            queries=(
                Query(
                    expr=f"({sum_rate(REQUESTS, where=FAILED)} or vector(0)) / {sum_rate(REQUESTS)}"
                ),
            ),
            steps={0.001: ORANGE, 0.05: RED},
        ),
        Panel(
            title="Accepting (p99)",
            description="99 of 100 POST requests took at most this long: an order or a job that "
            "is accepted is stored by then.",
            unit="s",
            kind="stat",
            width=4,
            height=4,
            queries=(Query(expr=quantile("0.99", SECONDS, where=WRITES)),),
            steps={0.1: ORANGE, 1: RED},
        ),
        Panel(
            title="In flight",
            description="Requests that are being answered now.",
            unit="short",
            kind="stat",
            width=4,
            height=4,
            queries=(Query(expr=f"sum(holdfast_gateway_requests_in_flight{HERE})"),),
        ),
        Panel(
            title="Waiting",
            description="Requests with `?wait=` that wait for the end of a workflow; they cost "
            "little.",
            unit="short",
            kind="stat",
            width=4,
            height=4,
            queries=(Query(expr=f"sum(holdfast_gateway_waits_in_flight{HERE})"),),
        ),
        Panel(
            title="Without a store",
            description="Gateways whose stream to the store is broken; they answer 503.",
            unit="short",
            kind="stat",
            width=4,
            height=4,
            queries=(
                Query(
                    expr=f"count(holdfast_gateway_store_connected{HERE})"
                    f" - sum(holdfast_gateway_store_connected{HERE})"
                ),
            ),
            steps={1: RED},
        ),
    ),
)

RATE_ERRORS: Final = Row(
    title="Rate and errors",
    panels=(
        Panel(
            title="Requests by route",
            description="Requests that were answered, by method and route. `unmatched` is what no "
            "route answers.",
            unit="reqps",
            is_stacked=True,
            queries=(
                Query(expr=sum_rate(REQUESTS, by="method, path"), legend="{{method}} {{path}}"),
            ),
        ),
        Panel(
            title="Requests by status",
            description="Requests that were answered, by status.",
            unit="reqps",
            is_stacked=True,
            queries=(Query(expr=sum_rate(REQUESTS, by="status"), legend="{{status}}"),),
        ),
        Panel(
            title="Errors by route",
            description="Requests that were answered with 5xx, by route and status.",
            unit="reqps",
            queries=(
                Query(
                    expr=sum_rate(REQUESTS, where=FAILED, by="method, path, status"),
                    legend="{{method}} {{path}} {{status}}",
                ),
            ),
        ),
    ),
)

DURATION: Final = Row(
    title="Duration",
    panels=(
        Panel(
            title="Accepting",
            description="Time of POST requests, which store something and never wait for a "
            "workflow.",
            unit="s",
            queries=tuple(
                Query(expr=quantile(q, SECONDS, where=WRITES), legend=name)
                for q, name in (("0.5", "p50"), ("0.95", "p95"), ("0.99", "p99"))
            ),
        ),
        Panel(
            title="Time by route (p99)",
            description="99 of 100 requests of each route took at most this long. A GET of a job "
            "may wait as long as its `?wait=` asks.",
            unit="s",
            queries=(
                Query(
                    expr=quantile("0.99", SECONDS, by="method, path"),
                    legend="{{method}} {{path}}",
                ),
            ),
        ),
        Panel(
            title="In flight and waiting",
            description="Requests that are being answered, and those of them that wait for the "
            "end of a workflow or follow its events.",
            unit="short",
            queries=(
                Query(expr=f"sum(holdfast_gateway_requests_in_flight{HERE})", legend="in flight"),
                Query(expr=f"sum(holdfast_gateway_waits_in_flight{HERE})", legend="waiting"),
                Query(expr=f"sum(holdfast_gateway_event_streams{HERE})", legend="following"),
            ),
        ),
    ),
)

GATEWAY: Final = Dashboard(
    uid="holdfast-gateway",
    title="Gateway",
    description="Rate, errors and duration of the requests to the gateway.",
    variables=(NAMESPACE,),
    rows=(NOW, RATE_ERRORS, DURATION),
)
