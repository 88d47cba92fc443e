"""The gateway's metrics. Paths are route templates, so that ids never become labels."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED: Final = "unmatched"  # the path of requests that no route answers
OTHER: Final = "other"  # methods that HTTP does not define
REST: Final = "rest"
BRIDGE: Final = "bridge"

requests = Counter(
    "holdfast_gateway_requests_total",
    "Requests that were answered, by route and status; /health and /ready do not count.",
    ["method", "path", "status"],
)
request_seconds = Histogram(
    "holdfast_gateway_request_seconds",
    "Time from the arrival of a request to the end of its answer; streams of events do not count.",
    ["method", "path"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)
requests_refused = Counter(
    "holdfast_gateway_requests_refused_total",
    "Requests of clients that had sent more than they may; they were answered 429.",
)
requests_in_flight = Gauge(
    "holdfast_gateway_requests_in_flight", "Requests that are being answered."
)
connections = Gauge(
    "holdfast_gateway_connections",
    "Connections that are open: to the port of REST and pages, or to that of the bridge.",
    ["port"],
)
connections_refused = Counter(
    "holdfast_gateway_connections_refused_total",
    "Connections that were refused because as many were open as may be.",
    ["port"],
)
store_connected = Gauge(
    "holdfast_gateway_store_connected",
    "Whether the process has a stream to the store: 1 or 0.",
)
event_streams = Gauge(
    "holdfast_gateway_event_streams", "Clients that follow the events of a workflow."
)
waits_in_flight = Gauge(
    "holdfast_gateway_waits_in_flight", "Requests that wait for the end of a workflow."
)


def method_label(method: str) -> str:
    """Return a method as a label value."""
    return method if method in METHODS else OTHER
