"""The bridge's metrics, and the protocol's own names for what only the gateway sees (§7.3).

The store counts each operation under the protocol's names, so the gateway adds to them only the
requests that never came to the store, and how the delivery of messages ended. The sum over all
processes, which is what the public dashboard draws, counts everything once.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

requests = Counter(
    "holdfast_gateway_bridge_requests_total",
    "Requests of the Resonate protocol that were answered, by operation and status; bodies that"
    " are no envelope do not count.",
    ["kind", "status"],
)
request_seconds = Histogram(
    "holdfast_gateway_bridge_request_seconds",
    "Time from the arrival of a request of the Resonate protocol to its answer.",
    ["kind"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
poll_connections = Gauge(
    "holdfast_gateway_bridge_poll_connections", "Clients that poll for messages."
)
deliveries = Counter(
    "holdfast_gateway_bridge_deliveries_total",
    "Messages to clients that poll and to HTTP addresses, by kind and by how it ended.",
    ["kind", "status"],
)
pushes_in_flight = Gauge(
    "holdfast_gateway_bridge_pushes_in_flight", "Messages on their way to HTTP addresses."
)
pushes_waiting = Gauge(
    "holdfast_gateway_bridge_pushes_waiting",
    "Messages that wait because their HTTP address has as many under way as it may have.",
)
resonate_requests = Counter(
    "resonate_request_total",
    "Requests that the gateway answered without the store; the store counts the others.",
    ["kind", "status"],
)
resonate_request_seconds = Histogram(
    "resonate_request_duration_seconds",
    "Time of the requests that the gateway answered without the store.",
    ["kind"],
)
resonate_deliveries = Counter(
    "resonate_deliveries_total", "Messages by how their delivery ended.", ["status"]
)

SUCCESS: Final = "success"
ERROR: Final = "error"
DROPPED: Final = "dropped"


def answered(kind: str, status: int, seconds: float, *, by_store: bool) -> None:
    """Count an answer; `kind` is of the closed set of operations, or `unknown`."""
    requests.labels(kind, str(status)).inc()
    request_seconds.labels(kind).observe(seconds)
    if not by_store:
        resonate_requests.labels(kind, str(status)).inc()
        resonate_request_seconds.labels(kind).observe(seconds)


def delivered(kind: str, status: str) -> None:
    """Count how the delivery of a message ended."""
    deliveries.labels(kind, status).inc()
    resonate_deliveries.labels(status).inc()
