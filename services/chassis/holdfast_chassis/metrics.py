"""What all services share of their metrics: how they are written out, and which build runs.

Each service defines its own metrics in one `metrics.py`; this module knows none of them.
"""

import platform
from importlib import metadata

from prometheus_client import REGISTRY, CollectorRegistry, Gauge, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

# A series for the instant at which each counter began is one more to scrape, and nobody asks.
disable_created_metrics()  # type: ignore[no-untyped-call]


def exposition(registry: CollectorRegistry = REGISTRY) -> bytes:
    """Write out all metrics as text."""
    return generate_latest(registry)


def describe_build(component: str, *, registry: CollectorRegistry = REGISTRY) -> None:
    """Add `holdfast_build_info`, which tells versions apart during a rollout; call it once.

    `component` is store, gateway, worker, db or operator. It is no label `service`: in Kubernetes,
    monitors put the name of the Service there.
    """
    info = Gauge(
        "holdfast_build_info",
        "Always 1; the labels tell which build runs.",
        ["component", "version", "python"],
        registry=registry,
    )
    info.labels(component, metadata.version("holdfast"), platform.python_version()).set(1)
