"""The operator's metrics. The label `worker_group` is the name of a WorkerGroup."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

UP: Final = "up"
DOWN: Final = "down"

UNCHANGED: Final = "unchanged"
SCALED: Final = "scaled"
HELD: Final = "held"
CONFLICT: Final = "conflict"
FAILED: Final = "failed"
OUTCOMES: Final = (UNCHANGED, SCALED, HELD, CONFLICT, FAILED)

replicas = Gauge(
    "holdfast_operator_replicas",
    "Replicas that the target of a WorkerGroup shall have.",
    ["worker_group"],
)
desired_replicas = Gauge(
    "holdfast_operator_desired_replicas",
    "Replicas that are wanted, all limits and waits considered.",
    ["worker_group"],
)
queue_due = Gauge(
    "holdfast_operator_queue_due",
    "Tasks of a WorkerGroup's groups that could be worked on, at the last report.",
    ["worker_group"],
)
queue_running = Gauge(
    "holdfast_operator_queue_running",
    "Tasks of a WorkerGroup's groups that are being worked on, at the last report.",
    ["worker_group"],
)
scalings = Counter(
    "holdfast_operator_scalings_total",
    "Changes of replicas that the operator made, by direction: up or down.",
    ["worker_group", "direction"],
)
store_reachable = Gauge(
    "holdfast_operator_store_reachable", "1 while the promise store reports its queues, else 0."
)
reconciles = Counter(
    "holdfast_operator_reconciles_total",
    "Looks at one WorkerGroup, by how they ended: " + ", ".join(OUTCOMES) + ".",
    ["outcome"],
)
reconcile_seconds = Histogram(
    "holdfast_operator_reconcile_seconds",
    "Time of one look at one WorkerGroup, writes included.",
    buckets=(0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
watch_failures = Counter(
    "holdfast_operator_watch_failures_total",
    "Times that watching the cluster ended by an error and was begun again.",
)

OF_WORKER_GROUP: Final = (replicas, desired_replicas, queue_due, queue_running)


def forget(worker_group: str) -> None:
    """Stop reporting a WorkerGroup that is gone."""
    for gauge in OF_WORKER_GROUP:
        gauge.remove(worker_group)
    for direction in (UP, DOWN):
        scalings.remove(worker_group, direction)
